"""Leaderboard rows from records, and the row's three forms: JSON, Markdown, terminal.

Needs no model and loads neither torch nor transformers.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict, cast

from benchmarks.columns import columns_of
from benchmarks.markdown import align, cell
from benchmarks.records import ORACLE, RANKS_BY, Record, RunFolder
from benchmarks.resampling import bootstrap_interval, bootstrap_iqm_interval, interquartile_mean
from benchmarks.stats import (
    exact_match,
    mean,
    micro_compression_ratio,
    normalised_score,
    survival_rate,
)
from pcrl_gym.errors import RunFolderError
from pcrl_gym.scoring.ratio import compression_ratio
from pcrl_gym.storage.atomic import write_file

_MEASURED = ("reward", "compression_ratio", "drop_rate", "similarity", "compress_ms")
_ROUGE = tuple(f"{kind}_rouge_{n}" for kind in ("gold", "cut") for n in "12l")


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


def make_rows(records: Iterable[Record], settings: dict[str, Any]) -> list[Row]:
    """Summarise the records of one folder and its settings: a row per agent and split.

    They are in the order of the settings' splits, within one the best reward first.

    Raises:
        RunFolderError: If the seeds of a row were not evaluated on the same prompts.
    """
    grouped: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        grouped[record.agent, record.split].append(record)
    rows = [_make_row(group, settings) for group in grouped.values()]
    rewards = {(row["split"], row["agent"]): row["reward"] for row in rows}
    for row in rows:
        floor = rewards.get((row["split"], "keep_all"))
        ceiling = rewards.get((row["split"], "search"))
        if floor is not None and ceiling is not None:
            row["normalised_score"] = normalised_score(row["reward"], floor, ceiling)
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
            f"records/{agent} and run again"
        )
    rewards = [[record.reward for record in part] for part in parts]
    row: dict[str, Any] = {
        key: mean(getattr(record, key) for record in records)
        for key in (*_MEASURED, "requested_rate", *_ROUGE)
    }
    if any(row[key] is None for key in _MEASURED):
        raise RunFolderError("A part holds no figures; delete it and run again")
    row |= dict(
        agent=agent,
        suite=suite_title(settings),
        split=split,
        generator=settings["generator_name"],
        seeds=len(parts),
        n=len(prompt_ids),
        reward_ci=bootstrap_interval(rewards),
        reward_iqm=interquartile_mean(rewards),
        reward_iqm_ci=bootstrap_iqm_interval(rewards),
        normalised_score=None,  # needs the other agents
        compression_ratio_micro=micro_compression_ratio(
            [record.original_tokens for record in records],
            [record.compressed_tokens for record in records],
            [record.template_tokens for record in records],
        ),
        compression_ratio_second=mean(
            compression_ratio(
                record.second_original_tokens,
                record.second_compressed_tokens,
                record.second_template_tokens,
            )
            for record in records
        ),
        survival_rate=survival_rate([record.similarity for record in records]),
        exact_match=exact_match(
            (record.compressed_output for record in records), (record.gold for record in records)
        ),
        oracle=settings["agents"].get(agent, "").endswith(ORACLE),
        ranks_by=settings["agents"].get(agent, "").partition(RANKS_BY)[2],
    )
    return cast("Row", {key: row[key] for key in Row.__annotations__})


def suite_title(settings: dict[str, Any]) -> str:
    """Return suite and version, and how many prompts of each split where not all were evaluated.

    Example:
        >>> suite_title({"suite": "micro", "version": 1, "limit": 64})
        'micro v1, limit 64'
    """
    title = f"{settings['suite']} v{settings['version']}"
    return title if settings["limit"] is None else f"{title}, limit {settings['limit']}"


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


def write_leaderboard(folder: RunFolder) -> list[Row]:
    """Write `summary.json`, `leaderboard.md` and `details.md` of the rows, and return these."""
    rows = make_rows(folder.records() if folder.has_results else [], folder.settings)
    summary = json.dumps(rows, indent=2, allow_nan=False) + "\n"
    write_file(folder.path / "summary.json", summary)
    write_file(folder.path / "leaderboard.md", format_leaderboard(rows))
    write_file(folder.path / "details.md", format_leaderboard(rows, details=True))
    return rows
