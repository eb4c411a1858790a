"""How fast compressed prompts are answered: the engine beside `generate`, in one run.

The unit of work is what an environment's step asks of the generator: given the answers to the
original prompts, answer compressed prompts and compute the threshold rewards. `keep-all` shows what
verifying a draft costs when all of it holds.
"""

from __future__ import annotations

import gc
import sys
from typing import Any

from benchmarks.speed import tables
from benchmarks.speed.figures import check_new, format_rows, origin, write_figures
from benchmarks.speed.models import GPU_SHAPES, KNOWN, build_generator, check_names
from pcrl_gym.micro import MICRO

SPLIT = "validation_seen"
MASKS = ("keep-all", "random-5", "random-15", "random-30", "random-60", "policy")


def run(
    *,
    models: tuple[str, ...] = (),
    data: str = "micro",
    device: str = "auto",
    dtype: str = "auto",
    prompts: int | None = None,
    masks: tuple[str, ...] = MASKS,
    repeats: int = 3,
    policy: str | None = None,
    policy_episodes: int = 6144,
    out: str | None = None,
) -> int:
    """Compare the engine with plain `generate` and a bare forward pass in one run.

    Prints tables and targets, and writes the file after every model.

    Args:
        models: Names or folders of generators; by default all that are meant for the device.
        data: micro, or a folder of prompts, whose units are then those of each generator.
        device: Device of all models and of the policy.
        dtype: Data type of all models: auto, float32, bfloat16 or float16.
        prompts: Prompts per model; by default 512 for micro, 64 for others on a CPU, else 256.
        masks: Kinds of masks. Those of a policy are for micro, and generators with its tokenizer.
        repeats: Repetitions of each way; the fastest counts.
        policy: Folder of a trained ppo agent; by default one is trained in the run.
        policy_episodes: How long it is trained; 0: there are no masks of a policy.
        out: JSON file for all figures; an existing one is refused.

    Returns:
        The exit status: 1 if rewards differ where they must not, else 0.
    """
    settings = {**locals(), "split": SPLIT, "new_tokens": tables.NEW_TOKENS}
    import torch

    from benchmarks.speed.cases import find_policy, keep_masks, measure_model, measure_overhead
    from pcrl_gym.envs.task import make_task
    from pcrl_gym.generators.pretrained import DTYPES, choose_device
    from pcrl_gym.named_datasets import load_prompts
    from pcrl_gym.prompts.datasets import pick_evenly

    kind = torch.device(choose_device(device)).type
    models = models or tuple(n for n in KNOWN if n in MICRO or (n in GPU_SHAPES) == (kind != "cpu"))
    check_names(models, kind)
    check_new(out)
    for name, value, known in (("masks", masks, MASKS), ("dtype", [dtype], DTYPES)):
        if not value or not set(value) <= set(known):
            raise ValueError(f"{name} must be of {', '.join(known)}; got {', '.join(value)}")
    rows = load_prompts(data, SPLIT)
    if data != "micro":
        if policy is not None or masks == ("policy",):
            raise ValueError("the masks of a policy are for micro: leave policy or data out")
        masks = tuple(name for name in masks if name != "policy")
    agent = find_policy(policy, policy_episodes, device) if "policy" in masks else None
    settings |= {"models": models, "masks": masks}
    cases: list[dict[str, Any]] = []
    figures: dict[str, Any] = {"finished": False, "settings": settings, "provenance": origin()}
    figures |= {"cases": cases, "overhead": []}
    print(tables.LEGEND)
    for name in models:
        print(f"Building {name} ...", file=sys.stderr, flush=True)
        generator = build_generator(name, device, dtype)
        task = make_task(dataset=rows, generator=generator)
        count = prompts or (512 if name in MICRO else 64 if kind == "cpu" else 256)
        episodes = task.episodes.take(pick_evenly(len(task.episodes), count))
        # A policy's units are micro's tokens.
        kept = keep_masks(task, episodes, masks, agent if name in KNOWN else None)
        found = measure_model(generator, episodes, kept, repeats)
        model, millions = generator.model, generator.model.num_parameters() / 1e6
        made = f"{millions:.1f} M parameters, {model.dtype} on {model.device}"
        print(f"### {name} ({made}), {len(episodes)} prompts, best of {repeats}\n")
        print(tables.format_cases(found), flush=True)
        cases += found
        if name == "micro":
            figures["overhead"] = measure_overhead(generator, len(episodes))
            print("### Environment overhead, 64 environments with micro, random masks of 15 %\n")
            print(format_rows(figures["overhead"], tables.OVERHEAD), flush=True)
        figures["targets"] = tables.find_targets(cases, figures["overhead"])
        figures["finished"] = name == models[-1]
        write_figures(out, figures)
        del generator, model, task, episodes  # each holds the weights
        gc.collect()
        torch.cuda.empty_cache()
    print(f"### Targets\n\n{format_rows(figures['targets'], tables.TARGETS)}", end="")
    wrong = [c for c in cases if c["exact"] and min(c["rewards_equal"].values()) < c["prompts"]]
    for case in wrong:
        print(f"error: rewards differ: {case['model']}, {case['masks']}", file=sys.stderr)
    return int(bool(wrong))
