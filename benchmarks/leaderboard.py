"""Leaderboard rows from records, and the row's three forms: JSON, Markdown, terminal.

Needs no model and loads neither torch nor transformers.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from benchmarks.records import ORACLE, Record, RunFolder, RunFolderError
from benchmarks.stats import bootstrap_interval, mean, micro_compression_ratio, survival_rate
from pcrl_gym.atomic import write_file


class Row(TypedDict):
    """One agent on one split.

    `suite` holds version and limit too, see `suite_title`. `seeds` is the number of seeds evaluated
    (1 for agents without chance), `n` the number of prompts per seed. All figures are means over
    seeds and prompts except `compression_ratio_micro`, which is over tokens, and `reward_ci`, the
    95 % interval of `reward`. `oracle`: the agent sees the generator's answers. None: not measured.
    """

    agent: str
    suite: str
    split: str
    generator: str
    seeds: int
    n: int
    reward: float
    reward_ci: tuple[float, float]
    compression_ratio: float
    compression_ratio_micro: float
    similarity: float
    survival_rate: float
    gold_rouge_l: float | None
    compress_ms: float
    oracle: bool


def make_rows(records: Iterable[Record], settings: dict[str, Any]) -> list[Row]:
    """Summarise records: a row per agent and split, best reward first within a split.

    Args:
        records: finished parts of one folder.
        settings: the folder's settings; "suite", "version", "limit", "splits",
            "generator_name" and "agents" are used.

    Returns:
        Rows in the order of the settings' splits.

    Raises:
        RunFolderError: the seeds of a row were not evaluated on the same prompts.
    """
    grouped: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        grouped[record.agent, record.split].append(record)
    rows = [_make_row(group, settings) for group in grouped.values()]
    order = {split: place for place, split in enumerate(settings["splits"])}
    return sorted(rows, key=lambda row: (order[row["split"]], -row["reward"], row["agent"]))


def _make_row(records: Sequence[Record], settings: dict[str, Any]) -> Row:
    by_seed: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        by_seed[record.seed].append(record)
    parts = list(by_seed.values())
    agent, split = records[0].agent, records[0].split
    prompt_ids = [record.prompt_id for record in parts[0]]
    if any([record.prompt_id for record in part] != prompt_ids for part in parts):
        raise RunFolderError(
            f"The seeds of agent {agent} on {split} hold different prompts. Delete "
            f"records/{agent} and run again."
        )
    rewards = [[record.reward for record in part] for part in parts]
    similarities = [record.similarity for record in records]
    return Row(
        agent=agent,
        suite=suite_title(settings),
        split=split,
        generator=settings["generator_name"],
        seeds=len(parts),
        n=len(prompt_ids),
        reward=_mean(record.reward for record in records),
        reward_ci=bootstrap_interval(rewards),
        compression_ratio=_mean(record.compression_ratio for record in records),
        compression_ratio_micro=micro_compression_ratio(
            [record.original_tokens for record in records],
            [record.compressed_tokens for record in records],
            [record.template_tokens for record in records],
        ),
        similarity=_mean(similarities),
        survival_rate=survival_rate(similarities),
        gold_rouge_l=mean(record.gold_rouge_l for record in records),
        compress_ms=_mean(record.compress_ms for record in records),
        oracle=settings["agents"].get(agent, "").endswith(ORACLE),
    )


def suite_title(settings: dict[str, Any]) -> str:
    """Suite and version, and how many prompts of each split where not all were evaluated.

    Example:
        >>> suite_title({"suite": "micro", "version": 1, "limit": 64})
        'micro v1, limit 64'
    """
    title = f"{settings['suite']} v{settings['version']}"
    return title if settings["limit"] is None else f"{title}, limit {settings['limit']}"


def _mean(values: Iterable[float]) -> float:
    result = mean(values)
    if result is None:
        raise RunFolderError("A part holds no figures; delete it and run again.")
    return result


_COLUMNS = (
    ("agent", "agent"),
    ("seeds", "seeds"),
    ("n", "n"),
    ("reward", "reward"),
    ("reward_ci", "95 % interval"),
    ("compression_ratio", "ratio"),
    ("compression_ratio_micro", "ratio (tokens)"),
    ("similarity", "similarity"),
    ("survival_rate", "survival"),
    ("gold_rouge_l", "gold ROUGE-L"),
    ("compress_ms", "ms/prompt"),
)
# No line starts with the mark: Markdown would take it for a list.
ORACLE_MARK = " *"
ORACLE_NOTE = "Agents marked * see the generator's answers: a ceiling, not a competitor.\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return f"{value[0]:.3f} to {value[1]:.3f}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _cells(row: Row) -> list[str]:
    agent, *figures = [_cell(dict(row)[key]) for key, _ in _COLUMNS]
    return [agent + ORACLE_MARK if row["oracle"] else agent, *figures]


def format_leaderboard(rows: Sequence[Row]) -> str:
    """Tables in Markdown that also read well in a terminal: one per split, columns aligned.

    Agents that see the generator's answers are marked, with a note below the table.

    Args:
        rows: rows of one folder, in the order of `make_rows`.

    Returns:
        The text, ending in a newline. It says so if there are no rows.
    """
    if not rows:
        return "No finished results yet.\n"
    blocks = []
    for split in dict.fromkeys(row["split"] for row in rows):
        own = [row for row in rows if row["split"] == split]
        title = f"### {own[0]['suite']}, {split} (generator: {own[0]['generator']})"
        table = [[header for _, header in _COLUMNS]]
        table += [_cells(row) for row in own]
        note = "\n" + ORACLE_NOTE if any(row["oracle"] for row in own) else ""
        blocks.append(title + "\n\n" + _align(table) + note)
    return "\n".join(blocks)


def _align(table: Sequence[Sequence[str]]) -> str:
    """Markdown table, first column to the left, the others to the right."""
    widths = [max(3, *map(len, column)) for column in zip(*table, strict=True)]
    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    lines = [
        [line[0].ljust(widths[0])]
        + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        for line in table
    ]
    lines.insert(1, rule)
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def write_leaderboard(folder: RunFolder) -> list[Row]:
    """Write `summary.json` and `leaderboard.md` from the folder's finished parts.

    Returns:
        The rows written.
    """
    rows = make_rows(folder.records(), folder.settings)
    summary = json.dumps(rows, indent=2, allow_nan=False) + "\n"
    write_file(folder.path / "summary.json", summary)
    write_file(folder.path / "leaderboard.md", format_leaderboard(rows))
    return rows
