"""Speed of answering compressed prompts: the engine compared with `generate` in one run.

The unit of work is what an environment step requires of the generator: given the answers to the
original prompts, answer compressed prompts and compute the threshold rewards. `keep-all` shows the
cost of verifying a draft that is accepted in full.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from cyclopts.types import NonNegativeInt, PositiveInt

from benchmarks.speed import figures
from benchmarks.speed.figures import SPLIT, format_rows
from benchmarks.speed.models import GPU_SHAPES, SHAPES, build_generator, check_names
from pcrl_gym.cli_tools import Names
from pcrl_gym.micro import MICRO

if TYPE_CHECKING:
    import numpy as np

    from pcrl_gym.envs.task import Task
    from pcrl_gym.episodes.episode import Episode

MASKS = ("keep-all", "random-5", "random-15", "random-30", "random-60", "policy")
_ENVIRONMENTS = 64
_DROP_RATE = 0.15


def run(
    *,
    models: Names = (),
    data: str = "micro",
    device: str = "auto",
    dtype: str = "auto",
    prompts: PositiveInt | None = None,
    masks: Names = MASKS,
    repeats: PositiveInt = 3,
    policy: str | None = None,
    policy_episodes: NonNegativeInt = 6144,
    out: str | None = None,
) -> int:
    """Compare the engine with plain `generate` and a bare forward pass in one run.

    Prints tables and targets, and writes the file after every model.

    Args:
        models: Names or folders of generators; by default micro's and all shapes for the device.
        data: micro, instruct, or a folder of prompts, whose units are then those of each generator.
            Models with a chat template use it.
        device: Device of all models and of the policy.
        dtype: Data type of all models: auto, float32, bfloat16 or float16.
        prompts: Prompts per model; by default 512 for micro, 64 for others on a CPU, else 256.
        masks: Kinds of masks. Policy masks are for micro, and generators with its tokenizer.
        repeats: Repetitions of each way; the fastest counts.
        policy: Folder of a trained ppo agent; by default one is trained in the run.
        policy_episodes: Training episodes of the policy; 0 omits policy masks.
        out: JSON file for all results; must not exist.

    Returns:
        The exit status: 1 if rewards differ where they must not, else 0.
    """
    settings = {**locals(), "split": SPLIT, "new_tokens": figures.NEW_TOKENS}
    import torch

    from benchmarks.speed.ways import measure_model
    from pcrl_gym.envs.task import make_task
    from pcrl_gym.generators.pretrained import DTYPES, choose_device
    from pcrl_gym.named_datasets import load_prompts
    from pcrl_gym.prompts.datasets import pick_evenly

    kind = torch.device(choose_device(device)).type
    models = models or tuple(
        n for n in (*MICRO, *SHAPES) if n in MICRO or (n in GPU_SHAPES) == (kind != "cpu")
    )
    check_names(models, kind)
    figures.check_new(out)
    for name, value, known in (("masks", masks, MASKS), ("dtype", [dtype], DTYPES)):
        if not value or not set(value) <= set(known):
            raise ValueError(f"{name} must be from {', '.join(known)}; got {', '.join(value)}")
    rows = load_prompts(data, SPLIT)
    if data != "micro":
        if policy is not None or masks == ("policy",):
            raise ValueError("policy masks are for micro only: remove policy or data")
        masks = tuple(name for name in masks if name != "policy")
    agent = _find_policy(policy, policy_episodes, device) if "policy" in masks else None
    settings |= {"models": models, "masks": masks}
    cases: list[dict[str, Any]] = []
    found: dict[str, Any] = {"settings": settings, "provenance": figures.origin()}
    found |= {"cases": cases, "overhead": []}
    print(figures.LEGEND)
    for name in models:
        print(f"Building {name} ...", file=sys.stderr, flush=True)
        generator = build_generator(name, device, dtype)
        template = "chat" if generator.tokenizer.chat_template else "alpaca"
        task = make_task(dataset=rows, generator=generator, template=template)
        count = prompts or (512 if name in MICRO else 64 if kind == "cpu" else 256)
        episodes = task.episodes.take(pick_evenly(len(task.episodes), count))
        # A policy's units are micro's tokens.
        kept = keep_masks(task, episodes, masks, agent if name in (*MICRO, *SHAPES) else None)
        own = measure_model(generator, episodes, kept, repeats)
        model, millions = generator.model, generator.model.num_parameters() / 1e6
        made = f"{millions:.1f} M parameters, {model.dtype} on {model.device}"
        print(f"### {name} ({made}), {len(episodes)} prompts, best of {repeats}\n")
        print(figures.format_cases(own), flush=True)
        cases += own
        if name == "micro":
            found["overhead"] = _measure_overhead(generator, len(episodes))
            print("### Environment overhead, 64 environments with micro, random masks of 15%\n")
            print(format_rows(found["overhead"], figures.OVERHEAD), flush=True)
        found["targets"] = figures.find_targets(cases, found["overhead"])
        figures.write_figures(out, {"finished": name == models[-1], **found})
        del generator, model, task, episodes  # each holds the weights
        gc.collect()
        torch.cuda.empty_cache()
    print(f"### Targets\n\n{format_rows(found['targets'], figures.TARGETS)}", end="")
    wrong = [c for c in cases if c["exact"] and min(c["rewards_equal"].values()) < c["prompts"]]
    for case in wrong:
        print(f"error: rewards differ: {case['model']}, {case['masks']}", file=sys.stderr)
    return int(bool(wrong))


def _find_policy(folder: str | None, episodes: int, device: str) -> Any:
    """Return a saved PPO agent, or one trained on micro; None without folder and episodes."""
    from agents.ppo import PPOAgent
    from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv

    if folder is not None:
        return PPOAgent.load(folder, device)
    if not episodes:
        return None
    print(f"Training a policy on micro for {episodes} episodes ...", file=sys.stderr, flush=True)
    agent = PPOAgent(seed=0, device=device)
    task: dict[str, Any] = {"device": device, "early_stopping": True}
    agent.train(lambda count: PromptCompressionVectorEnv(count, **task), episodes=episodes)
    return agent


def keep_masks(
    task: Task, episodes: Sequence[Episode], names: Sequence[str], agent: Any
) -> dict[str, list[np.ndarray[Any, Any]]]:
    """Return keep masks by name, one per episode; those of a policy only if there is one.

    Random masks depend only on the percentage and the number of episodes.
    """
    import numpy as np

    found: dict[str, list[np.ndarray[Any, Any]]] = {}
    for name in names:
        if name != "policy":
            percent = 0 if name == "keep-all" else int(name.removeprefix("random-"))
            rng = np.random.default_rng([0, percent])
            found[name] = [rng.random(len(episode)) >= percent / 100 for episode in episodes]
        elif agent is not None:
            found[name] = list(agent.act(*task.begin(episodes)))
    return found


def _measure_overhead(generator: Any, prompts: int) -> list[dict[str, Any]]:
    """Step environments with random masks three times through about `prompts` prompts of micro.

    Returns a row for the first pass over the prompts ("new") and one for the other two ("known"),
    in which original prompts have been tokenized and answered; "share" is the share of time outside
    the generator.
    """
    import numpy as np

    from benchmarks.speed.cost import TimedGenerator
    from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv
    from pcrl_gym.named_datasets import load_prompts
    from pcrl_gym.prompts.datasets import pick_evenly

    steps = -(-prompts // _ENVIRONMENTS)
    train = load_prompts("micro", "train")
    picked = [train[i] for i in pick_evenly(len(train), steps * _ENVIRONMENTS)]
    timed, rng, rows = TimedGenerator(generator), np.random.default_rng(0), []
    task: dict[str, Any] = {"dataset": picked, "generator": timed, "early_stopping": True}
    with closing(PromptCompressionVectorEnv(_ENVIRONMENTS, **task)) as envs:
        envs.reset(seed=0)
        for label, count in (("new", steps), ("known", 2 * steps)):
            masks = rng.random((count, _ENVIRONMENTS, envs.task.max_units)) >= _DROP_RATE
            timed.spent.clear()
            began = time.perf_counter()
            for mask in masks.astype(np.int8):
                envs.step(mask)
            seconds = time.perf_counter() - began
            own = sum(timed.spent.values()) - timed.spent["decided"]
            row = {"prompts": label, "steps": count, "seconds": seconds, "generator_seconds": own}
            rows.append(row | {"share": 1 - own / seconds})
    return rows
