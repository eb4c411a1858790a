from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_fixtures import SETTINGS, record
from benchmarks.__main__ import main
from benchmarks.analyses.analysis import read_analyses, write_analysis
from benchmarks.analyses.dropped import analyse, kept_words, user_ranges
from benchmarks.analyses.word_classes import CLASSES, word_class, words
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
    rest = "".join(
        text[a:b]
        for a, b in zip(
            [0, *(s[1] for s in spans)], [*(s[0] for s in spans), len(text)], strict=True
        )
    )
    assert not rest.strip() or not words(rest)


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
    analysis = analyse([odd], min_count=1)
    write_analysis(tmp_path, analysis, lambda figure: figure.subplots())
    assert read_analyses(tmp_path) == [analysis]
    place = tmp_path / "analyses"
    assert "\\ud800" in (place / "dropped.md").read_text(encoding="utf-8")
    assert "| \\|" in (place / "dropped.md").read_text(encoding="utf-8")
    write_analysis(tmp_path, analysis)
    assert not (place / "dropped.png").exists()


def test_the_templates_words_do_not_count():
    assert [word.text for word in kept_words(record(prompt=PROMPT, dropped=()))] == [
        "sort", "the", "figs", "a", "b",
    ]  # fmt: skip
    odd = "Instruction: Copy\nInput: x\nInput: y\nOutput: \n"
    assert [odd[a:b] for a, b in user_ranges(odd)] == ["Copy\nInput: x", "y"]
    alone = "Instruction: Copy\nOutput: \n"
    assert [alone[a:b] for a, b in user_ranges(alone)] == ["Copy"]
    assert user_ranges("<user>hi</user>") == [(0, 15)]


def test_rates_by_hand():
    # Of "figs" 3 of 4 characters are lost; 5 words, 11 letters and blanks before the input's 3.
    analysis = analyse([dropped("the fig", source="sort/all")], min_count=1)
    by_class = {row[0]: row[1:] for row in analysis.tables["by word class"].rows}
    assert by_class == {"article": (2, 0.5), "other": (3, pytest.approx((1 + 0.25 + 1) / 3))}
    assert analysis.tables["by task family"].rows == (("sort", 5, pytest.approx(3.25 / 5)),)
    extremes = analysis.tables["words most and least kept by a"]
    assert extremes.rows[0] == ("a", 1.0, 1, "the", 0.0, 1)
    assert extremes.rows[1][3:] == ("figs", 0.25, 1)


def test_positions_run_over_the_users_text():
    rows = analyse([dropped("a b")]).tables["by position, in tenths of the text"].rows
    # 13 characters of instruction and 3 of input: "sort" has its middle at 2/16.
    assert [row[0] for row in rows] == ["1", "4", "6", "8", "9"]
    assert [row[2] for row in rows] == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_nothing_dropped_is_kept_wholly():
    analysis = analyse([record(prompt=PROMPT, dropped=())] * 30)
    tables = list(analysis.tables.values())
    assert {cell for table in tables[:3] for row in table.rows for cell in row[2:]} == {1.0}


@given(st.data())
def test_rates_are_shares(data):
    text = data.draw(st.text(max_size=40))
    prompt = f"Instruction: {text}\nOutput: \n"
    end = data.draw(st.integers(0, len(prompt)))
    start = data.draw(st.integers(0, end))
    cut = record(prompt=prompt, dropped=((start, end),) if start < end else ())
    assert all(0.0 <= w.kept <= 1.0 and 0.0 <= w.position <= 1.0 for w in kept_words(cut))


def test_command_writes_tables_and_a_picture(tmp_path: Path, capsys):
    folder = RunFolder.open(tmp_path, SETTINGS)
    with folder.write_part("a", "seen", 0) as write:
        write(dropped("the"))
    assert main(["dropped", str(tmp_path)]) == 0
    assert "| article |" in capsys.readouterr().out
    assert [analysis.name for analysis in read_analyses(tmp_path)] == ["dropped"]
    picture = (tmp_path / "analyses" / "dropped.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert main(["dropped", str(tmp_path), "--agents", "b"]) == 2
    assert "no results of the agents b, only of a" in capsys.readouterr().err
