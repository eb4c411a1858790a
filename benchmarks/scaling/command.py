"""A scaling run: options, measurements, tables and the file with all figures."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.provenance import machine
from benchmarks.scaling.projection import H100, MODELS, Run
from benchmarks.scaling.stages import SAMPLES, Case, measure_case, prompts_of_length
from benchmarks.scaling.tables import Replicated, format_all
from benchmarks.throughput.cases import make_work
from benchmarks.throughput.cost import measure
from benchmarks.throughput.masks import keep_masks
from benchmarks.throughput.models import KNOWN, build_generator, check_names
from benchmarks.throughput.tables import NEW_TOKENS
from benchmarks.throughput.ways import stopped
from pcrl_gym.envs.task import make_task
from pcrl_gym.storage.atomic import write_file
from pcrl_gym.worlds import load_prompts

if TYPE_CHECKING:
    from pcrl_gym.generators.hf import HFGenerator

MOST_WORK = 2e11
"""Parameters times prompt tokens, above which a case is left out: a minute on a CPU core."""

_MASKS = "random-15"


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        models: Names of causal generators of `throughput.models.KNOWN`.
        rewards: Rewards per update, multiples of `SAMPLES`.
        lengths: Tokens per original prompt.
        replicas: Numbers of replicas to compare with this process; empty: none.
        repeats: How often each case is measured; the fastest counts.
        out: File for all figures; None: none is written.

    Raises:
        ValueError: A name is unknown or a number out of range, or the file exists.
    """

    models: tuple[str, ...] = ("micro", "gpt2-29m", "gpt2-124m")
    rewards: tuple[int, ...] = (8, 32, 128)
    lengths: tuple[int, ...] = (48, 96, 192)
    replicas: tuple[int, ...] = (1, 2)
    repeats: int = 3
    out: str | None = None

    def __post_init__(self) -> None:
        check_names(list(self.models), "cpu")
        if any(name.startswith(("t5", "micro-seq2seq")) for name in self.models):
            causal = [name for name in KNOWN if not name.startswith(("t5", "flan", "micro-s"))]
            raise ValueError(f"the model of costs is for causal generators: {', '.join(causal)}")
        if not self.rewards or any(n < SAMPLES or n % SAMPLES for n in self.rewards):
            raise ValueError(f"rewards must be multiples of {SAMPLES}, got {self.rewards}")
        if not self.lengths or any(n < 32 for n in self.lengths):
            raise ValueError(f"lengths must be at least 32 tokens, got {self.lengths}")
        if self.repeats < 1 or any(n < 1 for n in self.replicas):
            raise ValueError("repeats and replicas must be at least 1")
        if self.out is not None and Path(self.out).exists():
            raise ValueError(f"{self.out} exists and is not overwritten; give another file")


def run(options: Options) -> None:
    """Measure, prints all tables and writes the file."""
    told: dict[str, Any] = {
        "settings": asdict(options) | {"samples": SAMPLES, "most_work": MOST_WORK},
        "provenance": {
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **machine(),
        },
    }
    words = sorted({word for p in load_prompts("micro", "train")[:200] for word in p.input.split()})
    cases: list[Case] = []
    replicated: list[Replicated] = []
    for name in options.models:
        generator = build_generator(name, "cpu")
        for length in options.lengths:
            for rewards in options.rewards:
                parameters = sum(p.numel() for p in generator.model.parameters())
                if parameters * length * rewards > MOST_WORK:
                    continue
                print(
                    f"{name}, {rewards} rewards, {length} tokens ...", file=sys.stderr, flush=True
                )
                cases.append(measure_case(generator, words, rewards, length, options.repeats))
        if options.replicas:
            replicated.append(measure_replicas(generator, words, options))
    told |= {
        "cases": [asdict(case) for case in cases],
        "replicated": [asdict(row) for row in replicated],
        "assumptions": {
            "gpu": asdict(H100),
            "models": [asdict(model) for model in MODELS],
            "run": asdict(Run()),
        },
    }
    if options.out is not None:
        file = Path(options.out)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, json.dumps(told, indent=2, allow_nan=False) + "\n")
    print(format_all(cases, replicated), end="")
    if options.out is not None:
        print(f"\nWritten to {options.out}")


def show(file: str | Path) -> str:
    """Return the tables of a file that `run` has written, with the model fitted anew.

    Raises:
        ValueError: The file is none of these.
    """
    try:
        told = json.loads(Path(file).read_text(encoding="utf-8"))
        cases = [Case(**case) for case in told["cases"]]
        replicated = [Replicated(**row) for row in told["replicated"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} holds no figures of this command: {error!r}") from error
    return format_all(cases, replicated)


def measure_replicas(generator: HFGenerator, words: Sequence[str], options: Options) -> Replicated:
    """Answer compressed prompts here and by replicas of one CPU each, in turns."""
    from pcrl_gym.generators.ray.generator import RayGenerator

    length = sorted(options.lengths)[len(options.lengths) // 2]
    parameters = sum(p.numel() for p in generator.model.parameters())
    fitting = [n for n in options.rewards if parameters * length * n <= MOST_WORK]
    count = max(fitting, default=min(options.rewards))
    print(f"{generator.name}, replicas ...", file=sys.stderr, flush=True)
    prompts = prompts_of_length(generator, words, length, count)
    task = make_task(dataset=prompts, generator=generator, tokenizer="micro", max_units=length)
    episodes = list(task.episodes)
    masks = keep_masks(task, episodes, [_MASKS], None)[_MASKS]
    texts = [episode.text for episode in episodes]
    originals = dict(zip(texts, generator.generate(texts, NEW_TOKENS), strict=True))
    work = make_work(generator, episodes, masks, originals)
    seconds: dict[str, list[float]] = {}
    for replicas in (0, *options.replicas):
        # One after the other, as all of them at once may be more than the machine has cores.
        asked: Any = generator if not replicas else RayGenerator(generator, replicas)
        try:
            stopped(asked, work)
            runs = [
                measure(lambda: stopped(asked, work), generator.model)  # noqa: B023
                for _ in range(options.repeats)
            ]
        finally:
            if replicas:
                asked.close()
        seconds[str(replicas)] = [one.seconds for one in runs]
    best = {replicas: min(times) for replicas, times in seconds.items()}
    return Replicated(generator.name, len(work.prompts), best)
