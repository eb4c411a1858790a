"""The columns of the report's tables, in one place for all its formats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of the leaderboard.

    Attributes:
        key: key of the leaderboard row.
        title: heading.
        kind: "text", "count", "share" (three decimals), "interval" or "milliseconds".
        meaning: what it says, in a sentence.
        main: whether it stands in the main table; the others are further figures.
    """

    key: str
    title: str
    kind: str
    meaning: str
    main: bool = False


COLUMNS = (
    Column("agent", "agent", "text", "Name of the agent.", True),
    Column("seeds", "seeds", "count", "Seeds evaluated; 1 for agents without chance.", True),
    Column("n", "prompts", "count", "Prompts per seed.", True),
    Column("reward", "reward", "share", "Mean reward over prompts and seeds.", True),
    Column("reward_ci", "95 % interval", "interval", "Bootstrap interval of the reward.", True),
    Column(
        "normalised_score",
        "normalised",
        "share",
        "Reward where keep_all is 0 and search is 1.",
        True,
    ),
    Column("compression_ratio", "ratio", "share", "Mean share of tokens saved per prompt.", True),
    Column(
        "compression_ratio_micro", "ratio (tokens)", "share", "Share saved of all tokens.", True
    ),
    Column("similarity", "similarity", "share", "Mean ROUGE-L F1 between the two answers.", True),
    Column(
        "survival_rate", "survival", "share", "Share of answers with similarity above 0.9.", True
    ),
    Column("gold_rouge_l", "gold ROUGE-L", "share", "ROUGE-L F1 against the gold answer.", True),
    Column(
        "compress_ms", "ms/prompt", "milliseconds", "Time the agent takes for one prompt.", True
    ),
    Column("reward_iqm", "IQM reward", "share", "Interquartile mean of the reward."),
    Column("reward_iqm_ci", "IQM 95 % interval", "interval", "Bootstrap interval of the IQM."),
    Column(
        "compression_ratio_second",
        "ratio (2nd tokenizer)",
        "share",
        "Mean ratio in the second tokenizer.",
    ),
    Column("requested_rate", "requested rate", "share", "Share the agent was asked to drop."),
    Column("drop_rate", "achieved rate", "share", "Share of droppable units that it dropped."),
    Column("exact_match", "exact match", "share", "Share of answers equal to the gold answer."),
    Column("gold_rouge_1", "gold ROUGE-1", "share", "ROUGE-1 F1 against the gold answer."),
    Column("gold_rouge_2", "gold ROUGE-2", "share", "ROUGE-2 F1 against the gold answer."),
    Column("cut_rouge_1", "ROUGE-1 cut", "share", "ROUGE-1 F1 cut to the gold answer's length."),
    Column("cut_rouge_2", "ROUGE-2 cut", "share", "ROUGE-2 F1 cut to the gold answer's length."),
    Column("cut_rouge_l", "ROUGE-L cut", "share", "ROUGE-L F1 cut to the gold answer's length."),
)


def measured(rows: Sequence[Mapping[str, Any]], *, main: bool | None = None) -> list[Column]:
    """Columns that at least one row has a figure for.

    Args:
        rows: leaderboard rows.
        main: only those of the main table, or only the further figures after the agent.
    """
    return [
        column
        for column in COLUMNS
        if (main is None or column.main == main or column.key == "agent")
        and any(finite(row.get(column.key)) is not None for row in rows)
    ]


def finite(value: Any) -> Any:
    """Return the value, or None in place of a number that is not finite.

    Example:
        >>> finite(0.5), finite(float("nan")), finite("keep_all")
        (0.5, None, 'keep_all')
    """
    return None if isinstance(value, float) and not math.isfinite(value) else value


def cell(value: Any) -> str:
    """One figure as text, "" if it was not measured.

    Example:
        >>> cell((0.25, 0.5)), cell(0.125), cell(12), cell(None)
        ('0.250 to 0.500', '0.125', '12', '')
    """
    value = finite(value)
    if value is None:
        return ""
    if isinstance(value, (tuple, list)):
        low, high = value
        return f"{low:.3f} to {high:.3f}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
