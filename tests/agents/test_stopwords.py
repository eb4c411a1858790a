"""The stop-word agent drops function words and punctuation, however the tokenizer cuts them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from agent_fixtures import kept_text, prompt_batch
from agents.stopwords import WORD_LIST, StopWordAgent, project_stopwords
from pcrl_gym.errors import MissingExtraError


def compress(
    text: str, pattern: str = r"\s*\w+|\s*[^\w\s]", agent: StopWordAgent | None = None
) -> str:
    observations, infos = prompt_batch([text], max_units=64, pattern=pattern)
    masks = (agent or StopWordAgent()).act(observations, infos)
    assert masks.dtype == np.int8
    assert masks[0, 0] == 1
    return kept_text(infos[0], masks[0])


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Sort the numbers from low to high.", "Sort numbers low high"),
        ("List ALL but the red ones, not before Monday!", "List red ones Monday"),
        ("If it's cold, otherwise don't\N{RIGHT SINGLE QUOTATION MARK}", "cold"),
        ("Is 3.5 more than 12:30 ?", "3.5 12:30"),
        ("The\N{EM DASH}list: sort and/or drop, yes.No", "list sort drop yes"),
        ("", ""),
        (
            "\N{GRINNING FACE} 你好 \N{FULLWIDTH COMMA} \u05e9\u05dc\u05d5\u05dd",
            "\N{GRINNING FACE} 你好 \u05e9\u05dc\u05d5\u05dd",
        ),
    ],
)
def test_function_words_and_punctuation_leave(text: str, rest: str) -> None:
    assert compress(text) == rest


def test_cutting_into_characters_changes_nothing_but_white_space() -> None:
    text = "Before you answer, sort the words from A to Z and don't explain."
    letters = compress(text, pattern=r"\s*\S")
    assert letters.replace(" ", "") == compress(text).replace(" ", "") == "answersortwordsZexplain"


def test_a_unit_that_holds_part_of_another_word_stays() -> None:
    assert compress("notable the theory", pattern=r"\s*not|\s*the|\w+") == "notable theory"


def test_punctuation_can_stay() -> None:
    assert compress("Sort the list.", agent=StopWordAgent(punctuation=False)) == "Sort list."


def test_own_words() -> None:
    agent = StopWordAgent(words=["Sort"])
    assert compress("sort the list", agent=agent) == "the list"


def test_units_past_the_window_are_ignored() -> None:
    observations, infos = prompt_batch(["the list of the words of the day"], max_units=4)
    masks = StopWordAgent().act(observations, infos)
    np.testing.assert_array_equal(masks, [[1, 0, 1, 0]])


def test_the_list_holds_the_function_words_that_carry_answers_and_no_content() -> None:
    words = project_stopwords()
    assert {"not", "before", "all", "but", "from", "to", "if", "after", "otherwise"} <= words
    assert not {"please", "fire", "system", "computer", "list", "two", "opposite"} & words
    assert 200 < len(words) < 400
    assert all(word == word.lower() for word in words)
    assert "Provenance: written for pcrl_gym" in WORD_LIST.read_text(encoding="utf-8")


def test_unknown_list_and_missing_nltk_are_clear_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="unknown stop-word list 'spacy'"):
        StopWordAgent(words="spacy")
    monkeypatch.setitem(sys.modules, "nltk", None)
    monkeypatch.setitem(sys.modules, "nltk.corpus", None)
    with pytest.raises(MissingExtraError, match="pip install nltk"):
        StopWordAgent(words="nltk")


def test_nltk_without_data_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk.data, "path", [])
    with pytest.raises(MissingExtraError, match=r"nltk\.downloader stopwords"):
        StopWordAgent(words="nltk")
