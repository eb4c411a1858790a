"""Keep rates by word class, position, and task family, from records only."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import regex

from benchmarks.analyses.analysis import (
    Analysis,
    Table,
    draw_lines,
    family_of,
    panels,
    write_analysis,
)
from benchmarks.markdown import escaped  # pandas refuses lone surrogates
from benchmarks.records import RunFolder
from pcrl_gym.cli_tools import Names

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

MAX_SHOWN = 15
_NOTE = (
    "Keep rate: the mean share of a word's characters that was kept, over all words of the users' "
    "texts, without those of the alpaca template. The column `words` is the largest count of any "
    "agent, over all its seeds. Classes are closed lists of English words."
)
_ALPACA = regex.compile(
    r"Instruction: (.*)\nInput: (.*)\nOutput: \n|Instruction: (.*)\nOutput: \n", regex.DOTALL
)
# Letters and digits with combining marks and inner apostrophes, or one other character.
_WORDS = regex.compile(
    r"(?:[\p{L}\p{N}]\p{M}*)+(?:['\u2019](?:[\p{L}\p{N}]\p{M}*)+)*|[^\s\x1c-\x1f]"
)

_LISTS = {
    "negation": "no not nor never neither none nobody nothing nowhere cannot without except",
    "article": "a an the",
    "pronoun": "i me my mine myself you your yours yourself yourselves he him his himself she her "
    "hers herself it its itself we us our ours ourselves they them their theirs themselves this "
    "that these those who whom whose which what each everyone everything someone something anyone "
    "anything",
    "auxiliary": "am is are was were be been being do does did have has had having can could will "
    "would shall should may might must",
    "preposition": "about above across after against along among around at before behind below "
    "beneath beside besides between beyond by down during for from in inside into like near of off "
    "on onto out outside over past per since through throughout till to toward towards under until "
    "up upon via with within",
    "number": "zero one two three four five six seven eight nine ten eleven twelve thirteen "
    "fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy "
    "eighty ninety hundred thousand million billion first second third fourth fifth sixth seventh "
    "eighth ninth tenth half twice",
}
_CLASS = {word: name for name, words in reversed(_LISTS.items()) for word in words.split()}
CLASSES = (*_LISTS, "punctuation", "other")


def run(folder: str | Path, /, *, agents: Names = (), splits: Names = ()) -> Analysis:
    """Show which words the agents of a result folder keep and drop, and write the analysis.

    Args:
        folder: Result folder.
        agents: Agents to analyze; by default all.
        splits: Splits to analyze; by default all.
    """
    source = RunFolder(folder)
    return write_analysis(source.path, analyse(source.frame(agents, splits)), draw)


def analyse(frame: DataFrame, *, min_count: int = 20) -> Analysis:
    """Return keep rates, and the most and least kept words that occur `min_count` times."""
    kept = kept_words(frame)
    tables = {
        "by word class": _by(kept, "class"),
        "by position, in tenths of the text": _by(kept, "position"),
        "by task family": _by(kept, "family"),
    }
    for agent, own in kept.groupby("agent", observed=True):
        tables[f"words most and least kept by {agent}"] = _extremes(own, min_count)
    return Analysis("dropped", "What gets dropped", _NOTE, tables)


def draw(figure: Figure, analysis: Analysis) -> None:
    """Draw keep rates by word class and by position, a line per agent."""
    shown = dict(list(analysis.tables.items())[:2])
    # Classes have no order, so their points are not connected.
    for (axes, rates), width in zip(panels(figure, shown), (0.0, 0.8), strict=True):
        draw_lines(axes, rates.set_index(rates.columns[0]).iloc[:, 1:], width)
        axes.tick_params(axis="x", rotation=30)
        axes.set_ylabel("keep rate")


def kept_words(frame: DataFrame) -> DataFrame:
    """Return a row per record and user word, with the share of its characters kept."""
    import pandas

    rows = []
    records = frame[["agent", "source", "prompt", "dropped"]]
    for agent, source, prompt, dropped in records.itertuples(index=False, name=None):
        family = family_of(source)
        lost = bytearray(len(prompt))
        for start, end in dropped:
            lost[start:end] = b"x" * (end - start)
        for start, end, *word in user_words(prompt):
            kept = 1.0 - lost.count(b"x", start, end) / (end - start)  # a token may cut a word
            rows.append((agent, family, *word, kept))
    columns = ["agent", "family", "class", "position", "word"]
    kinds = dict.fromkeys(columns, "category") | {"class": pandas.CategoricalDtype(CLASSES)}
    return pandas.DataFrame(rows, columns=[*columns, "kept"]).astype(kinds)


@lru_cache(maxsize=10_000)  # many records share a prompt
def user_words(prompt: str) -> list[tuple[int, int, str, str, str]]:
    """Return start, end, class, tenth of the text, and lowercase form of the user's words.

    In the "alpaca" format, the template's words do not count. With several inputs, the last one is
    taken as the template's, as records do not tell.
    """
    ranges = [(0, len(prompt))]
    if match := _ALPACA.fullmatch(prompt):
        ranges = [match.span(group) for group in (1, 2, 3) if match[group] is not None]
    length = sum(end - start for start, end in ranges)
    found, before = [], 0
    for start, end in ranges:
        for first, last in words(prompt[start:end]):
            tenth = min(9, int((before + (first + last) / 2) / length * 10))
            word = escaped(prompt[start + first : start + last].lower())
            found.append((start + first, start + last, word_class(word), str(tenth), word))
        before += end - start
    return found


def words(text: str) -> list[tuple[int, int]]:
    """Return the character ranges of the words of a text."""
    return [match.span() for match in _WORDS.finditer(text)]


def word_class(word: str) -> str:
    """Return the class of an English word, ignoring case; the first list that has it counts."""
    plain = word.lower().replace("\u2019", "'")
    if plain.endswith("n't"):
        return "negation"
    if any(map(str.isdigit, plain)):
        return "number"
    if not any(map(str.isalpha, plain)):
        return "punctuation"
    # Contractions belong to the class of the part before the apostrophe.
    return _CLASS.get(plain) or _CLASS.get(plain.partition("'")[0], "other")


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
        order = {"mean": rising, "size": False, "word": True}
        ordered = common.sort_values([*order], ascending=[*order.values()], ignore_index=True)
        halves.append(ordered.head(MAX_SHOWN).set_axis([name, "rate", "times"], axis=1))
    return Table.of(pandas.concat(halves, axis=1))
