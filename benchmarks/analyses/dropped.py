"""What gets dropped: keep rates by word class, position and task family, from records alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import digits
from typing import TYPE_CHECKING, NamedTuple

from agents.runs.drawing import line_style
from benchmarks.analyses.analysis import Analysis, Table, write_analysis
from benchmarks.analyses.word_classes import CLASSES, word_class, words
from benchmarks.records import Record, RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_SHOWN = 15

_BEFORE, _BETWEEN, _AFTER = "Instruction: ", "\nInput: ", "\nOutput: \n"


class Word(NamedTuple):
    """A word of a prompt's own text, kept or not.

    Attributes:
        text: The word in lower case.
        position: Where its middle lies in the user's text, from 0 to 1.
        kept: Share of its characters that were kept, in [0, 1]; a token may cut a word.
    """

    text: str
    position: float
    kept: float


def user_ranges(prompt: str) -> list[tuple[int, int]]:
    r"""Return the character ranges that the user wrote, where the prompt has the form of "alpaca".

    Of several "\nInput: " the last one counts as the template's: a record does not show. A prompt
    of another form is the user's as a whole.

    Example:
        >>> user_ranges("Instruction: Add.\nInput: 1 2\nOutput: \n")
        [(13, 17), (25, 28)]
    """
    if not (prompt.startswith(_BEFORE) and prompt.endswith(_AFTER)):
        return [(0, len(prompt))]
    start, end = len(_BEFORE), len(prompt) - len(_AFTER)
    middle = prompt.rfind(_BETWEEN, start, end)
    if middle < 0:
        return [(start, end)]
    return [(start, middle), (middle + len(_BETWEEN), end)]


def kept_words(record: Record) -> list[Word]:
    """Return the words of the user's text, with how much of each was kept."""
    ranges = user_ranges(record.prompt)
    length = sum(end - start for start, end in ranges)
    lost = [False] * len(record.prompt)
    for start, end in record.dropped:
        lost[start:end] = [True] * (end - start)
    found, before = [], 0
    for start, end in ranges:
        text = record.prompt[start:end]
        for first, last in words(text):
            gone = sum(lost[start + first : start + last])
            position = (before + (first + last) / 2) / length
            found.append(Word(text[first:last].lower(), position, 1.0 - gone / (last - first)))
        before += end - start
    return found


@dataclass
class KeepRate:
    """Mean share that was kept of some words: `kept / count`."""

    count: int = 0
    kept: float = 0.0

    def add(self, kept: float) -> None:
        """Count one more word."""
        self.count += 1
        self.kept += kept

    @property
    def value(self) -> float:
        """The rate, in [0, 1]."""
        return self.kept / self.count


def analyse(records: Iterable[Record], *, min_count: int = 20) -> Analysis:
    """Return the keep rates of all agents.

    Args:
        records: Records of one or more agents; splits and seeds are pooled.
        min_count: Words that are rarer are not in the lists of most and least kept ones.

    Returns:
        Tables by word class, position in tenths of the user's text and task family (an agent per
        column), and per agent the words that it keeps most and least.
    """
    tallies: dict[str, dict[tuple[str, str], KeepRate]] = defaultdict(lambda: defaultdict(KeepRate))
    for record in records:
        own = tallies[record.agent]
        family = record.source.partition("/")[0]
        for word in kept_words(record):
            tenth = min(9, int(word.position * 10))
            own["class", word_class(word.text)].add(word.kept)
            own["position", str(tenth)].add(word.kept)
            own["family", family].add(word.kept)
            own["word", word.text].add(word.kept)
    agents = sorted(tallies)
    families = sorted({key for own in tallies.values() for kind, key in own if kind == "family"})
    tables = {
        "by word class": _table(tallies, agents, "class", CLASSES),
        "by position, in tenths of the text": _table(tallies, agents, "position", digits),
        "by task family": _table(tallies, agents, "family", families),
    }
    for agent in agents:
        tables[f"words most and least kept by {agent}"] = _extremes(
            {key: rate for (kind, key), rate in tallies[agent].items() if kind == "word"},
            min_count,
        )
    return Analysis(
        name="dropped",
        title="What gets dropped",
        note="Keep rate: the mean share of a word's characters that was kept, over all words of "
        "the users' texts; those of the alpaca template do not count. The column `words` is the "
        "most that one agent has, over all its seeds. Classes are closed lists of English words.",
        tables=tables,
    )


def run(folder: str | Path, agents: Sequence[str] = (), splits: Sequence[str] = ()) -> Analysis:
    """Analyse the records of a result folder and write the analysis into it.

    Args:
        folder: Result folder.
        agents: The agents to look at; none given: all.
        splits: The splits to look at; none given: all.

    Raises:
        RunFolderError: If there is no such result folder.
        ValueError: If an agent or split has no results.
    """
    source = RunFolder(folder)
    analysis = analyse(source.records(agents, splits))
    write_analysis(source.path, analysis, lambda figure: draw(figure, analysis))
    return analysis


def draw(figure: Figure, analysis: Analysis) -> None:
    """Draw keep rates by word class and by position, an agent per line."""
    by_class, by_position = list(analysis.tables.values())[:2]
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    # Classes have no order, so nothing joins them.
    for axes, table, width in ((left, by_class, 0.0), (right, by_position, 0.8)):
        names = [str(row[0]) for row in table.rows]
        for place, agent in enumerate(table.columns[2:]):
            rates = [row[2 + place] for row in table.rows]
            axes.plot(names, rates, label=agent, linewidth=width, **line_style(place))
        axes.set_ylim(-0.02, 1.02)
        axes.grid(alpha=0.3)
    left.tick_params(axis="x", rotation=30)
    left.set_ylabel("keep rate")
    left.set_xlabel("word class")
    right.set_xlabel("tenth of the text")
    right.legend(fontsize="small")


def _table(
    tallies: dict[str, dict[tuple[str, str], KeepRate]],
    agents: Sequence[str],
    kind: str,
    keys: Sequence[str],
) -> Table:
    rows = []
    for key in keys:
        rates = [tallies[agent].get((kind, key)) for agent in agents]
        count = max((rate.count for rate in rates if rate is not None), default=0)
        values = [None if rate is None else rate.value for rate in rates]
        if count:
            rows.append((key, count, *values))
    return Table((kind, "words", *agents), tuple(rows))


def _extremes(rates: dict[str, KeepRate], min_count: int) -> Table:
    common = [(word, rate) for word, rate in rates.items() if rate.count >= min_count]
    least = sorted(common, key=lambda entry: (entry[1].value, -entry[1].count, entry[0]))
    most = sorted(common, key=lambda entry: (-entry[1].value, -entry[1].count, entry[0]))
    rows = tuple(
        (kept, high.value, high.count, gone, low.value, low.count)
        for (kept, high), (gone, low) in zip(most[:MAX_SHOWN], least[:MAX_SHOWN], strict=True)
    )
    return Table(("most kept", "rate", "times", "least kept", "rate", "times"), rows)
