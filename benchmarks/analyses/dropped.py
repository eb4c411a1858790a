"""What gets dropped: keep rates by word class, position and task family, from records alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.analyses.analysis import Analysis, Table, draw_lines, panels, write_analysis
from benchmarks.analyses.word_classes import CLASSES, word_class, words
from benchmarks.records import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

MAX_SHOWN = 15

_ALPACA = re.compile(
    r"Instruction: (.*)\nInput: (.*)\nOutput: \n|Instruction: (.*)\nOutput: \n", re.DOTALL
)


def user_ranges(prompt: str) -> list[tuple[int, int]]:
    r"""Return the character ranges that the user wrote, where the prompt has the form of "alpaca".

    Of several "\nInput: " the last one counts as the template's: a record does not show. A prompt
    of another form is the user's as a whole.

    Example:
        >>> user_ranges("Instruction: Add.\nInput: 1 2\nOutput: \n")
        [(13, 17), (25, 28)]
    """
    match = _ALPACA.fullmatch(prompt)
    if match is None:
        return [(0, len(prompt))]
    return [match.span(group) for group in (1, 2, 3) if match[group] is not None]


@lru_cache(maxsize=10_000)  # many records share a prompt
def user_words(prompt: str) -> list[tuple[int, int, str, str, str]]:
    r"""Return start and end of the user's words, and of each class, tenth of the text, lower case.

    Example:
        >>> user_words("Instruction: Add.\nInput: 1 2\nOutput: \n")[0]
        (13, 16, 'other', '2', 'add')
    """
    ranges = user_ranges(prompt)
    length = sum(end - start for start, end in ranges)
    found, before = [], 0
    for start, end in ranges:
        for first, last in words(prompt[start:end]):
            tenth = min(9, int((before + (first + last) / 2) / length * 10))
            word = _escaped(prompt[start + first : start + last].lower())
            found.append((start + first, start + last, word_class(word), str(tenth), word))
        before += end - start
    return found


def kept_words(frame: DataFrame) -> DataFrame:
    """Return the words of the users' texts in all records, and how much of each was kept.

    Args:
        frame: Records with the columns agent, source, prompt and dropped.

    Returns:
        A row per record and word: agent, family, class, position, word, and as `kept` the share of
        its characters that were kept, in [0, 1]; a token may cut a word.
    """
    import pandas

    rows = []
    records = frame[["agent", "source", "prompt", "dropped"]]
    for agent, source, prompt, dropped in records.itertuples(index=False, name=None):
        family = _escaped(source.partition("/")[0])
        lost = bytearray(len(prompt))
        for start, end in dropped:
            lost[start:end] = b"x" * (end - start)
        for start, end, *word in user_words(prompt):
            kept = 1.0 - lost.count(b"x", start, end) / (end - start)
            rows.append((agent, family, *word, kept))
    columns = ["agent", "family", "class", "position", "word"]
    kinds = dict.fromkeys(columns, "category") | {"class": pandas.CategoricalDtype(CLASSES)}
    return pandas.DataFrame(rows, columns=[*columns, "kept"]).astype(kinds)


def _escaped(text: str) -> str:
    """Return the text with escapes for lone surrogates, which pandas refuses in strings."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def analyse(frame: DataFrame, *, min_count: int = 20) -> Analysis:
    """Return the keep rates of all agents.

    Args:
        frame: Records of one or more agents; splits and seeds are pooled.
        min_count: Words that are rarer are not in the lists of most and least kept ones.

    Returns:
        Tables by word class, position in tenths of the user's text and task family (an agent per
        column), and per agent the words that it keeps most and least.
    """
    kept = kept_words(frame)
    tables = {
        "by word class": _by(kept, "class"),
        "by position, in tenths of the text": _by(kept, "position"),
        "by task family": _by(kept, "family"),
    }
    for agent, own in kept.groupby("agent", observed=True):
        tables[f"words most and least kept by {agent}"] = _extremes(own, min_count)
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
    analysis = analyse(source.frame(agents, splits))
    write_analysis(source.path, analysis, lambda figure: draw(figure, analysis))
    return analysis


def draw(figure: Figure, analysis: Analysis) -> None:
    """Draw keep rates by word class and by position, an agent per line."""
    shown = dict(list(analysis.tables.items())[:2])
    # Classes have no order, so nothing joins them.
    for (axes, rates), width in zip(panels(figure, shown), (0.0, 0.8), strict=True):
        draw_lines(axes, rates.set_index(rates.columns[0]).iloc[:, 1:], width)
        axes.tick_params(axis="x", rotation=30)
        axes.set_ylabel("keep rate")


def _by(kept: DataFrame, column: str) -> Table:
    tally = kept.groupby([column, "agent"], observed=True)["kept"].agg(["size", "mean"])
    sizes, rates = (tally[name].unstack("agent") for name in ("size", "mean"))
    rates.columns = [*rates.columns]
    rates.insert(0, "words", sizes.max(axis=1).astype(int))
    return Table.of(rates.reset_index())


def _extremes(kept: DataFrame, min_count: int) -> Table:
    import pandas

    tally = kept.groupby("word", observed=True)["kept"].agg(["mean", "size"]).reset_index()
    common = tally[tally["size"] >= min_count]
    halves = []
    for name, rising in (("most kept", False), ("least kept", True)):
        ordered = common.sort_values(["mean", "size", "word"], ascending=[rising, False, True])
        halves.append(ordered.head(MAX_SHOWN).set_axis([name, "rate", "times"], axis=1))
    return Table.of(pandas.concat([half.reset_index(drop=True) for half in halves], axis=1))
