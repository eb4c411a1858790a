"""Cost of a reward by stage, and projected speed on many GPUs: the tables of SCALING.md."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts.types import PositiveInt

from benchmarks.markdown import align
from pcrl_gym.cli_tools import Names

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from pcrl_gym.generators.hf import HFGenerator
    from pcrl_gym.prompts.prompt import Prompt

# Of an update: splitting prompts into units, counting compressed ones; policy, forward and
# backward; answering compressed prompts; comparing answers; sampling masks and the rest.
STAGES = ("tokenize", "policy", "generator", "similarity", "loop")
SAMPLES = 8  # masks per prompt, each with a reward
MAX_WORK = 2e11  # parameters times prompt tokens; larger cases take minutes on a CPU core
FEATURES: dict[str, dict[str, Callable[[Any], Any]]] = {
    "tokenize": {"token read by a tokenizer": lambda c: (c.prompts + c.rewards) * c.length},
    "policy": {"update": lambda c: 1.0, "unit of a prompt": lambda c: c.prompts * c.length},
    "generator": {"layer and pass": lambda c: c.layers * c.passes,
                  "operation": lambda c: 2.0 * (c.body * c.tokens + c["head"] * c.wanted),
                  "reward": lambda c: c.rewards},
    "similarity": {"reward": lambda c: c.rewards},
    "loop": {"update": lambda c: 1.0, "reward": lambda c: c.rewards},
}  # fmt: skip
"""Features by stage; its time is the sum of terms proportional to them."""
Costs = dict[str, dict[str, float]]  # seconds per stage and feature
Parts = dict[str, Any]

GPU = dict(name="H100 SXM", flops=989e12, bandwidth=3.35e12, memory=80e9, dollars=2.5,
           flops_share=0.4, bandwidth_share=0.6, launch=5e-5)  # fmt: skip
"""From the data sheet: bfloat16 operations and bytes per second, bytes. Assumed: dollars per hour,
achieved shares of the peaks, and the minimum seconds per layer, even without work."""
# GPUs per replica, and the share of their speed that remains when layers are split over them.
SMALL = dict(name="7B", parameters=6.74e9, layers=32, gpus=1, parallel_share=1.0)
LARGE = dict(name="70B", parameters=69e9, layers=80, gpus=4, parallel_share=0.8)
RUN = dict(updates=4000, prompts=32, masks=5, length=100, new_tokens=30, policy=82e6)
"""Training run; `masks` includes the greedy one, `policy`: parameters of the frozen encoder."""
# Drafts fail as often as on micro with 15% of the units dropped (throughput-cpu-micro.json); a
# server generates all 30 tokens; time per request is the middle value of `speed concurrency`.
DRAFTED = dict(name="this engine, drafts", drafted=True, passes=29, row_passes=0.44, client=0.0)
SERVED = dict(name="server, whole answers", drafted=False, passes=29, row_passes=29, client=0.0015)
ASKED = ((SMALL, DRAFTED), (SMALL, SERVED), (LARGE, SERVED))
GPUS, BATCH = (1, 8, 64, 1000), RUN["prompts"] * RUN["masks"]
PER_REPLICA = 64  # rewards per update in the second half of the table of speeds


def run(
    *,
    models: Names = ("micro", "gpt2-29m", "gpt2-124m"),
    rewards: Sequence[int] = (8, 32, 128),
    lengths: Sequence[int] = (48, 96, 192),
    repeats: PositiveInt = 3,
    figures: str | None = None,
    out: str | None = None,
) -> None:
    """Time the stages of updates on the CPU, fit their costs, and project them to many GPUs.

    Args:
        models: Causal generators: micro, smollm2, gpt2-29m, gpt2-124m, llama-135m, or folders.
        rewards: Rewards per update, multiples of 8.
        lengths: Tokens per original prompt, at least 32.
        repeats: Repetitions of each case; the fastest counts.
        figures: File of an earlier run whose tables are shown; nothing is measured.
        out: JSON file for all results; must not exist.
    """
    if figures is not None:
        stored = json.loads(Path(figures).read_text(encoding="utf-8"))
        if not isinstance(stored, dict) or not stored.get("cases"):
            raise ValueError(f"{figures} contains no figures from this command")
        return print(tables(frame(stored["cases"])), end="")
    from benchmarks.speed.figures import check_new, origin, write_figures
    from benchmarks.speed.models import build_generator, check_names
    from pcrl_gym.named_datasets import load_prompts

    check_names(list(models), "cpu")
    if encoders := [name for name in models if "t5" in name or "seq2seq" in name]:
        raise ValueError(f"the model of costs is for causal generators, got {', '.join(encoders)}")
    if any(n < SAMPLES or n % SAMPLES for n in rewards) or any(n < 32 for n in lengths):
        limits = f"rewards in multiples of {SAMPLES} and lengths of at least 32 tokens"
        raise ValueError(f"expected {limits}, got {rewards} and {lengths}")
    check_new(out)
    settings = {"models": models, "rewards": rewards, "lengths": lengths, "repeats": repeats}
    assumed = {"gpu": GPU, "models": (SMALL, LARGE), "run": RUN}
    found: Parts = {"settings": settings, "provenance": origin(), "assumptions": assumed}
    words = sorted({word for p in load_prompts("micro", "train")[:200] for word in p.input.split()})
    cases: list[Parts] = []
    for name in models:
        generator = build_generator(name, "cpu")
        size = sum(p.numel() for p in generator.model.parameters())
        for length, count in product(lengths, rewards):
            if length * count * size <= MAX_WORK:
                print(f"{name}, {count} rewards, {length} tokens ...", file=sys.stderr, flush=True)
                cases.append(measure_case(generator, words, count, length, repeats))
    write_figures(out, found | {"cases": cases})
    print(tables(frame(cases)), end="")


def frame(cases: Sequence[Parts]) -> DataFrame:
    """Return measured updates, one per row, with a column per stage (seconds) and `total`."""
    import pandas as pd

    rows = pd.DataFrame([case | case["seconds"] for case in cases])
    return rows.assign(total=rows[[*STAGES]].sum(axis=1), prompts=rows.rewards // SAMPLES)


def measure_case(
    generator: HFGenerator, words: Sequence[str], rewards: int, length: int, repeats: int
) -> Parts:
    """Time updates of an untrained self-critical learner, and return the fastest.

    Original prompts are answered beforehand, as training revisits them many times. Every repetition
    uses its own prompts. Times are CPU times.
    """
    import numpy as np
    import torch

    from agents.adamw_learner import prompts_of_update
    from agents.network_agent import tensors
    from agents.scst import SCSTAgent
    from benchmarks.speed.cost import TimedGenerator, count_passes
    from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv
    from pcrl_gym.scoring.rouge import UNICODE_ROUGE_L

    count, now, model = rewards // SAMPLES, time.process_time, generator.model
    prompts = prompts_of_length(generator, words, length, count * repeats)
    timed = TimedGenerator(generator, now)
    task = {"dataset": prompts, "generator": timed, "tokenizer": "micro", "max_units": length}
    env = PromptCompressionVectorEnv(1, early_stopping=True, **task)
    agent = SCSTAgent(seed=0, device="cpu", batch_size=count, samples=SAMPLES)
    learner = agent.start(lambda _: env)
    found: list[Parts] = []
    for update in range(repeats):
        began = now()
        episodes = env.task.episodes.take(prompts_of_update(0, update, count, len(prompts)))
        cutting = now() - began
        env.task.scorer(episodes, [np.ones(length, np.bool_)] * count)
        timed.spent.clear()
        timed.answered, began = [], now()
        logits, _ = learner.network(*tensors(env.task.begin(episodes)[0], torch.device("cpu")))
        logits.sum().backward()
        policy, began = now() - began, now()
        with count_passes(model) as work:
            learner.update(0.0)
        whole, began = now() - began, now()
        for draft, answer in timed.answered:
            if not answer.partial:
                UNICODE_ROUGE_L(answer.text, getattr(draft, "text", ""))
        seconds = {
            "tokenize": cutting + timed.spent["count_tokens"],
            "policy": policy,
            "generator": timed.spent["generate_from"],
            "similarity": timed.spent["decided"] + now() - began,
        }
        # The prompts were split before the update, so `whole` does not include it.
        seconds["loop"] = whole + cutting - sum(seconds.values())
        counts = {name: getattr(work, name) for name in ("passes", "tokens", "wanted", "rows")}
        found.append(counts | {"seconds": seconds})
    learner.close()
    body, head = model.num_parameters(exclude_embeddings=True), model.get_input_embeddings().weight
    case = {"model": generator.name, "rewards": rewards, "length": length, "body": body}
    case |= {"head": head.numel(), "layers": model.config.num_hidden_layers}
    return case | min(found, key=lambda one: sum(one["seconds"].values()))


def prompts_of_length(
    generator: HFGenerator, words: Sequence[str], length: int, count: int
) -> list[Prompt]:
    """Return distinct prompts of the given words with `length` tokens, or one or two fewer."""
    from pcrl_gym.prompts.prompt import Prompt
    from pcrl_gym.prompts.template import AlpacaTemplate

    ask, prompts = "Say which of these words come twice.", []
    for number in range(count):
        own = [words[(7 * number + k * (1 + number % 5)) % len(words)] for k in range(length)]
        made = [Prompt(f"made-{number}", ask, " ".join(own[:k])) for k in range(1, length + 1)]
        sizes = generator.count_tokens([AlpacaTemplate().render(prompt).text for prompt in made])
        prompts.append(made[sum(size <= length for size in sizes) - 1])
    return prompts


def fit(cases: DataFrame) -> Costs:
    """Return the nonnegative costs with the least mean squared relative error by stage."""
    import numpy as np
    from scipy.optimize import nnls

    found: Costs = {}
    for stage, features in FEATURES.items():
        pieces = [np.broadcast_to(of(cases), len(cases)) / cases[stage] for of in features.values()]
        shares = np.array(pieces, np.float64).T
        sizes = np.linalg.norm(shares, axis=0)  # operations are billions, passes dozens
        costs = nnls(shares / sizes, np.ones(len(cases)))[0] / sizes
        found[stage] = dict(zip(features, costs.tolist(), strict=True))
    return found


def predicted(costs: Costs, stages: Sequence[str], cases: DataFrame) -> Series:
    """Return the seconds of some stages, predicted by the fitted costs."""
    return sum(costs[s][name] * of(cases) for s in stages for name, of in FEATURES[s].items())


def relative_errors(cases: DataFrame) -> dict[str, Series]:
    """Return relative errors by stage, and of each generator predicted from the others."""
    costs = fit(cases)
    found = {s: (predicted(costs, [s], cases) / cases[s] - 1).abs() for s in STAGES}
    found["total"] = (predicted(costs, STAGES, cases) / cases.total - 1).abs()
    for name, own in cases.groupby("model", sort=False):
        if len(others := cases[cases.model != name]):
            share = predicted(fit(others), ["generator"], own) / own.generator
            found[f"generator, {name} from the others"] = (share - 1).abs()
    return found


def speed(model: Parts, way: Parts, gpus: int, batch: int, costs: Costs) -> tuple[float, str]:
    """Return rewards per second and the bottleneck of a training on enough GPUs for a replica.

    A pass takes as long as its arithmetic or as reading the weights once, whichever is longer, plus
    a launch per layer. The first pass reads the prompts (and drafts), further ones a token of each
    unfinished row. The fitted CPU costs are added. Answering and learning alternate, as the
    gradient needs all rewards; replicas share the rewards of an update.
    """
    share, prompts = math.ceil(batch / (gpus // model["gpus"])), batch / RUN["masks"]
    token = RUN["length"] * costs["tokenize"]["token read by a tokenizer"]
    power = model["gpus"] * model["parallel_share"]
    reading = 2 * model["parameters"] / (GPU["bandwidth"] * GPU["bandwidth_share"] * power)
    arithmetic = 2 * model["parameters"] / (GPU["flops"] * GPU["flops_share"] * power)
    first = RUN["length"] + way["drafted"] * RUN["new_tokens"]
    going = share * way["row_passes"] / max(1, way["passes"])
    launches = model["layers"] * GPU["launch"] * (1 + way["passes"])
    spent = {"arithmetic": 0.0, "weights": 0.0, "launches": launches}
    for tokens, times in ((share * first, 1), (going, way["passes"])):
        slower = "arithmetic" if arithmetic * tokens >= reading else "weights"
        spent[slower] += times * max(arithmetic * tokens, reading)
    if way["drafted"]:
        spent["Python"] = share * (costs["generator"]["reward"] + token)
    network = 2 * RUN["policy"] * prompts * RUN["length"] / (GPU["flops"] * GPU["flops_share"])
    each = costs["similarity"]["reward"] + costs["loop"]["reward"] + way["client"]
    learning = prompts * token + network + batch * each + costs["loop"]["update"]
    answering, most = sum(spent.values()), f"generator: {max(spent, key=lambda what: spent[what])}"
    return batch / (answering + learning), "the driver" if learning > answering else most


def tables(cases: DataFrame) -> str:
    """Return all tables, each with a heading that says whether it is measured or computed."""
    costs, errors = fit(cases), relative_errors(cases)
    pieces = [[s, name, f"{cost:.3g}"] for s, own in costs.items() for name, cost in own.items()]
    shares = [[what, f"{e.mean():.0%}", f"{e.max():.0%}"] for what, e in errors.items()]
    parts = {
        "Measured: microseconds per reward, by stage": _cases(cases),
        "Fitted: what the stages are made of": [["stage", "per", "seconds"], *pieces],
        "Fitted: errors": [["what", "mean error", "worst error"], *shares],
        "Computed: rewards per second": _speeds(costs),
        "Computed: size of a run": _runs(costs),
    }
    return "\n".join(f"### {title}\n\n{align(table)}" for title, table in parts.items())


def _cases(cases: DataFrame) -> list[list[str]]:
    sizes = "generator parameters rewards tokens".split()
    lines = [[*sizes, *STAGES, "sum", "rewards/s", "passes/row"]]
    for c in cases.to_dict("records"):
        micro = [f"{1e6 * c[stage] / c['rewards']:.0f}" for stage in (*STAGES, "total")]
        parameters = f"{(c['body'] + c['head']) / 1e6:.1f} M"
        rates = [f"{c['rewards'] / c['total']:.1f}", f"{c['rows'] / c['rewards']:.1f}"]
        lines.append([c["model"], parameters, str(c["rewards"]), str(c["length"]), *micro, *rates])
    return lines


def _speeds(costs: Costs) -> list[list[str]]:
    lines = ["generator, way|GPUs|rewards per update|rewards/s|$/million|bottleneck".split("|")]
    for (model, way), gpus in product(ASKED, GPUS):
        for batch in sorted({BATCH, max(BATCH, PER_REPLICA * (gpus // model["gpus"]))}):
            cells = ["-", "-", f"does not fit: {model['gpus']} GPUs per replica"]
            if gpus >= model["gpus"]:
                rate, bottleneck = speed(model, way, gpus, batch, costs)
                price = gpus * GPU["dollars"] / 3600 / rate * 1e6
                cells = [f"{rate:,.0f}", f"{price:,.2f}", bottleneck]
            lines.append([f"{model['name']}, {way['name']}", str(gpus), str(batch), *cells])
    return lines


def _runs(costs: Costs) -> list[list[str]]:
    lines = ["generator, way|GPUs|rewards|hours|GPU hours|$".split("|")]
    rewards = RUN["updates"] * BATCH
    for (model, way), replicas in product(ASKED, (1, 8)):
        gpus = replicas * model["gpus"]
        rate, _ = speed(model, way, gpus, BATCH, costs)
        hours = rewards / rate / 3600
        spent = [f"{hours:.1f}", f"{hours * gpus:.1f}", f"{hours * gpus * GPU['dollars']:.0f}"]
        lines.append([f"{model['name']}, {way['name']}", str(gpus), f"{rewards:,}", *spent])
    return lines
