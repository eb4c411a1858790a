"""Leaderboard rows from records, their columns, and output as JSON, Markdown, and text."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Sequence
from itertools import groupby
from operator import itemgetter
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from benchmarks.cost import DEFAULT_PRICES, Prices, net_saving
from benchmarks.markdown import align, cell, finite
from benchmarks.records import ORACLE, RANKS_BY, RunFolder
from benchmarks.statistics import bootstrap_interval, interquartile_mean, normalized_score
from pcrl_gym.errors import RunFolderError
from pcrl_gym.scoring.ratio import compression_ratio
from pcrl_gym.scoring.rewards import FaithfulReward
from pcrl_gym.scoring.scorer import SURVIVAL_THRESHOLD
from pcrl_gym.storage.atomic import write_file

if TYPE_CHECKING:
    from pandas import DataFrame, Series
    from rich.console import Console
    from rich.table import Table

Row = dict[str, Any]
"""One agent on one split: the values of `COLUMNS` (None if not measured), "suite" (see
`suite_title`), "split", "generator", "oracle" (whether the agent sees the generator's answers), and
"ranks_by" (the language model by which it ranks units, else "")."""

WIDTH = 100  # maximum terminal columns of a table
ORACLE_MARK = " *"  # never at the start of a line, where Markdown would see a list
ORACLE_NOTE = "Agents marked * see the generator's answers: a ceiling, not a competitor.\n"
_SHORT = {"normalized": "norm.", "similarity": "simil.", "survival": "surv.", "ms/prompt": "ms"}
_NOT_RANKED = ("seeds", "n", "requested_rate", "drop_rate")
# Lower is better.
_LOW = (
    "compress_ms", "likelihood_loss", "gold_likelihood_loss", "expansion", "rewritten", "leaked",
    "failed",
)  # fmt: skip
# Columns that a column replaces on a terminal, which has no room for all.
_IN_PLACE_OF = {
    "likelihood_loss": ("similarity", "survival_rate"),
    "gold_quality": ("gold_rouge_l",),
}
_CONSTRAINTS = ("constraints_kept", "original_constraints_kept")
TOKENS = ["original_tokens", "compressed_tokens", "template_tokens"]
_MEANS = """
    reward compression_ratio compression_ratio_second requested_rate drop_rate similarity
    survival_rate exact_match gold_rouge_1 gold_rouge_2 gold_rouge_l cut_rouge_1 cut_rouge_2
    cut_rouge_l compress_ms likelihood_loss likelihood_kept gold_likelihood_loss
    rewritten leaked failed
""".split()
TOLERANCE = FaithfulReward().tolerance
"""Maximum loss in nats per token for an answer to count as kept."""


class Column(NamedTuple):
    """Column of the leaderboard."""

    key: str  # of the leaderboard row
    title: str
    meaning: str  # in a sentence
    shown: Literal["main", "further", "both"] = "further"  # in which table
    kind: Literal["text", "figure", "interval"] = "figure"


COLUMNS = (
    Column("agent", "agent", "Name of the agent.", "both", "text"),
    Column("seeds", "seeds", "Seeds evaluated; 1 for deterministic agents.", "main"),
    Column("n", "n", "Prompts per seed.", "main"),
    Column("reward", "reward", "Mean reward over prompts and seeds.", "main"),
    Column("reward_ci", "95% interval", "Bootstrap interval of the reward.", "main", "interval"),
    Column("normalized_score", "normalized", "Reward where keep_all is 0 and search is 1.", "main"),
    Column("compression_ratio", "ratio", "Mean share of tokens saved per prompt.", "main"),
    Column("compression_ratio_micro", "ratio (tokens)", "Share of all tokens saved.", "main"),
    Column("similarity", "similarity", "Mean similarity of the two answers.", "main"),
    Column("survival_rate", "survival", "Share of answers with similarity above 0.9.", "main"),
    Column("likelihood_loss", "loss", "Likelihood loss of the answer, nats per token.", "main"),
    Column("gold_quality", "gold quality", "Gold score as a share of the original's.", "main"),
    Column("likelihood_kept", "kept", f"Share of answers with a loss up to {TOLERANCE}."),
    Column("gold_likelihood_loss", "gold likelihood loss", "The same loss for the gold answer."),
    Column("constraints_kept", "constraints kept", "Share of IFEval's constraints kept."),
    Column("original_constraints_kept", "originally", "The same for the original answers."),
    Column("expansion", "expansion", "Answer tokens, compressed over original."),
    Column("net_saving", "net saving", "Share of the cost that is saved, answers included."),
    Column("net_saving_ci", "saving 95% interval", "Its bootstrap interval.", kind="interval"),
    Column("reward_iqm", "IQM reward", "Interquartile mean of the reward."),
    Column("reward_iqm_ci", "IQM 95% interval", "Bootstrap interval of the IQM.", kind="interval"),
    Column("compression_ratio_second", "ratio (2nd tokenizer)", "Ratio in the second tokenizer."),
    Column("requested_rate", "requested rate", "Share the agent was asked to drop."),
    Column("drop_rate", "achieved rate", "Share of droppable units that it dropped."),
    Column("exact_match", "exact match", "Share of answers equal to the gold answer."),
    Column("gold_rouge_1", "gold ROUGE-1", "ROUGE-1 F1 against the gold answer."),
    Column("gold_rouge_2", "gold ROUGE-2", "ROUGE-2 F1 against the gold answer."),
    Column("gold_rouge_l", "gold ROUGE-L", "ROUGE-L F1 against the gold answer.", "both"),
    Column("cut_rouge_1", "ROUGE-1 cut", "ROUGE-1 F1 cut to the gold answer's length."),
    Column("cut_rouge_2", "ROUGE-2 cut", "ROUGE-2 F1 cut to the gold answer's length."),
    Column("cut_rouge_l", "ROUGE-L cut", "ROUGE-L F1 cut to the gold answer's length."),
    Column("rewritten", "rewritten", "Share of prompts that were rewritten, not just cut."),
    Column("leaked", "leaked", "Share of prompts that gave the answer away, which earn nothing."),
    Column("failed", "failed", "Share of prompts sent uncompressed after a failure."),
    Column("compress_ms", "ms/prompt", "Time the agent takes for one prompt.", "main"),
)


def columns_of(table: Literal["main", "further"]) -> list[Column]:
    """Return the columns of one of the two tables, starting with the agent."""
    return [column for column in COLUMNS if column.shown in (table, "both")]


def measured(rows: Sequence[Row], columns: Sequence[Column]) -> list[Column]:
    """Return the columns for which at least one leaderboard row has a value."""
    return [c for c in columns if any(finite(row.get(c.key)) is not None for row in rows)]


def make_rows(
    frame: DataFrame, settings: dict[str, Any], prices: Prices = DEFAULT_PRICES
) -> list[Row]:
    """Return a row per agent and split of a `RunFolder.frame`, best first within each split."""
    answered_right = frame["compressed_output"].str.strip() == frame["gold"].str.strip()
    second = frame[[f"second_{tokens}" for tokens in TOKENS]].to_numpy()
    groups = frame.assign(
        survival_rate=frame["similarity"] > SURVIVAL_THRESHOLD,
        exact_match=answered_right.where(frame["gold"] != "").astype(float),
        compression_ratio_second=compression_ratio(*second.T),
        likelihood_kept=(frame["likelihood_loss"] <= TOLERANCE)
        .where(frame["likelihood_loss"].notna())
        .astype(float),
    ).groupby(["agent", "split"])
    means, tokens = groups[_MEANS].mean(), groups[TOKENS].sum()
    rewards = means["reward"].to_dict()
    rows = []
    for (agent, split), own in groups:
        grid = figure_grid(own).to_numpy()
        mean = {name: finite(value) for name, value in means.loc[agent, split].to_dict().items()}
        floor, ceiling = (rewards.get((other, split), math.nan) for other in ("keep_all", "search"))
        meaning = settings["agents"].get(agent, "")
        saving, saving_ci = net_saving(own, prices) or (None, None)
        row: Row = {
            "agent": agent,
            "suite": suite_title(settings),
            "split": split,
            "generator": settings["generator_name"],
            "seeds": grid.shape[0],
            "n": grid.shape[1],
            "reward": mean["reward"],
            "reward_ci": bootstrap_interval(grid),
            "reward_iqm": float(interquartile_mean(grid)),
            "reward_iqm_ci": bootstrap_interval(grid, statistic=interquartile_mean, replicates=500),
            "normalized_score": normalized_score(rewards[agent, split], floor, ceiling),
            "compression_ratio": mean["compression_ratio"],
            "compression_ratio_micro": compression_ratio(*map(int, tokens.loc[agent, split])),
            **mean,
            "gold_quality": _share(own["gold_score"], own["original_gold_score"]),
            **{name: _share(own[name], own["constraints"]) for name in _CONSTRAINTS},
            "expansion": _share(own["compressed_output_tokens"], own["output_tokens"]),
            "net_saving": saving,
            "net_saving_ci": saving_ci,
            "oracle": meaning.endswith(ORACLE),
            "ranks_by": meaning.partition(RANKS_BY)[2],
        }
        rows.append(row)
    place = settings["splits"].index
    return sorted(rows, key=lambda row: (place(row["split"]), -row["reward"], row["agent"]))


def _share(part: Series, whole: Series) -> float | None:
    return float(part.sum() / whole.sum()) if whole.sum() else None


def figure_grid(own: DataFrame, figure: str = "reward") -> DataFrame:
    """Return a figure of one agent on one split: a row per seed, a column per prompt ID."""
    grid = own.pivot_table(figure, "seed", "prompt_id", aggfunc="first")
    if grid.size != len(own) or grid.isna().any(axis=None):  # a duplicate or missing prompt
        agent, split = own[["agent", "split"]].iloc[0]
        raise RunFolderError(
            f"The seeds of agent {agent} on {split} have different or duplicate prompts: evaluate "
            "it again in a new folder"
        )
    return grid


def suite_title(settings: dict[str, Any]) -> str:
    """Return suite, version, and limit, such as "micro v1, limit 64"."""
    title = f"{settings['suite']} v{settings['version']}"
    return title if settings["limit"] is None else f"{title}, limit {settings['limit']}"


def notes(rows: Sequence[Row]) -> str:
    """Return sentences on the agents that readers of a table must know; may be empty."""
    sentences = [ORACLE_NOTE.strip()] if any(row["oracle"] for row in rows) else []
    sentences += [f"{r['agent']} ranks by {r['ranks_by']}." for r in rows if r["ranks_by"]]
    return " ".join(sentences)


def format_leaderboard(
    rows: Sequence[Row], *, details: bool = False, keys: Collection[str] = ()
) -> str:
    """Return tables in Markdown, one per split, with notes on its agents; see `measured`.

    With `keys`, only those columns are shown.
    """
    blocks = []
    for split, own in _by_split(rows):
        columns = measured(own, columns_of("further" if details else "main"))
        columns = [column for column in columns if not keys or column.key in keys]
        subject = f"{split}, further figures" if details else split
        title = f"### {own[0]['suite']}, {subject} (generator: {own[0]['generator']})"
        table = [[_cell(row, column.key) for column in columns] for row in own]
        text = align([[column.title for column in columns], *table])
        note = notes(own)
        blocks.append(f"{title}\n\n{text}" + (f"\n{note}\n" if note else ""))
    return "\n".join(blocks) or "No finished results yet.\n"


def _by_split(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    return [(split, list(own)) for split, own in groupby(rows, key=itemgetter("split"))]


def _cell(row: Row, key: str) -> str:
    return cell(row[key]) + (ORACLE_MARK if key == "agent" and row["oracle"] else "")


def print_grid(heading: str, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table in at most 100 columns; cells longer than 16 characters are folded."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=heading, box=None, pad_edge=False, collapse_padding=True)
    for place, (title, *cells) in enumerate(zip(columns, *lines, strict=True)):
        longest = max(map(len, cells), default=0)
        title = fill(title, max(8, longest), break_long_words=False)
        options: Any = {"no_wrap": True, "justify": "right"} if place and longest <= 16 else {}
        table.add_column(title, overflow="fold", **options)
    for line in lines:
        table.add_row(*map(Text, line))
    _terminal().print(table)


def _terminal() -> Console:
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    console.width = min(WIDTH, console.width)
    return console


def print_table(rows: Sequence[Row], *, details: bool = False) -> None:
    """Print the leaderboard in at most 100 columns, the best of each column in bold green.

    It shows the columns of `format_leaderboard` that have values, with intervals next to their
    values. Agents that see the generator's answers are never marked as best.
    """
    console = _terminal()
    for split, own in _by_split(rows):
        title = f"{own[0]['suite']}, {split} (generator: {own[0]['generator']})"
        console.print(title, style="bold", markup=False)
        columns = measured(own, columns_of("further" if details else "main"))
        left_out = {"compression_ratio_micro"}
        for column in columns:
            left_out.update(_IN_PLACE_OF.get(column.key, ()))
        figures = [c for c in columns if c.kind == "figure" and c.key not in left_out]
        # The further columns do not fit side by side.
        size = 5 if details else len(figures)
        for start in range(0, len(figures), size):
            console.print(_terminal_table(own, figures[start : start + size]))
        console.print(notes(own), end="\n\n" if notes(own) else "\n", markup=False)
    if not rows:
        console.print("No finished results yet.")


def _terminal_table(rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("agent", overflow="fold")
    for column in columns:
        title = _SHORT.get(column.title, column.title).replace(" ", "\n")
        table.add_column(title, justify="right", no_wrap=True)
    best = {}
    for key in {column.key for column in columns}.difference(_NOT_RANKED):
        fair = [cell(row[key]) for row in rows if row[key] is not None and not row["oracle"]]
        best[key] = (min if key in _LOW else max)(fair, key=float, default=None)
    for row in rows:
        line = [Text(_cell(row, "agent"))]
        for key in (column.key for column in columns):
            text = cell(row[key])
            top = text == best.get(key) and not row["oracle"]
            if interval := row.get(f"{key}_ci"):
                text += " [{:.3f}, {:.3f}]".format(*interval)
            line.append(Text(text, style="bold green" if top else ""))
        table.add_row(*line)
    return table


def write_leaderboard(folder: RunFolder) -> list[Row]:
    """Write `summary.json`, `leaderboard.md`, and `details.md`, and return the rows."""
    rows = make_rows(folder.frame(), folder.settings) if folder.has_results else []
    write_file(folder.path / "summary.json", json.dumps(rows, indent=2, allow_nan=False) + "\n")
    write_file(folder.path / "leaderboard.md", format_leaderboard(rows))
    write_file(folder.path / "details.md", format_leaderboard(rows, details=True))
    return rows
