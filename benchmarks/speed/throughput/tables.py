"""What a throughput run found: figures, tables and targets. Needs no model and loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.markdown import align

NEW_TOKENS = 30  # longest answer, in generator tokens
BATCH = 32  # prompts per batch of the plain way
PADDED = 128  # tokens to which the plain way pads

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
    """One way on one set of prompts."""

    seconds: list[float]  # wall-clock time of each repetition
    passes_per_row: float  # forward passes that a row takes part in, on average
    memory_before: int | None  # bytes held when the way began; None: unknown
    memory_peak: int | None  # most bytes held, over all repetitions

    @property
    def best(self) -> float:
        """Seconds of the fastest repetition: what disturbs a machine only makes it slower."""
        return min(self.seconds)


@dataclass(frozen=True)
class Case:
    """All ways on one set of prompts."""

    model: str
    device: str  # its type
    exact: bool  # whether rewards must be equal to the last bit: float32 on a CPU
    masks: str
    prompts: int  # distinct pairs of a compressed prompt and an original answer
    drafts_held: float  # share of rows whose answer is the draft
    draft_accepted: float  # share of a draft's tokens that the first pass confirms, mean over rows
    rewards_equal: dict[str, int]  # by way, how many rewards are those of (a)
    answers_equal: dict[str, int]  # likewise for the answers, which (d) leaves unfinished
    floor_tokens: int  # padded tokens per batch with which the floor is fastest
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
        values = asdict(self)
        for way, figures in values["ways"].items():
            figures["prompts_per_second"] = self.speed(way)
            figures["ratio_to_a"] = self.ratio(way, "a")
            figures["share_of_e"] = self.ratio(way, "e")
        return values


@dataclass(frozen=True)
class Overhead:
    """Steps of a vector environment, and how much of their time is the generator's."""

    # "new" in the first walk over the prompts, "known" in later ones, in which original prompts are
    # cut into units and answered already.
    prompts: str
    steps: int
    seconds: float  # wall-clock time of the steps
    generator_seconds: float  # part of it inside the generator

    @property
    def share(self) -> float:
        """Share of the time outside the generator."""
        return 1 - self.generator_seconds / self.seconds


@dataclass(frozen=True)
class Target:
    """A number to reach."""

    text: str  # what is to be reached, and where
    value: float  # what was measured
    reached: bool  # whether that is enough


def legend() -> str:
    """Return what the columns of the tables mean."""
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
    drafts = [["masks", "prompts", "drafts held", "draft tokens accepted", "rewards equal"]]
    drafts[0] += ["answers equal", "(e) batch"]
    for case in cases:
        for way, figures in case.ways.items():
            numbers = (case.ratio(way, "a"), case.ratio(way, "e"), figures.passes_per_row)
            peak = figures.memory_peak
            speed.append(
                [f"{case.masks} ({way})", f"{case.speed(way):.1f}"]
                + [f"{number:.2f}" for number in numbers]
                + ["" if peak is None else f"{peak / _MIB:.0f}"]
            )
        equal = (case.rewards_equal, case.answers_equal)
        drafts.append(
            [case.masks, str(case.prompts), f"{case.drafts_held:.3f}", f"{case.draft_accepted:.3f}"]
            + [f"{min(counts.values())} of {case.prompts}" for counts in equal]
            + [f"{case.floor_tokens} tokens"]
        )
    return f"{align(speed)}\n{align(drafts)}"


def format_overhead(rows: Sequence[Overhead]) -> str:
    """Return the table of the environment's own time."""
    table = [["prompts", "steps", "ms/step", "in the generator", "environment"]]
    for row in rows:
        step = f"{1000 * row.seconds / row.steps:.1f}"
        table.append(
            [row.prompts, str(row.steps), step, f"{1 - row.share:.3f}", f"{row.share:.3f}"]
        )
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
        if case.device == "cuda" and case.model == "gpt2-xl":
            times, share = 10.0, 0.5
        elif (
            (case.device, data) == ("cpu", "micro")
            and case.model in ("micro", "micro-seq2seq")
            and case.masks in ("policy", "random-15")
        ):
            times, share = 4.0, 0.75
        else:
            continue
        for other, goal, text in (
            ("a", times, f"{times:g} times"),
            ("e", share, f"{share:.0%} of"),
        ):
            value, where = case.ratio("d", other), f"{case.model}, {case.masks}"
            targets.append(Target(f"{where}: (d) at least {text} ({other})", value, value >= goal))
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
