"""The stop-word heuristic: drop function words and punctuation.

The baseline of PCRL (arXiv 2308.08758): stop words and punctuation are removed from instruction and
input, and the template is kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from functools import cache
from pathlib import Path

import numpy as np

from agents.base import Infos, Observations, keep_masks
from pcrl_gym.errors import MissingExtraError

WORD_LIST = Path(__file__).with_name("stopwords.txt")

# A word may contain an apostrophe or hyphen between letters ("don't", "e-mail") and a punctuation
# mark between digits ("3.5", "12:30").
_WORD = re.compile(r"\w+(?:(?:['\u2019-]|(?<=\d)[.,:/](?=\d))\w+)*")


class StopWordAgent:
    """Drops every unit that consists of stop words and punctuation only.

    Words are matched in the prompt's text, so the choice does not depend on tokenization: a stop
    word of three tokens is dropped as a whole, and a token that also contains part of another word
    is kept.

    Args:
        words: "project" for the list in `agents/stopwords.txt`, "nltk" for NLTK's English list
            (needs nltk and its data on this machine), or the words themselves.
        punctuation: Whether to drop punctuation too, except inside words.

    Raises:
        ValueError: If the name of the list is unknown.
        MissingExtraError: If NLTK or its data is not installed.
    """

    name = "stopwords"

    def __init__(self, words: str | Collection[str] = "project", punctuation: bool = True) -> None:
        lists = {"project": project_stopwords, "nltk": _nltk_stopwords}
        if not isinstance(words, str):
            self.words = _normalized(words)
        elif words in lists:
            self.words = lists[words]()
        else:
            raise ValueError(
                f"unknown stop-word list {words!r}: use 'project', 'nltk', or a collection of words"
            )
        self.punctuation = punctuation

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return masks that drop stop words; see `agents.base.Agent.act`."""
        drop = np.zeros(observations["droppable"].shape, dtype=bool)
        for row, info in enumerate(infos):
            spans = np.asarray(info["spans"], dtype=np.int64).reshape(-1, 2)[: drop.shape[1]]
            drop[row, : len(spans)] = self._stop_units(info["prompt"], spans)
        return keep_masks(observations, drop)

    def _stop_units(self, text: str, spans: np.ndarray) -> np.ndarray:
        """Mark spans that hold stop characters and otherwise only whitespace, bool (n_units,)."""
        stop = self._stop_characters(text)
        content = ~stop & ~np.array([character.isspace() for character in text], dtype=bool)
        return np.array([stop[a:b].any() and not content[a:b].any() for a, b in spans], dtype=bool)

    def _stop_characters(self, text: str) -> np.ndarray:
        """Return which characters belong to stop words or punctuation, bool (len(text),)."""
        stop = np.zeros(len(text), dtype=bool)
        if self.punctuation:
            stop[:] = [unicodedata.category(character).startswith("P") for character in text]
        for word in _WORD.finditer(text):
            stop[word.start() : word.end()] = _normalize(word.group()) in self.words
        return stop


def _normalize(word: str) -> str:
    return word.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


def _normalized(words: Collection[str]) -> frozenset[str]:
    return frozenset(_normalize(word) for word in words)


@cache
def project_stopwords() -> frozenset[str]:
    """Return the words of `agents/stopwords.txt`."""
    lines = WORD_LIST.read_text(encoding="utf-8").splitlines()
    return _normalized(" ".join(line for line in lines if not line.startswith("#")).split())


def _nltk_stopwords() -> frozenset[str]:
    try:
        from nltk.corpus import stopwords
    except ImportError as error:
        raise MissingExtraError("the 'nltk' stop-word list needs NLTK: pip install nltk") from error
    try:
        return _normalized(stopwords.words("english"))
    except LookupError as error:
        raise MissingExtraError(
            "NLTK's stop-word data is not installed: python -m nltk.downloader stopwords"
        ) from error
