"""Common settings and output of measuring commands: tables, and a file of all results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.markdown import align
from benchmarks.provenance import origin as origin
from pcrl_gym.storage.atomic import write_file

SPLIT = "validation_seen"
NEW_TOKENS = 30  # maximum answer length, in generator tokens
BATCH = 32  # prompts per batch of the plain way
PADDED = 128  # tokens to which the plain way pads

LEGEND = f"""\
- (a) `generate`, padded to {PADDED}, batches of {BATCH}
- (b) `generate`, dynamic padding
- (c) engine, full answers
- (d) engine, stops when the reward is decided
- (e) floor: one bare forward pass over prompt and draft
- (f) the same with logits of a slice, including padding, as the library computes them
- (g) engine, likelihood of the draft, as needed by likelihood rewards
- passes/row: forward passes that a row takes part in, including those of its batch after it is done
- peak MiB: resident set of the whole process on a CPU, memory allocated by torch on a GPU
- drafts held: share of rows whose answer equals that to the original prompt
- rewards and answers equal: number equal to those of (a), the lowest of all ways
- models with their size in the name have random weights and give meaningless answers of
  {NEW_TOKENS} tokens, so whether drafts hold is arbitrary
"""

# Goals of ways, by device and model.
_GOALS = dict.fromkeys(
    [("cpu", "micro"), ("cpu", "micro-seq2seq")],
    (("d", "ratio_to_a", 4.0), ("d", "share_of_e", 0.75)),
)
_GOALS["cuda", "gpt2-xl"] = ("d", "ratio_to_a", 10.0), ("d", "share_of_e", 0.5)
_GOALS["cpu", "smollm2-135m-instruct-q4_1"] = ("d", "ratio_to_a", 2.5), ("g", "share_of_e", 0.85)
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
TARGETS = {"target": "{text}", "value": "{value:.3f}", "reached": "{reached}"}


def check_new(out: str | None) -> None:
    """Raise ValueError if the result file already exists."""
    if out is not None and Path(out).exists():
        raise ValueError(f"{out} already exists and is not overwritten; choose another file")


def write_figures(out: str | None, figures: dict[str, Any]) -> None:
    """Write results as JSON if a file is given, creating its folder."""
    if out is not None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        write_file(Path(out), json.dumps(figures, indent=2, allow_nan=False) + "\n")


def format_rows(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """Return a Markdown table; each column has a header and a format of a row's values."""
    return align([[*columns], *([c.format_map(row) for c in columns.values()] for row in rows)])


def format_cases(cases: Sequence[dict[str, Any]]) -> str:
    """Return the two tables of one model: speed, and acceptance of drafts."""
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
    """Return text, value, and whether it is reached, of each applicable target.

    The goals of models are for masks of a trained policy and random ones of 15%.
    """
    found, gains = [], []
    for case in cases:
        where, ways = f"{case['model']}, {case['masks']}", case["ways"]
        if case["masks"] in ("policy", "random-15"):
            for way, figure, goal in _GOALS.get((case["device"], case["model"]), ()):
                least = f"{goal:g} times (a)" if figure == "ratio_to_a" else f"{goal:.0%} of (e)"
                found.append((f"{where}: ({way}) at least {least}", ways[way][figure], goal))
        gains.append((ways["c"]["ratio_to_a"] / ways["b"]["ratio_to_a"], where))
    for least, where in sorted(gains)[:1]:
        found.append((f"(c) at least 0.95 times (b) with any masks; least ({where})", least, 0.95))
    for row in overhead:
        text = f"at least 90% of a step in the generator, {row['prompts']} prompts"
        found.append((text, 1 - row["share"], 0.9))
    return [{"text": text, "value": v, "reached": v >= goal} for text, v, goal in found]
