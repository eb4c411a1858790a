"""What a throughput run found: tables and targets of the cases of `cases.measure_case`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.speed.figures import format_rows

NEW_TOKENS = 30  # longest answer, in generator tokens
BATCH = 32  # prompts per batch of the plain way
PADDED = 128  # tokens to which the plain way pads

LEGEND = f"""\
- (a) `generate`, padded to {PADDED}, batches of {BATCH}
- (b) `generate`, dynamic padding
- (c) engine, full answers
- (d) engine, stops when the reward is decided
- (e) floor: one bare forward pass over prompt and draft
- (f) the same with logits of a slice, padding included, as the library forms them
- passes/row: forward passes that a row takes part in, those of its batch included once it is done
- peak MiB: resident set of the whole process on a CPU, what torch allocated on a GPU
- drafts held: share of rows whose answer is that to the original
- rewards and answers equal: to those of (a), the fewest of any way
- models with their size in the name have random weights, and answers of {NEW_TOKENS} tokens that
  mean nothing: drafts hold as it happens
"""

# How many times as fast as (a) and what share of (e) way (d) is to reach.
_SMALL, _LARGE = (4.0, 0.75), (10.0, 0.5)
_GOALS = {
    ("cpu", "micro"): _SMALL, ("cpu", "micro-seq2seq"): _SMALL, ("cuda", "gpt2-xl"): _LARGE
}  # fmt: skip
_SPEED = {
    "masks, way": "{masks} ({way})", "prompts/s": "{prompts_per_second:.1f}",
    "ratio to (a)": "{ratio_to_a:.2f}", "share of (e)": "{share_of_e:.2f}",
    "passes/row": "{passes_per_row:.2f}", "peak MiB": "{peak}",
}  # fmt: skip
_DRAFTS = {
    "masks": "{masks}", "prompts": "{prompts}", "drafts held": "{drafts_held:.3f}",
    "rewards equal": "{rewards} of {prompts}", "answers equal": "{answers} of {prompts}",
}  # fmt: skip
OVERHEAD = {
    "prompts": "{prompts}", "steps": "{steps}", "seconds": "{seconds:.3f}",
    "in the generator": "{generator_seconds:.3f}", "environment": "{share:.1%}",
}  # fmt: skip
"""Columns of what `measure_overhead` returns."""

TARGETS = {"target": "{text}", "value": "{value:.3f}", "reached": "{reached}"}
"""Columns of what `find_targets` returns."""


def format_cases(cases: Sequence[dict[str, Any]]) -> str:
    """Return the two tables of one model: speed, and what the drafts were worth."""
    speed, drafts = [], []
    for case in cases:
        for way, found in case["ways"].items():
            peak = "" if found["memory_peak"] is None else f"{found['memory_peak'] / 2**20:.0f}"
            speed.append(found | {"masks": case["masks"], "way": way, "peak": peak})
        equal = {name: min(case[f"{name}_equal"].values()) for name in ("rewards", "answers")}
        drafts.append(case | equal)
    return f"{format_rows(speed, _SPEED)}\n{format_rows(drafts, _DRAFTS)}"


def find_targets(
    cases: Sequence[dict[str, Any]], overhead: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return text, value and whether it is reached of each target that these can be held to.

    The goals of models are for masks of a trained policy and random ones of 15 %.
    """
    found: list[tuple[str, float, float]] = []
    gains: list[tuple[float, str]] = []
    for case in cases:
        where, ways = f"{case['model']}, {case['masks']}", case["ways"]
        times, share = _GOALS.get((case["device"], case["model"]), (0.0, 0.0))
        if times and case["masks"] in ("policy", "random-15"):
            found += [
                (f"{where}: (d) at least {times:g} times (a)", ways["d"]["ratio_to_a"], times),
                (f"{where}: (d) at least {share:.0%} of (e)", ways["d"]["share_of_e"], share),
            ]
        gains.append((ways["c"]["ratio_to_a"] / ways["b"]["ratio_to_a"], where))
    for least, where in sorted(gains)[:1]:
        found.append((f"(c) at least 0.95 times (b) with any masks; least ({where})", least, 0.95))
    for row in overhead:
        text = f"at least 90% of a step in the generator, {row['prompts']} prompts"
        found.append((text, 1 - row["share"], 0.9))
    return [{"text": text, "value": v, "reached": v >= goal} for text, v, goal in found]
