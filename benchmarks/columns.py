"""The columns of the leaderboard, in one place for the terminal, the files and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from benchmarks.markdown import finite


class Column(NamedTuple):
    """A figure of the leaderboard."""

    key: str  # of the leaderboard row
    title: str
    meaning: str  # in a sentence
    shown: Literal["main", "further", "both"] = "further"  # in which table
    kind: Literal["text", "figure", "interval"] = "figure"


COLUMNS = (
    Column("agent", "agent", "Name of the agent.", "both", "text"),
    Column("seeds", "seeds", "Seeds evaluated; 1 for agents without chance.", "main"),
    Column("n", "n", "Prompts per seed.", "main"),
    Column("reward", "reward", "Mean reward over prompts and seeds.", "main"),
    Column("reward_ci", "95 % interval", "Bootstrap interval of the reward.", "main", "interval"),
    Column("normalised_score", "normalised", "Reward where keep_all is 0 and search is 1.", "main"),
    Column("compression_ratio", "ratio", "Mean share of tokens saved per prompt.", "main"),
    Column("compression_ratio_micro", "ratio (tokens)", "Share saved of all tokens.", "main"),
    Column("similarity", "similarity", "Mean similarity of the two answers.", "main"),
    Column("survival_rate", "survival", "Share of answers with similarity above 0.9.", "main"),
    Column("reward_iqm", "IQM reward", "Interquartile mean of the reward."),
    Column("reward_iqm_ci", "IQM 95 % interval", "Bootstrap interval of the IQM.", kind="interval"),
    Column(
        "compression_ratio_second", "ratio (2nd tokenizer)", "Mean ratio in the second tokenizer."
    ),
    Column("requested_rate", "requested rate", "Share the agent was asked to drop."),
    Column("drop_rate", "achieved rate", "Share of droppable units that it dropped."),
    Column("exact_match", "exact match", "Share of answers equal to the gold answer."),
    Column("gold_rouge_1", "gold ROUGE-1", "ROUGE-1 F1 against the gold answer."),
    Column("gold_rouge_2", "gold ROUGE-2", "ROUGE-2 F1 against the gold answer."),
    Column("gold_rouge_l", "gold ROUGE-L", "ROUGE-L F1 against the gold answer.", "both"),
    Column("cut_rouge_1", "ROUGE-1 cut", "ROUGE-1 F1 cut to the gold answer's length."),
    Column("cut_rouge_2", "ROUGE-2 cut", "ROUGE-2 F1 cut to the gold answer's length."),
    Column("cut_rouge_l", "ROUGE-L cut", "ROUGE-L F1 cut to the gold answer's length."),
    Column("compress_ms", "ms/prompt", "Time the agent takes for one prompt.", "main"),
)


def columns_of(table: Literal["main", "further"]) -> list[Column]:
    """Return the columns of one of the two tables, the agent first."""
    return [column for column in COLUMNS if column.shown in (table, "both")]


def measured(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> list[Column]:
    """Return those of the columns that at least one leaderboard row has a figure for."""
    return [
        column for column in columns if any(finite(row.get(column.key)) is not None for row in rows)
    ]
