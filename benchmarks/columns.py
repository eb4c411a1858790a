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
        title: Heading.
        meaning: What it says, in a sentence.
        kind: "text", "count", "share" (three decimals), "interval" or "milliseconds".
        shown: In which table it stands: "main", "further" or "both".
    """

    key: str
    title: str
    meaning: str
    kind: str = "share"
    shown: Literal["main", "further", "both"] = "further"


COLUMNS = (
    Column("agent", "agent", "Name of the agent.", "text", "both"),
    Column("seeds", "seeds", "Seeds evaluated; 1 for agents without chance.", "count", "main"),
    Column("n", "n", "Prompts per seed.", "count", "main"),
    Column("reward", "reward", "Mean reward over prompts and seeds.", shown="main"),
    Column("reward_ci", "95 % interval", "Bootstrap interval of the reward.", "interval", "main"),
    Column(
        "normalised_score",
        "normalised",
        "Reward where keep_all is 0 and search is 1.",
        shown="main",
    ),
    Column("compression_ratio", "ratio", "Mean share of tokens saved per prompt.", shown="main"),
    Column("compression_ratio_micro", "ratio (tokens)", "Share saved of all tokens.", shown="main"),
    Column("similarity", "similarity", "Mean similarity of the two answers.", shown="main"),
    Column(
        "survival_rate", "survival", "Share of answers with similarity above 0.9.", shown="main"
    ),
    Column("reward_iqm", "IQM reward", "Interquartile mean of the reward."),
    Column("reward_iqm_ci", "IQM 95 % interval", "Bootstrap interval of the IQM.", "interval"),
    Column(
        "compression_ratio_second", "ratio (2nd tokenizer)", "Mean ratio in the second tokenizer."
    ),
    Column("requested_rate", "requested rate", "Share the agent was asked to drop."),
    Column("drop_rate", "achieved rate", "Share of droppable units that it dropped."),
    Column("exact_match", "exact match", "Share of answers equal to the gold answer."),
    Column("gold_rouge_1", "gold ROUGE-1", "ROUGE-1 F1 against the gold answer."),
    Column("gold_rouge_2", "gold ROUGE-2", "ROUGE-2 F1 against the gold answer."),
    Column("gold_rouge_l", "gold ROUGE-L", "ROUGE-L F1 against the gold answer.", shown="both"),
    Column("cut_rouge_1", "ROUGE-1 cut", "ROUGE-1 F1 cut to the gold answer's length."),
    Column("cut_rouge_2", "ROUGE-2 cut", "ROUGE-2 F1 cut to the gold answer's length."),
    Column("cut_rouge_l", "ROUGE-L cut", "ROUGE-L F1 cut to the gold answer's length."),
    Column(
        "compress_ms", "ms/prompt", "Time the agent takes for one prompt.", "milliseconds", "main"
    ),
)


def columns_of(table: Literal["main", "further"]) -> list[Column]:
    """Return the columns of one of the two tables, the agent first."""
    return [column for column in COLUMNS if column.shown in (table, "both")]


def measured(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> list[Column]:
    """Return those of the columns that at least one leaderboard row has a figure for."""
    return [
        column for column in columns if any(finite(row.get(column.key)) is not None for row in rows)
    ]
