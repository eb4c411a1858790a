from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from string import digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_fixtures import SETTINGS, frame, record
from benchmarks.analyses.analysis import read_analyses, write_analysis
from benchmarks.analyses.dropped import (
    CLASSES,
    analyse,
    draw,
    kept_words,
    run,
    user_words,
    word_class,
    words,
)
from benchmarks.records import RunFolder

PROMPT = "Instruction: Sort the figs\nInput: a b\nOutput: \n"


def dropped(text: str, prompt: str = PROMPT, **changes):
    """A record of a prompt without one occurrence of a text."""
    start = prompt.index(text)
    return record(prompt=prompt, dropped=((start, start + len(text)),), **changes)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("An", "article"),
        ("yourself", "pronoun"),
        ("her", "pronoun"),
        ("between", "preposition"),
        ("to", "preposition"),
        ("could", "auxiliary"),
        ("I'll", "pronoun"),
        ("isn\u2019t", "negation"),
        ("without", "negation"),
        ("None", "negation"),
        ("twelve", "number"),
        ("12th", "number"),
        ("\u0663", "number"),
        ("\u2026", "punctuation"),
        ("_", "punctuation"),
        ("pear", "other"),
        ("\u732b", "other"),
    ],
)
def test_word_classes(word: str, expected: str):
    assert word_class(word) == expected


@given(st.text())
def test_every_word_has_a_class_and_holds_no_white_space(text: str):
    spans = words(text)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    for start, end in spans:
        assert not any(character.isspace() for character in text[start:end])
        assert word_class(text[start:end]) in CLASSES
    ends = [0, *(place for span in spans for place in span), len(text)]
    rest = "".join(text[a:b] for a, b in zip(ends[::2], ends[1::2], strict=True))
    assert not rest.strip()


@pytest.mark.parametrize("word", ["e\u0301te\u0301", "\u0939\u093f\u0928\u094d\u0926\u0940"])
def test_combining_marks_belong_to_their_word(word: str):
    assert words(f"a {word}, b") == [
        (0, 1),
        (2, 2 + len(word)),
        (2 + len(word), 3 + len(word)),
        (4 + len(word), 5 + len(word)),
    ]
    assert word_class(word) == "other"


def test_odd_words_leave_tables_whole(tmp_path: Path):
    odd = record(prompt="Instruction: a | \ud800\nOutput: \n", dropped=())
    analysis = analyse(frame([odd]), min_count=1)
    write_analysis(tmp_path, analysis, draw)
    assert read_analyses(tmp_path) == [analysis]
    place = tmp_path / "analyses"
    assert "\\ud800" in (place / "dropped.md").read_text(encoding="utf-8")
    assert "| \\|" in (place / "dropped.md").read_text(encoding="utf-8")
    write_analysis(tmp_path, analysis)
    assert not (place / "dropped.png").exists()


def test_the_templates_words_do_not_count():
    assert [word for *_, word in user_words(PROMPT)] == ["sort", "the", "figs", "a", "b"]
    odd = "Instruction: Copy\nInput: x\nInput: y\nOutput: \n"
    assert [odd[a:b] for a, b, *_ in user_words(odd)] == ["Copy", "Input", ":", "x", "y"]
    alone = "Instruction: Copy\nOutput: \n"
    assert user_words(alone) == [(13, 17, "other", "5", "copy")]
    assert len(user_words("<user>hi</user>")) == 8


def test_rates_by_hand():
    # Of "figs" 3 of 4 characters are lost; 5 words, 11 letters and blanks before the input's 3.
    analysis = analyse(frame([dropped("the fig", source="sort/all")]), min_count=1)
    by_class = {row[0]: row[1:] for row in analysis.tables["by word class"].rows}
    assert by_class == {"article": (2, 0.5), "other": (3, pytest.approx((1 + 0.25 + 1) / 3))}
    assert analysis.tables["by task family"].rows == (("sort", 5, pytest.approx(3.25 / 5)),)
    extremes = analysis.tables["words most and least kept by a"]
    assert extremes.rows[0] == ("a", 1.0, 1, "the", 0.0, 1)
    assert extremes.rows[1][3:] == ("figs", 0.25, 1)


def test_positions_run_over_the_users_text():
    rows = analyse(frame([dropped("a b")])).tables["by position, in tenths of the text"].rows
    # 13 characters of instruction and 3 of input: "sort" has its middle at 2/16.
    assert [row[0] for row in rows] == ["1", "4", "6", "8", "9"]
    assert [row[2] for row in rows] == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_agents_stand_side_by_side_and_rare_words_in_no_list():
    whole = [record(prompt=PROMPT, dropped=(), agent=agent) for agent in ("b", "a") for _ in "123"]
    other = record(prompt="hi", dropped=(), agent="a")
    by_class, _, _, words_of_a, words_of_b = analyse(
        frame([*whole, other]), min_count=4
    ).tables.values()
    assert by_class.columns == ("class", "words", "a", "b")
    assert by_class.rows == (("article", 6, 1.0, 1.0), ("other", 10, 1.0, 1.0))
    assert words_of_a.rows == words_of_b.rows == ()


@given(st.data())
def test_rates_are_shares(data):
    text = data.draw(st.text(max_size=40))
    prompt = f"Instruction: {text}\nOutput: \n"
    end = data.draw(st.integers(0, len(prompt)))
    start = data.draw(st.integers(0, end))
    cut = record(prompt=prompt, dropped=((start, end),) if start < end else ())
    kept = kept_words(frame([cut]))
    assert kept["kept"].between(0.0, 1.0).all()
    assert set(kept["position"]) <= set(digits)


def test_it_is_written_into_the_folder(tmp_path: Path):
    folder = RunFolder.open(tmp_path, SETTINGS)
    with folder.write_part("a", "seen", 0) as write:
        write(dropped("the"))
    analysis = run(tmp_path)
    assert read_analyses(tmp_path) == [analysis]
    assert (tmp_path / "analyses" / "dropped.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no results for the agents b, only for a"):
        run(tmp_path, agents=["b"])
