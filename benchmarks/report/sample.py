"""Prompts for the page's browser: as many as fit in it, spread evenly over each split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.markdown import finite
from benchmarks.report.data import Board
from pcrl_gym.prompts.datasets import pick_evenly

FIGURES = (
    "reward", "similarity", "compression_ratio", "drop_rate", "requested_rate", "log_likelihood",
    "original_tokens", "compressed_tokens", "template_tokens", "gold_rouge_l", "compress_ms",
)  # fmt: skip
"""What the browser shows of a record, as far as it was measured."""


def choose_prompts(groups: Sequence[Sequence[dict[str, Any]]], budget: int) -> list[dict[str, Any]]:
    """Choose prompts whose `script_json` takes at most `budget` bytes.

    The same number is picked from each group, at even distances.
    """
    sizes = [[len(script_json(prompt)) + 1 for prompt in group] for group in groups]
    count = max(map(len, groups), default=0)
    while sum(own[at] for own in sizes for at in pick_evenly(len(own), count)) > budget:
        count = count * 49 // 50
    return [group[at] for group in groups for at in pick_evenly(len(group), count)]


def script_json(value: Any) -> str:
    r"""JSON in ASCII that may stand inside a `script` element, whatever texts it holds.

    Example:
        >>> print(script_json("</script>"))
        "\u003c/script\u003e"
    """
    from jinja2.utils import htmlsafe_json_dumps

    return htmlsafe_json_dumps(value, allow_nan=False, separators=(",", ":"))


def prompt_groups(boards: Sequence[Board]) -> list[list[dict[str, Any]]]:
    """Return the prompts of each split of each folder, each with the records of all agents."""
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for place, board in enumerate(boards):
        for record in () if board.records is None else board.records.itertuples(index=False):
            prompt = {key: getattr(record, key) for key in ("source", "prompt", "output", "gold")}
            prompt |= {"id": record.prompt_id, "split": f"{place}.{record.split}", "views": []}
            figures = [finite(getattr(record, key)) for key in FIGURES]
            view = [  # not an object: the keys would take more room than the values
                record.agent,
                record.seed,
                [int(end) for both in record.dropped for end in both],
                None if record.compressed_output == record.output else record.compressed_output,
                [round(value, 4) if isinstance(value, float) else value for value in figures],
            ]
            group = groups.setdefault(prompt["split"], {})
            group.setdefault(record.prompt_id, prompt)["views"].append(view)
    return [list(group.values()) for group in groups.values()]
