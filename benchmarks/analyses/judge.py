"""Pairwise preference: a chat model compares the answers to original and compressed prompts."""

from __future__ import annotations

import json
import math
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.analyses.analysis import Analysis, Table, write_analysis
from benchmarks.analyses.judging import (
    Outcome,
    agrees,
    both_orders,
    combine,
    parse_verdict,
    preference,
)
from benchmarks.markdown import cell
from benchmarks.records import Record, RunFolder
from pcrl_gym.errors import BudgetExceededError, GeneratorError
from pcrl_gym.generators.openai.replies import Reply
from pcrl_gym.generators.openai.sender import Sender, send_all
from pcrl_gym.prompts.datasets import pick_evenly
from pcrl_gym.storage.disk_cache import DiskCache

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CACHE = "judge.db"
COLUMNS = (
    "agent", "split", "prompts", "equal", "win", "tie", "loss", "win rate", "interval",
    "unparsable", "agree", "requests", "input tokens", "output tokens", "cost",
)  # fmt: skip
SENDING: dict[str, Any] = {
    "concurrency": 8, "timeout": 60.0, "max_retries": 6, "backoff": 0.5, "extra_body": {},
    "limit_field": "max_tokens", "api_key_env": "OPENAI_API_KEY",
}  # fmt: skip
"""How requests are sent, as by `pcrl_gym.generators.openai.generator`."""
# Of Okabe and Ito's palette, which the color-blind can distinguish.
_COLORS = {"win": "#0072B2", "tie": "#BBBBBB", "loss": "#E69F00"}

Groups = Mapping[tuple[str, str], Sequence[Record]]


@dataclass(frozen=True)
class Prices:
    """What the judge's tokens cost, in any currency.

    Attributes:
        input: For a million tokens of questions; None if not known.
        output: For a million tokens of verdicts; None if not known.

    Raises:
        ValueError: If a price is negative or not finite.
    """

    input: float | None = None
    output: float | None = None

    def __post_init__(self) -> None:
        for price in (self.input, self.output):
            if price is not None and not (math.isfinite(price) and price >= 0):
                raise ValueError(f"A price must be a finite number of at least 0, got {price}")

    def cost(self, input_tokens: int | None, output_tokens: int | None) -> float | None:
        """Return the price of the tokens; None if a price or a number is not known.

        Formula: `(input tokens * price of a million + output tokens * price of a million) / 1e6`.

        Example:
            >>> Prices(2.0, 8.0).cost(1_000_000, 500_000)
            6.0
        """
        if None in (self.input, self.output, input_tokens, output_tokens):
            return None
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


def run(
    folder: str | Path,
    *,
    model: str,
    base_url: str,
    agents: Sequence[str] = (),
    splits: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
    max_requests: int | None = None,
    max_tokens: int | None = None,
    price_per_million_input: float | None = None,
    price_per_million_output: float | None = None,
    verdict_tokens: int = 64,
    **sending: Any,
) -> Analysis:
    """Ask a chat model which answer it prefers, in both orders, and write the analysis "judge".

    Verdicts are kept in `judge.db` of the folder as soon as they arrive: the same call, after an
    interruption of any kind, asks only what is missing.

    Args:
        folder: Result folder.
        model: What the server calls the judge.
        base_url: Such as "http://localhost:8000/v1", or with "?enable_thinking=false" for a judge
            that thinks.
        agents: Agents to judge, each by its first seed; none given: all.
        splits: Splits to judge; none given: all that have results.
        limit: Prompts per agent and split, spread evenly; None: all.
        seed: Seed of the bootstrap intervals.
        max_requests: Most requests that this call sends, retries included; None: any.
        max_tokens: Tokens of questions and verdicts after which it sends nothing more; None: any.
        price_per_million_input: Price of a million tokens of questions.
        price_per_million_output: Price of a million tokens of verdicts.
        verdict_tokens: Most tokens of one verdict; a judge that thinks aloud needs more.
        **sending: Other fields of `pcrl_gym.generators.openai.sender.Sender`; see `SENDING`.

    Returns:
        The analysis, which is written into the folder, too.

    Raises:
        RunFolderError: If there is no such result folder, or it is damaged.
        ValueError: If an agent or split has no results, or an argument is out of range.
        BudgetExceededError: If the budget is used up; verdicts that arrived are kept.
        GeneratorError: If a request has finally failed; agent, split and prompt are named.
        MissingExtraError: If the `openai` client is not installed.
    """
    for name, value in (("limit", limit), ("verdict_tokens", verdict_tokens)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    prices = Prices(price_per_million_input, price_per_million_output)
    source = RunFolder(folder)
    groups = choose(source, agents, splits, limit)
    sender = Sender(
        model=model,
        base_url=base_url,
        api="chat",
        max_requests=max_requests,
        max_total_tokens=max_tokens,
        limit_name="verdict_tokens (--verdict-tokens)",
        **(SENDING | sending),
    )
    with DiskCache(source.path / CACHE) as cache:
        replies = ask(sender, cache, questions(groups), verdict_tokens)
    judge = f"{model} at {sender.base_url}"
    analysis = analyse(groups, replies, judge=judge, prices=prices, seed=seed)
    write_analysis(source.path, analysis, lambda figure: _draw(figure, analysis))
    return analysis


def choose(
    folder: RunFolder,
    agents: Sequence[str] = (),
    splits: Sequence[str] = (),
    limit: int | None = None,
) -> Groups:
    """Return the records to judge, by split and agent; see `run` for arguments and errors."""
    found: dict[tuple[str, str], dict[int, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in folder.records(agents, splits):
        found[record.split, record.agent][record.seed].append(record)
    groups: dict[tuple[str, str], Sequence[Record]] = {}
    for split in splits or folder.settings["splits"]:
        for agent in agents or sorted({agent for _, agent in found}):
            if seeds := found.get((split, agent)):
                first = seeds[min(seeds)]
                groups[split, agent] = [first[place] for place in pick_evenly(len(first), limit)]
    return groups


def questions(groups: Groups) -> dict[str, str]:
    """Return all questions, each once, with what the first of its kind is about.

    Equal answers, but for white space around them, need no question.
    """
    about: dict[str, str] = {}
    for (split, agent), records in groups.items():
        for record in records:
            for question in _questions(record):
                about.setdefault(question, f"{agent} on prompt {record.prompt_id!r} of {split}")
    return about


def ask(sender: Sender, cache: DiskCache, about: Mapping[str, str], limit: int) -> dict[str, Reply]:
    """Get the judge's replies, from the cache where they are in it.

    Args:
        sender: The way to the judge.
        cache: Where every reply is kept as soon as it arrives, with its token counts.
        about: What errors say about a question, by question.
        limit: Most tokens of a reply.

    Raises:
        GeneratorError: If a request has finally failed, or tokens are to be limited that the server
            does not report; `BudgetExceededError` if the budget is used up.
    """
    scope = json.dumps(["judge", sender.identity, limit])
    found = {text: Reply(*value) for text, value in cache.get(scope, list(about)).items()}
    missing = [text for text in about if text not in found]

    def ask_one(text: str, stop: threading.Event) -> Reply:
        reply = sender.send(text, limit, stop)
        counts = [reply.prompt_tokens, reply.completion_tokens]
        cache.put(scope, {text: [reply.text, *counts]})
        if sender.max_total_tokens is not None and None in counts:
            raise sender.error(
                text, "the server does not report its usage: set max_requests, not max_tokens"
            )
        return reply

    try:
        found.update(send_all(ask_one, missing, sender.concurrency))
    except GeneratorError as error:
        text = error.prompt or ""
        if isinstance(error, BudgetExceededError):
            raise _over_budget(sender, about[text], text) from error
        raise GeneratorError(f"Judging {about[text]}: {error}", prompt=text) from error
    return found


def analyse(
    groups: Groups,
    replies: Mapping[str, Reply],
    *,
    judge: str,
    prices: Prices | None = None,
    seed: int = 0,
) -> Analysis:
    """Return the preferences of the judge, a row per split and agent.

    A table of `COLUMNS` and one of the account. Tokens are those of all verdicts, whenever they
    arrived, so that a resumed analysis equals an unbroken one.
    """
    prices = prices or Prices()
    paid: set[str] = set()  # agents may share a question, which only costs once
    rows = []
    for (split, agent), records in groups.items():
        outcomes: list[Outcome] = []
        same: list[bool | None] = []
        new: list[str] = []
        for record in records:
            both = _questions(record)
            if both:
                first, second = (parse_verdict(replies[text].text) for text in both)
                outcomes.append(combine(first, second))
                same.append(agrees(first, second))
            else:
                outcomes.append("equal")
            new += [text for text in both if text not in paid]
            paid.update(both)
        *figures, ends, unparsable = preference(outcomes, seed=seed)
        account = _account([replies[text] for text in new], prices)
        interval = None if ends is None else cell(ends)
        known = [one for one in same if one is not None]
        rows.append(
            (
                agent,
                split,
                *figures,
                interval,
                unparsable,
                fmean(known) if known else None,
                *account,
            )
        )
    total = _account([replies[text] for text in sorted(paid)], prices)
    return Analysis(
        name="judge",
        title="Preference of a judge",
        note=f"{judge} compared the answers to the original and to the compressed prompt, in both "
        "orders. A win is one of the answer to the compressed prompt in both orders; disagreement "
        "is a tie, and equal answers are ties that were not asked about. Win rate is "
        "(wins + ties / 2) / n with a 95 % bootstrap interval over prompts; 0.5 is par. Prompts "
        "with an unparsable verdict are in no share. Agree is the share of asked and readable "
        "pairs with the same verdict in both orders. Requests and tokens are those of the verdicts "
        "used, whenever they arrived; what agents share stands at the first.",
        tables={
            "preferences": Table(COLUMNS, tuple(rows)),
            "account": Table(COLUMNS[-4:], (total,)),
        },
    )


def _questions(record: Record) -> tuple[str, ...]:
    if record.output.strip() == record.compressed_output.strip():
        return ()
    return both_orders(record.prompt, record.output, record.compressed_output)


def _account(
    replies: Sequence[Reply], prices: Prices
) -> tuple[int, int | None, int | None, float | None]:
    """Return the requests, tokens of both kinds and cost of some replies."""
    sums: list[int | None] = []
    for name in ("prompt_tokens", "completion_tokens"):
        counts = [getattr(reply, name) for reply in replies]
        sums.append(None if None in counts else sum(counts))
    return len(replies), sums[0], sums[1], prices.cost(*sums)


def _over_budget(sender: Sender, about: str, text: str) -> BudgetExceededError:
    used = sender.usage
    tokens = used.prompt_tokens + used.completion_tokens
    return BudgetExceededError(
        f"Stopped before judging {about}: of the budget max_requests={sender.max_requests}, "
        f"max_tokens={sender.max_total_tokens}, {used.requests} requests and {tokens} tokens are "
        f"used up. The verdicts that arrived are in {CACHE}; the same command resumes from there.",
        prompt=text,
    )


def _draw(figure: Figure, analysis: Analysis) -> None:
    """Draw the stacked bars of wins, ties and losses, a panel per split."""
    by_split: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in analysis.tables["preferences"].rows:
        cells = dict(zip(COLUMNS, row, strict=True))
        by_split[cells["split"]].append(cells)
    panels = figure.subplots(1, len(by_split), squeeze=False)[0]
    for axes, (split, rows) in zip(panels, by_split.items(), strict=True):
        labels = [f"{row['agent']} (n={row['prompts'] - row['unparsable']})" for row in rows]
        left = np.zeros(len(rows))
        for name, color in _COLORS.items():
            widths = [row[name] or 0.0 for row in rows]
            axes.barh(range(len(rows)), widths, left=left, color=color, label=name)
            left = left + widths
        axes.set_yticks(range(len(rows)), labels)
        axes.invert_yaxis()  # the first agent on top, as in the table
        axes.set_xlim(0.0, 1.0)
        axes.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
        axes.set_title(split)
        axes.set_xlabel("share of prompts")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names))
