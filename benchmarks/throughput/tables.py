"""What a throughput run found: figures, tables and targets. Needs no model and loads no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.markdown import align

NEW_TOKENS = 30
"""Longest answer, in generator tokens."""

BATCH = 32
"""Prompts per batch of the plain way."""

PADDED = 128
"""Tokens to which the plain way pads."""

WAYS = {
    "a": f"`generate`, padded to {PADDED}, batches of {BATCH}",
    "b": "`generate`, dynamic padding",
    "c": "engine, full answers",
    "d": "engine, stops when the reward is decided",
    "e": "floor: one bare forward pass over prompt and draft",
    "f": "the same with logits of a slice, padding included, as the library forms them",
}
"""What is compared, in the order of the tables."""

OVERHEAD_GOAL = 0.1
_MIB = 1 << 20


@dataclass(frozen=True)
class Figures:
    """One way on one set of prompts.

    Attributes:
        seconds: Wall-clock time of each repetition.
        passes_per_row: Forward passes that a row takes part in, on average.
        memory_before: Bytes held when the way began; None: cannot be told.
        memory_peak: Most bytes held, over all repetitions.
    """

    seconds: list[float]
    passes_per_row: float
    memory_before: int | None
    memory_peak: int | None

    @property
    def best(self) -> float:
        """Seconds of the fastest repetition: what disturbs a machine only makes it slower."""
        return min(self.seconds)


@dataclass(frozen=True)
class Case:
    """All ways on one set of prompts.

    Attributes:
        model: Name of the model.
        device: Type of its device.
        exact: Whether rewards must be equal to the last bit: float32 on a CPU.
        masks: Name of the masks.
        prompts: Distinct pairs of a compressed prompt and an original answer; each way answers
            each of them once.
        drafts_held: Share of rows whose answer is the draft.
        draft_accepted: Share of a draft's tokens that the first pass confirms, mean over rows.
        rewards_equal: By way, how many rewards are those of (a).
        answers_equal: Likewise for the answers, which (d) leaves unfinished.
        floor_tokens: Padded tokens per batch with which the floor is fastest.
        ways: By way, its figures.
    """

    model: str
    device: str
    exact: bool
    masks: str
    prompts: int
    drafts_held: float
    draft_accepted: float
    rewards_equal: dict[str, int]
    answers_equal: dict[str, int]
    floor_tokens: int
    ways: dict[str, Figures]

    def speed(self, way: str) -> float:
        """Return the prompts per second."""
        return self.prompts / self.ways[way].best

    def ratio(self, way: str, other: str) -> float:
        """Return how many times as fast a way is as another one."""
        return self.ways[other].best / self.ways[way].best

    @property
    def agrees(self) -> bool:
        """Whether all rewards are equal."""
        return all(count == self.prompts for count in self.rewards_equal.values())

    def to_json(self) -> dict[str, Any]:
        """Return all figures, derived ones included."""
        told = asdict(self)
        for way, figures in told["ways"].items():
            figures["prompts_per_second"] = self.speed(way)
            figures["ratio_to_a"] = self.ratio(way, "a")
            figures["share_of_e"] = self.ratio(way, "e")
        return told


@dataclass(frozen=True)
class Overhead:
    """Steps of a vector environment, and how much of their time is the generator's.

    Attributes:
        prompts: "new" in the first walk over the prompts, "known" in later ones, in which original
            prompts are cut into units and answered already.
        steps: Number of steps.
        seconds: Wall-clock time of the steps.
        generator_seconds: Part of it inside the generator.
    """

    prompts: str
    steps: int
    seconds: float
    generator_seconds: float

    @property
    def share(self) -> float:
        """Share of the time outside the generator."""
        return 1 - self.generator_seconds / self.seconds


@dataclass(frozen=True)
class Target:
    """A number to reach.

    Attributes:
        text: What is to be reached, and where.
        value: What was measured.
        reached: Whether that is enough.
    """

    text: str
    value: float
    reached: bool


def legend() -> str:
    """Tell what stands in the tables."""
    ways = "".join(f"- ({way}) {text}\n" for way, text in WAYS.items())
    return (
        f"{ways}- passes/row: forward passes that a row takes part in, those of its batch included "
        "once it is done\n- peak MiB: resident set of the whole process on a CPU, what torch "
        "allocated on a GPU\n- drafts held: share of rows whose answer is that to the original; "
        "draft tokens accepted: mean share that the first pass confirms\n"
        "- rewards and answers equal: to those of (a), the fewest of any way\n"
    )


def format_cases(cases: Sequence[Case]) -> str:
    """Return the two tables of one model: speed, and what the drafts were worth."""
    speed = [["masks, way", "prompts/s", "ratio to (a)", "share of (e)", "passes/row", "peak MiB"]]
    drafts = [
        [
            "masks",
            "prompts",
            "drafts held",
            "draft tokens accepted",
            "rewards equal",
            "answers equal",
            "(e) batch",
        ]
    ]
    for case in cases:
        for way, figures in case.ways.items():
            peak = figures.memory_peak
            speed.append(
                [
                    f"{case.masks} ({way})",
                    f"{case.speed(way):.1f}",
                    f"{case.ratio(way, 'a'):.2f}",
                    f"{case.ratio(way, 'e'):.2f}",
                    f"{figures.passes_per_row:.2f}",
                    "" if peak is None else f"{peak / _MIB:.0f}",
                ]
            )
        drafts.append(
            [
                case.masks,
                str(case.prompts),
                f"{case.drafts_held:.3f}",
                f"{case.draft_accepted:.3f}",
                f"{min(case.rewards_equal.values())} of {case.prompts}",
                f"{min(case.answers_equal.values())} of {case.prompts}",
                f"{case.floor_tokens} tokens",
            ]
        )
    return f"{align(speed)}\n{align(drafts)}"


def format_overhead(rows: Sequence[Overhead]) -> str:
    """Return the table of the environment's own time."""
    table = [["prompts", "steps", "ms/step", "in the generator", "environment"]]
    table += [
        [
            row.prompts,
            str(row.steps),
            f"{1000 * row.seconds / row.steps:.1f}",
            f"{1 - row.share:.3f}",
            f"{row.share:.3f}",
        ]
        for row in rows
    ]
    return align(table)


def format_targets(targets: Sequence[Target]) -> str:
    """Return one line per target."""
    return "".join(
        f"{'reached' if target.reached else 'MISSED'}: {target.text}: {target.value:.3f}\n"
        for target in targets
    )


def find_targets(
    cases: Sequence[Case], overhead: Sequence[Overhead], data: str = "micro"
) -> list[Target]:
    """Return the targets that these models, masks and prompts can be held to, in order.

    On a CPU: (d) is at least 4 times as fast as (a) and reaches 75 % of (e), on micro with the
    masks of a trained policy or random ones of 15 %. On CUDA with the shape of GPT-2 XL: 10 times
    and 50 %. Anywhere: (c) is never below 0.95 times (b), and the environment takes at most 10 % of
    a step.
    """
    targets = []
    for case in cases:
        if case.device == "cpu" and case.model in ("micro", "micro-seq2seq"):
            if data == "micro" and case.masks in ("policy", "random-15"):
                targets += _held_to(case, times=4.0, share=0.75)
        elif case.device == "cuda" and case.model == "gpt2-xl":
            targets += _held_to(case, times=10.0, share=0.5)
    if cases:
        worst = min(cases, key=lambda case: case.ratio("c", "b"))
        value = worst.ratio("c", "b")
        where = f"{worst.model}, {worst.masks}"
        text = f"(c) at least 0.95 times (b) with any masks; least ({where})"
        targets.append(Target(text, value, value >= 0.95))
    for row in overhead:
        text = f"environment at most {OVERHEAD_GOAL:.0%} of a step, {row.prompts} prompts"
        targets.append(Target(text, row.share, row.share <= OVERHEAD_GOAL))
    return targets


def _held_to(case: Case, times: float, share: float) -> Iterable[Target]:
    where = f"{case.model}, {case.masks}"
    ratio, reach = case.ratio("d", "a"), case.ratio("d", "e")
    yield Target(f"{where}: (d) at least {times:g} times (a)", ratio, ratio >= times)
    yield Target(f"{where}: (d) at least {share:.0%} of (e)", reach, reach >= share)
