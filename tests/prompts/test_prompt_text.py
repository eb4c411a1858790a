"""Texts that know the template's own ranges."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcrl_gym.prompts.prompt_text import PromptText, RenderedPrompt, cache_key, framed, join_kept


def test_it_is_a_string_in_all_else() -> None:
    text = PromptText("<s>Sort", ((0, 3),))
    assert text == "<s>Sort"
    assert {"<s>Sort": 1}[text] == {text: 1}["<s>Sort"] == 1
    assert hash(text) == hash("<s>Sort")
    assert json.dumps(text) == '"<s>Sort"'
    for plain in (str(text), text[:3], text + "", text.strip(), f"{text}"):
        assert type(plain) is str


def test_other_ranges_are_another_prompt() -> None:
    texts = [PromptText("ab", fixed) for fixed in ((), ((0, 1),), ((1, 2),), ((0, 2),))]
    assert len(set(texts)) == len({cache_key(text) for text in texts}) == 4
    assert all((a == b, a != b) == (a is b, a is not b) for a in texts for b in texts)
    assert PromptText("ab", ((0, 1), (1, 2))) == PromptText("ab", ((0, 2),))
    assert cache_key("ab") == cache_key(PromptText("ab")) == "ab"


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))]
)
def test_copies_keep_the_ranges(duplicate) -> None:  # type: ignore[no-untyped-def]
    text = duplicate(PromptText("ab", ((1, 2),)))
    assert (text, text.fixed) == (PromptText("ab", ((1, 2),)), ((1, 2),))


@pytest.mark.parametrize(
    "fixed", [((0, 4),), ((2, 1),), ((1, 3), (2, 3)), ((2, 3), (0, 1)), ((-1, 1),)]
)
def test_wrong_ranges_are_refused(fixed: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="must be sorted, non-overlapping, and within its 3"):
        PromptText("abc", fixed)
    with pytest.raises(ValueError, match="must be sorted"):
        RenderedPrompt("abc", fixed)


def test_what_a_template_renders_carries_its_ranges() -> None:
    rendered = RenderedPrompt("<s>Sort", ((0, 3),))
    assert isinstance(rendered.text, PromptText)
    assert rendered.text.fixed == ((0, 3),)


def test_framed() -> None:
    text = framed("<s>Sort</s>", ("<s>", "</s>"))
    assert isinstance(text, PromptText)
    assert text.fixed == ((0, 3), (7, 11))
    assert type(framed("<s>Sort", ("<s>", "</s>"))) is str
    assert type(framed("<s>", ("<s>", "s>"))) is str  # they would overlap


@given(st.lists(st.tuples(st.text("ab<", min_size=1, max_size=3), st.booleans(), st.booleans())))
def test_ranges_move_with_their_text(units: list[tuple[str, bool, bool]]) -> None:
    """Units are (characters, fixed, kept); a character is told by its place."""
    spans, fixed, end = [], [], 0
    for unit, is_fixed, _ in units:
        start, end = end, end + len(unit)
        spans.append((start, end))
        fixed += [(start, end)] if is_fixed else []
    whole = PromptText("".join(unit for unit, _, _ in units), fixed)
    short = join_kept(whole, spans, [keep for _, _, keep in units])
    assert isinstance(short, PromptText)
    marks = [is_fixed for unit, is_fixed, keep in units if keep for _ in unit]
    assert short == "".join(unit for unit, _, keep in units if keep)
    assert [any(a <= i < b for a, b in short.fixed) for i in range(len(short))] == marks


def test_a_plain_text_stays_plain() -> None:
    assert type(join_kept("ab", [(0, 1), (1, 2)], [True, False])) is str
