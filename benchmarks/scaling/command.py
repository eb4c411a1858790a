"""A scaling run: options, measurements, tables and the file with all figures."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.scaling.projection import H100, MODELS
from benchmarks.scaling.stages import SAMPLES, Case, measure_case, prompts_of_length
from benchmarks.scaling.tables import RUN, Replicated, format_all
from benchmarks.speed.cost import measure
from benchmarks.speed.figures import check_new, origin, write_figures
from benchmarks.speed.masks import keep_masks
from benchmarks.speed.models import KNOWN, build_generator, check_names
from benchmarks.speed.tables import NEW_TOKENS
from benchmarks.speed.ways import make_work, stopped
from pcrl_gym.envs.task import make_task
from pcrl_gym.named_datasets import load_prompts

if TYPE_CHECKING:
    from pcrl_gym.generators.hf import HFGenerator

# Parameters times prompt tokens, above which a case is left out: a minute on a CPU core.
MAX_WORK = 2e11
_MASKS = "random-15"


@dataclass(frozen=True)
class Options:
    """What to measure.

    Raises:
        ValueError: If a name is unknown or a number out of range, or the file exists.
    """

    models: tuple[str, ...] = ("micro", "gpt2-29m", "gpt2-124m")  # causal ones of `KNOWN`
    rewards: tuple[int, ...] = (8, 32, 128)  # per update, multiples of `SAMPLES`
    lengths: tuple[int, ...] = (48, 96, 192)  # tokens per original prompt
    replicas: tuple[int, ...] = (1, 2)  # numbers to compare with this process; empty: none
    repeats: int = 3  # how often each case is measured; the fastest counts
    out: str | None = None  # file for all figures

    def __post_init__(self) -> None:
        check_names(list(self.models), "cpu")
        if any(name.startswith(("t5", "micro-seq2seq")) for name in self.models):
            causal = [name for name in KNOWN if not name.startswith(("t5", "flan", "micro-s"))]
            raise ValueError(f"the model of costs is for causal generators: {', '.join(causal)}")
        if not self.rewards or any(n < SAMPLES or n % SAMPLES for n in self.rewards):
            raise ValueError(f"rewards must be multiples of {SAMPLES}, got {self.rewards}")
        if not self.lengths or any(n < 32 for n in self.lengths):
            raise ValueError(f"lengths must be at least 32 tokens, got {self.lengths}")
        check_new(self.out)


def run(options: Options) -> None:
    """Measure, print all tables and write the file."""
    figures: dict[str, Any] = {
        "settings": asdict(options) | {"samples": SAMPLES, "most_work": MAX_WORK},
        "provenance": origin(),
    }
    words = sorted({word for p in load_prompts("micro", "train")[:200] for word in p.input.split()})
    cases: list[Case] = []
    replicated: list[Replicated] = []
    for name in options.models:
        generator = build_generator(name, "cpu")
        for length in options.lengths:
            for rewards in options.rewards:
                if work_of(generator, length, rewards) <= MAX_WORK:
                    what = f"{name}, {rewards} rewards, {length} tokens"
                    print(f"{what} ...", file=sys.stderr, flush=True)
                    cases.append(measure_case(generator, words, rewards, length, options.repeats))
        if options.replicas:
            replicated.append(measure_replicas(generator, words, options))
    figures |= {
        "cases": [asdict(case) for case in cases],
        "replicated": [asdict(row) for row in replicated],
        "assumptions": {
            "gpu": asdict(H100),
            "models": [asdict(model) for model in MODELS],
            "run": asdict(RUN),
        },
    }
    write_figures(options.out, figures)
    print(format_all(cases, replicated), end="")
    if options.out is not None:
        print(f"\nWritten to {options.out}")


def work_of(generator: HFGenerator, length: int, prompts: int) -> int:
    """Return parameters times prompt tokens."""
    return length * prompts * sum(p.numel() for p in generator.model.parameters())


def show(file: str | Path) -> str:
    """Return the tables of a file that `run` has written, with the model fitted anew.

    Raises:
        ValueError: If the file is none of these.
    """
    try:
        figures = json.loads(Path(file).read_text(encoding="utf-8"))
        cases = [Case(**case) for case in figures["cases"]]
        replicated = [Replicated(**row) for row in figures["replicated"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} holds no figures of this command: {error!r}") from error
    return format_all(cases, replicated)


def measure_replicas(generator: HFGenerator, words: Sequence[str], options: Options) -> Replicated:
    """Answer compressed prompts here and by replicas of one CPU each, in turns."""
    from pcrl_gym.generators.ray.generator import RayGenerator

    length = sorted(options.lengths)[len(options.lengths) // 2]
    fitting = [n for n in options.rewards if work_of(generator, length, n) <= MAX_WORK]
    count = max(fitting, default=min(options.rewards))
    print(f"{generator.name}, replicas ...", file=sys.stderr, flush=True)
    prompts = prompts_of_length(generator, words, length, count)
    task = make_task(dataset=prompts, generator=generator, tokenizer="micro", max_units=length)
    episodes = list(task.episodes)
    masks = keep_masks(task, episodes, [_MASKS], None)[_MASKS]
    texts = [episode.text for episode in episodes]
    originals = dict(zip(texts, generator.generate(texts, NEW_TOKENS), strict=True))
    work = make_work(generator, episodes, masks, originals)
    best: dict[str, float] = {}
    for replicas in (0, *options.replicas):
        # One after the other, as all of them at once may be more than the machine has cores.
        way = closing(RayGenerator(generator, replicas)) if replicas else nullcontext(generator)
        with way as asked:
            stopped(asked, work)
            again = partial(stopped, asked, work)
            runs = [measure(again, generator.model) for _ in range(options.repeats)]
        best[str(replicas)] = min(one.seconds for one in runs)
    return Replicated(generator.name, len(work.prompts), best)
