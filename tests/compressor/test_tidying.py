"""Spaces that dropped units leave behind are removed, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given

from pcrl_gym.compressor.tidying import tidy
from texts import cut_text


def kept_of(text: str) -> list[tuple[int, int]]:
    """Ranges of a text outside braces, which are part of it."""
    kept, start = [], 0
    for i, character in enumerate(text):
        if character == "{":
            kept.append((start, i))
        if character == "}":
            start = i + 1
    return [span for span in [*kept, (start, len(text))] if span[0] < span[1]]


@pytest.mark.parametrize(
    ("text", "tidied"),
    [
        ("{Please} sort", "sort"),
        ("sort {please}", "sort"),
        ("sort{ please} figs", "sort figs"),
        ("sort {please} figs", "sort figs"),
        ("sort {a} {b} figs", "sort figs"),
        ("sort\t{a}  figs", "sort figs"),
        ("  sort  figs  ", "  sort  figs  "),  # nothing was dropped
        ("  sort  figs {now}", "  sort  figs"),
        ("a  b{c} d", "a  b d"),
        ("sort{ these}, please", "sort, please"),
        ("one\n{two} three\nfour {five}\nsix", "one\nthree\nfour\nsix"),
        ("one\n{two}\nthree", "one\n\nthree"),
        ("1 {a} 2", "1  2"),
        ("x1y {a} ½", "x1y  ½"),
        ("1 {a} b", "1 b"),
        ("a {1} b2", "a b2"),
        ("{a}", ""),
        ("{a} {b}", ""),
        ("\u00a0{a}\u3000b", "b"),
        ("", ""),
    ],
)
def test_tidy_by_hand(text: str, tidied: str):
    assert tidy(text, kept_of(text)) == tidied


@given(cut_text())
def test_tidy_changes_spaces_alone_and_only_beside_what_was_dropped(parts):
    text, kept, dropped = parts
    left = "".join(text[a:b] for a, b in kept)
    done = tidy(text, kept)
    assert "".join(done.replace("\t", "").split(" ")) == "".join(left.replace("\t", "").split(" "))
    assert len(done) <= len(left)
    if not dropped:
        assert done == text
    if dropped and dropped[0][0] == 0:
        assert not done.startswith((" ", "\t"))
    if dropped and dropped[-1][1] == len(text):
        assert not done.endswith((" ", "\t"))
