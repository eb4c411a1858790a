"""The columns of the leaderboard, in one place for the terminal, the files and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.markdown import finite


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of the leaderboard.

    Attributes:
        key: Key of the leaderboard row.
        title: heading.
        kind: "text", "count", "share" (three decimals), "interval" or "milliseconds".
        meaning: What it says, in a sentence.
        shown: In which table it stands: "main", "further" or "both".
    """

    key: str
    title: str
    kind: str
    meaning: str
    shown: Literal["main", "further", "both"] = "further"


COLUMNS = (
    Column("agent", "agent", "text", "Name of the agent.", "both"),
    Column("seeds", "seeds", "count", "Seeds evaluated; 1 for agents without chance.", "main"),
    Column("n", "n", "count", "Prompts per seed.", "main"),
    Column("reward", "reward", "share", "Mean reward over prompts and seeds.", "main"),
    Column("reward_ci", "95 % interval", "interval", "Bootstrap interval of the reward.", "main"),
    Column(
        "normalised_score",
        "normalised",
        "share",
        "Reward where keep_all is 0 and search is 1.",
        "main",
    ),
    Column("compression_ratio", "ratio", "share", "Mean share of tokens saved per prompt.", "main"),
    Column(
        "compression_ratio_micro", "ratio (tokens)", "share", "Share saved of all tokens.", "main"
    ),
    Column("similarity", "similarity", "share", "Mean similarity of the two answers.", "main"),
    Column(
        "survival_rate", "survival", "share", "Share of answers with similarity above 0.9.", "main"
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
    Column("gold_rouge_l", "gold ROUGE-L", "share", "ROUGE-L F1 against the gold answer.", "both"),
    Column("cut_rouge_1", "ROUGE-1 cut", "share", "ROUGE-1 F1 cut to the gold answer's length."),
    Column("cut_rouge_2", "ROUGE-2 cut", "share", "ROUGE-2 F1 cut to the gold answer's length."),
    Column("cut_rouge_l", "ROUGE-L cut", "share", "ROUGE-L F1 cut to the gold answer's length."),
    Column(
        "compress_ms", "ms/prompt", "milliseconds", "Time the agent takes for one prompt.", "main"
    ),
)


def columns_of(table: Literal["main", "further"]) -> list[Column]:
    """Return the columns of one of the two tables, the agent first."""
    return [column for column in COLUMNS if column.shown in (table, "both")]


def measured(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> list[Column]:
    """Return the columns that at least one row has a figure for.

    Args:
        rows: Leaderboard rows.
        columns: Columns to choose from.
    """
    return [
        column for column in columns if any(finite(row.get(column.key)) is not None for row in rows)
    ]
