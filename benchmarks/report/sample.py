"""Prompts for the page's browser: as many as fit in it, spread evenly over each split."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from benchmarks.markdown import finite
from benchmarks.records import Record
from benchmarks.report.data import Board
from pcrl_gym.prompts.datasets import pick_evenly

FIGURES = (
    ("reward", "reward"),
    ("similarity", "similarity"),
    ("compression_ratio", "compression ratio"),
    ("drop_rate", "achieved rate"),
    ("requested_rate", "requested rate"),
    ("log_likelihood", "log-likelihood"),
    ("original_tokens", "tokens of the prompt"),
    ("compressed_tokens", "tokens left"),
    ("template_tokens", "tokens of the template"),
    ("gold_rouge_l", "gold ROUGE-L"),
    ("compress_ms", "ms"),
)
"""Figures of a record that the browser shows, as far as records have them."""


def prompt_sample(boards: Sequence[Board], budget: int) -> dict[str, Any]:
    """Choose prompts whose `script_json` takes at most `budget` bytes.

    The same number of prompts is picked from each split of each folder, at even distances, and each
    comes with the records of all agents and seeds, so that agents can be compared on it.

    Returns:
        `{"prompts", "of_prompts", "records", "of_records", "figures", "entries"}`: how many of how
        many, titles of the figures, and the prompts.
    """
    groups = [group for place, board in enumerate(boards) for group in _splits(place, board)]
    sizes = [[len(script_json(entry)) + 1 for entry in group] for group in groups]
    fits, too_many = 0, max((len(group) for group in groups), default=0) + 1
    while too_many - fits > 1:
        count = (fits + too_many) // 2
        needed = sum(own[place] for own in sizes for place in pick_evenly(len(own), count))
        if needed <= budget:
            fits = count
        else:
            too_many = count
    entries = [group[place] for group in groups for place in pick_evenly(len(group), fits)]
    return {
        "prompts": len(entries),
        "of_prompts": sum(map(len, groups)),
        "records": sum(len(entry["views"]) for entry in entries),
        "of_records": sum(len(board.records) for board in boards),
        "figures": [{"key": key, "title": title} for key, title in FIGURES],
        "entries": entries,
    }


def script_json(value: Any) -> str:
    r"""JSON that may stand inside a `script` element, whatever texts it holds.

    It is ASCII, so lone surrogates and line separators are escapes, and no "<" can end the element.

    Example:
        >>> print(script_json("</script>"))
        "\u003c/script>"
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def utf16_ranges(text: str, ranges: Iterable[tuple[int, int]]) -> list[int]:
    """Return starts and ends of ranges as JavaScript counts: characters past U+FFFF are two.

    Example:
        >>> utf16_ranges("a😀bc", [(0, 1), (2, 3)])
        [0, 1, 3, 4]
    """
    units = list(accumulate((1 + (letter > "\uffff") for letter in text), initial=0))
    return [units[place] for both in ranges for place in both]


def _splits(board_place: int, board: Board) -> list[list[dict[str, Any]]]:
    by_split: dict[str, dict[str, dict[str, Any]]] = {split: {} for split in board.splits}
    for record in board.records:
        own = by_split[record.split]
        entry = {
            "board": board_place,
            "split": record.split,
            "id": record.prompt_id,
            "family": record.source,
            "prompt": record.prompt,
            "output": record.output,
            "gold": record.gold,
            "views": [],
        }
        own.setdefault(record.prompt_id, entry)["views"].append(_view(record))
    return [list(own.values()) for own in by_split.values()]


def _view(record: Record) -> list[Any]:
    # A list, not an object: the keys would take more room than the values.
    figures = (getattr(record, key) for key, _ in FIGURES)
    same = record.compressed_output == record.output
    return [
        record.agent,
        record.seed,
        utf16_ranges(record.prompt, record.dropped),
        None if same else record.compressed_output,
        [round(v, 4) if isinstance(v, float) else v for v in map(finite, figures)],
    ]
