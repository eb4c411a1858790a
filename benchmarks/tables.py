"""Leaderboard rows from records, and their three forms: JSON, Markdown, terminal.

Needs no model and loads neither torch nor transformers.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

from benchmarks.columns import COLUMNS, columns_of, measured
from benchmarks.markdown import align, cell
from benchmarks.records import ORACLE, RANKS_BY, RunFolder
from benchmarks.statistics import bootstrap_interval, interquartile_mean, normalised_score
from pcrl_gym.errors import RunFolderError
from pcrl_gym.scoring.ratio import compression_ratio
from pcrl_gym.scoring.scorer import SURVIVAL_THRESHOLD
from pcrl_gym.storage.atomic import write_file

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table

_TOKENS = ("original_tokens", "compressed_tokens", "template_tokens")
_MEANS = (
    "reward", "compression_ratio", "compression_ratio_second", "requested_rate", "drop_rate",
    "similarity", "survival_rate", "exact_match", "gold_rouge_1", "gold_rouge_2", "gold_rouge_l",
    "cut_rouge_1", "cut_rouge_2", "cut_rouge_l", "compress_ms",
)  # fmt: skip


class Row(TypedDict):
    """One agent on one split.

    `suite` holds version and limit too, see `suite_title`. `seeds` is the number of seeds evaluated
    (1 for agents without chance), `n` the number of prompts per seed. All figures are means over
    seeds and prompts except `compression_ratio_micro`, which is over tokens, `reward_iqm`, the
    interquartile mean, and the 95 % intervals `reward_ci` and `reward_iqm_ci`.
    `compression_ratio_second` is the mean ratio in the suite's second tokenizer,
    `normalised_score` is `(reward - that of keep_all) / (that of search - that of keep_all)`, and
    `cut_rouge_*` are those of answers cut to the gold answer's length. `ranks_by`: the language
    model by which the agent ranks units, else empty. `oracle`: the agent sees the
    generator's answers. None: not measured.
    """

    agent: str
    suite: str
    split: str
    generator: str
    seeds: int
    n: int
    reward: float
    reward_ci: tuple[float, float]
    reward_iqm: float
    reward_iqm_ci: tuple[float, float]
    normalised_score: float | None
    compression_ratio: float
    compression_ratio_micro: float
    compression_ratio_second: float
    requested_rate: float | None
    drop_rate: float
    similarity: float
    survival_rate: float
    exact_match: float | None
    gold_rouge_1: float | None
    gold_rouge_2: float | None
    gold_rouge_l: float | None
    cut_rouge_1: float | None
    cut_rouge_2: float | None
    cut_rouge_l: float | None
    compress_ms: float
    oracle: bool
    ranks_by: str


def make_rows(frame: DataFrame, settings: dict[str, Any]) -> list[Row]:
    """Summarise a frame of `RunFolder.frame` under its settings: a row per agent and split.

    They are in the order of the settings' splits, within one the best reward first.

    Raises:
        RunFolderError: If the seeds of a row were not evaluated on the same prompts.
    """
    import numpy as np

    answered_right = frame["compressed_output"].str.strip() == frame["gold"].str.strip()
    second = (frame[f"second_{tokens}"].to_numpy() for tokens in _TOKENS)
    groups = frame.assign(
        survival_rate=frame["similarity"] > SURVIVAL_THRESHOLD,
        exact_match=np.where(frame["gold"] != "", answered_right, np.nan),
        compression_ratio_second=compression_ratio(*second),
    ).groupby(["agent", "split"])
    means, tokens = groups[list(_MEANS)].mean(), groups[list(_TOKENS)].sum()
    rewards = means["reward"].to_dict()
    rows = []
    for (agent, split), own in groups:
        grid = figure_grid(own).to_numpy()
        mean = {
            name: None if math.isnan(value) else float(value)
            for name, value in means.loc[agent, split].items()
        }
        floor, ceiling = (rewards.get((other, split), math.nan) for other in ("keep_all", "search"))
        meaning = settings["agents"].get(agent, "")
        row = mean | dict(
            agent=agent,
            suite=suite_title(settings),
            split=split,
            generator=settings["generator_name"],
            seeds=grid.shape[0],
            n=grid.shape[1],
            reward_ci=bootstrap_interval(grid),
            reward_iqm=float(interquartile_mean(grid)),
            reward_iqm_ci=bootstrap_interval(grid, statistic=interquartile_mean, replicates=500),
            normalised_score=normalised_score(rewards[agent, split], floor, ceiling),
            compression_ratio_micro=compression_ratio(*map(int, tokens.loc[agent, split])),
            oracle=meaning.endswith(ORACLE),
            ranks_by=meaning.partition(RANKS_BY)[2],
        )
        rows.append(cast("Row", {key: row[key] for key in Row.__annotations__}))
    order = {split: place for place, split in enumerate(settings["splits"])}
    return sorted(rows, key=lambda row: (order[row["split"]], -row["reward"], row["agent"]))


def figure_grid(own: DataFrame, figure: str = "reward") -> DataFrame:
    """Return a figure of one agent on one split: a line per seed, a column per prompt id.

    Raises:
        RunFolderError: If the seeds were not evaluated on the same prompts, each once.
    """
    try:
        grid = own.pivot(index="seed", columns="prompt_id", values=figure)
    except ValueError:  # a prompt twice
        grid = None
    if grid is None or grid.isna().any(axis=None):
        agent, split = own[["agent", "split"]].iloc[0]
        raise RunFolderError(
            f"The seeds of agent {agent} on {split} hold different prompts. Delete "
            f"records/{agent} and run again"
        )
    return grid


def suite_title(settings: dict[str, Any]) -> str:
    """Return suite and version, and how many prompts of each split where not all were evaluated.

    Example:
        >>> suite_title({"suite": "micro", "version": 1, "limit": 64})
        'micro v1, limit 64'
    """
    title = f"{settings['suite']} v{settings['version']}"
    return title if settings["limit"] is None else f"{title}, limit {settings['limit']}"


_SHORT = {
    "normalised_score": "norm.",
    "similarity": "simil.",
    "survival_rate": "surv.",
    "compress_ms": "ms",
}
_NOT_RANKED = ("agent", "seeds", "n", "requested_rate", "drop_rate")
WIDTH = 100
"""Columns of a terminal that a table takes at most."""

# No line starts with the mark: Markdown would take it for a list.
ORACLE_MARK = " *"
ORACLE_NOTE = "Agents marked * see the generator's answers: a ceiling, not a competitor.\n"


def notes(rows: Sequence[Row]) -> str:
    """Return what a reader of a table must know about its agents, in sentences; may be empty."""
    sentences = [ORACLE_NOTE.strip()] if any(row["oracle"] for row in rows) else []
    sentences += [f"{r['agent']} ranks by {r['ranks_by']}." for r in rows if r["ranks_by"]]
    return " ".join(sentences)


def format_leaderboard(rows: Sequence[Row], *, details: bool = False) -> str:
    """Return tables in Markdown that also read well in a terminal: one per split, columns aligned.

    Agents that see the generator's answers are marked; notes below the table say so, and by which
    model an agent ranks. With `details` the tables show the figures beside the main ones instead:
    interquartile mean, rates, second tokenizer, exact match and ROUGE against the gold answers.
    """
    if not rows:
        return "No finished results yet.\n"
    blocks = []
    columns = columns_of("further" if details else "main")
    for split in dict.fromkeys(row["split"] for row in rows):
        own = [row for row in rows if row["split"] == split]
        subject = f"{split}, further figures" if details else split
        title = f"### {own[0]['suite']}, {subject} (generator: {own[0]['generator']})"
        table = [[column.title for column in columns]]
        for row in own:
            agent, *figures = [cell(dict(row)[column.key]) for column in columns]
            table.append([agent + ORACLE_MARK if row["oracle"] else agent, *figures])
        note = notes(own)
        blocks.append(title + "\n\n" + align(table) + (f"\n{note}\n" if note else ""))
    return "\n".join(blocks)


def print_table(rows: Sequence[Row], *, details: bool = False) -> None:
    """Print the leaderboard in at most 100 columns, the best of each column in bold green.

    The figures are those of `format_leaderboard`, without what no agent has a figure for; intervals
    stand with their figures. Agents that see the generator's answers are never the best.
    """
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    console.width = min(WIDTH, console.width)
    for split in dict.fromkeys(row["split"] for row in rows):
        own = [row for row in rows if row["split"] == split]
        title = f"{own[0]['suite']}, {split} (generator: {own[0]['generator']})"
        console.print(title, style="bold", markup=False)
        keys = [c.key for c in measured(own, columns_of("further" if details else "main"))]
        agent, *figures = [key for key in keys if not key.endswith("_ci")]
        narrow = [key for key in figures if key != "compression_ratio_micro"]
        rouge = [key for key in narrow if details and "rouge" in key]
        for part in ([key for key in narrow if key not in rouge], rouge):
            if part:
                console.print(_terminal_table(own, [agent, *part]))
        note = notes(own)
        console.print(f"{note}\n" if note else "", markup=False)
    if not rows:
        console.print("No finished results yet.")


def _terminal_table(rows: Sequence[Row], keys: Sequence[str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    titles = {column.key: column.title for column in COLUMNS} | _SHORT
    table = Table(box=None, pad_edge=False)
    columns = []
    for key in keys:
        first = not table.columns
        justify: Any = "left" if first else "right"
        title = titles[key].replace(" ", "\n")
        table.add_column(title, justify=justify, no_wrap=not first, overflow="fold")
        texts = [cell(dict(row)[key]) for row in rows]
        fair = [text for text, row in zip(texts, rows, strict=True) if text and not row["oracle"]]
        pick = min if key == "compress_ms" else max
        best = None if key in _NOT_RANKED else pick(map(float, fair), default=None)
        column = []
        for row, text in zip(rows, texts, strict=True):
            top = best is not None and text != "" and not row["oracle"] and float(text) == best
            low_and_high: Any = dict(row).get(f"{key}_ci")
            interval = " [{:.3f}, {:.3f}]".format(*low_and_high) if low_and_high else ""
            mark = ORACLE_MARK if key == "agent" and row["oracle"] else ""
            column.append(Text(text + interval + mark, style="bold green" if top else ""))
        columns.append(column)
    for line in zip(*columns, strict=True):
        table.add_row(*line)
    return table


def write_leaderboard(folder: RunFolder) -> list[Row]:
    """Write `summary.json`, `leaderboard.md` and `details.md` of the rows, and return these."""
    rows = make_rows(folder.frame(), folder.settings) if folder.has_results else []
    summary = json.dumps(rows, indent=2, allow_nan=False) + "\n"
    write_file(folder.path / "summary.json", summary)
    write_file(folder.path / "leaderboard.md", format_leaderboard(rows))
    write_file(folder.path / "details.md", format_leaderboard(rows, details=True))
    return rows
