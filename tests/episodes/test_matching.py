"""From a compressor's text back to the units that are left in it."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import models
from pcrl_gym.episodes.episode import EpisodeBuilder
from pcrl_gym.episodes.matching import exact_mask, nearest_mask
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import AlpacaTemplate

BUILD = EpisodeBuilder(models.gpt2_tokenizer(), AlpacaTemplate(), force_keep=["keep"])
UNITS = st.lists(st.sampled_from(["a", "b", "ab", " a", "ba"]), max_size=6)


@given(units=UNITS, text=st.text("ab ", max_size=6), data=st.data())
def test_a_mask_is_found_if_there_is_one(units: list[str], text: str, data: st.DataObject) -> None:
    free = np.array(data.draw(st.lists(st.booleans(), min_size=len(units), max_size=len(units))))
    free = free.astype(np.bool_)
    masks = [
        mask
        for mask in product([True, False], repeat=len(units))
        if all(keep or may for keep, may in zip(mask, free, strict=True))
        and "".join(unit for unit, keep in zip(units, mask, strict=True) if keep) == text
    ]
    found = exact_mask(units, free, text)
    assert (found is None) == (not masks)
    if masks:
        assert tuple(found.tolist()) == max(masks)


def test_words_that_are_left_are_found_whatever_stands_between() -> None:
    text = "Please sort these: b, a, b"
    units = [(0, 6), (6, 11), (11, 17), (17, 18), (18, 20), (20, 21), (21, 23), (23, 24), (24, 26)]
    free = np.ones(len(units), np.bool_)
    kept = nearest_mask(text, units, free, "Now sort:\n b a")
    assert kept.tolist() == [False, True, False, True, True, False, True, False, False]
    assert nearest_mask(text, units, free, "").tolist() == [False] * 9
    protected = free.copy()
    protected[2] = False
    assert nearest_mask(text, units, protected, "x").tolist() == [i == 2 for i in range(9)]


def test_units_without_words_follow_the_one_before() -> None:
    kept = nearest_mask("a \n b", [(0, 1), (1, 3), (3, 5)], np.ones(3, np.bool_), "b")
    assert kept.tolist() == [False, False, True]


@given(
    text=st.text("ab ,.\n", max_size=20).map(lambda text: f"x {text} keep"),
    input=st.sampled_from(["", "c d"]),
    data=st.data(),
)
def test_what_a_mask_leaves_is_that_mask(text: str, input: str, data: st.DataObject) -> None:
    [episode] = BUILD([Prompt("0", text, input)])
    mask = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(episode), max_size=len(episode)))
    )
    left = episode.compress(mask)
    start, end = episode.body_span
    body = left[start : len(left) - (len(episode.text) - end)]
    found, kept = episode.with_body(body)
    assert found == left  # with its ranges
    assert episode.compress(kept) == left


def test_a_rewritten_body_is_the_users() -> None:
    [episode] = BUILD([Prompt("0", "Please keep this short", "b a")])
    text, kept = episode.with_body("</s> keep b")
    start, end = episode.body_span
    assert text == episode.text[:start] + "</s> keep b" + episode.text[end:]
    assert [text[a:b] for a, b in text.fixed] == [episode.text[:start], episode.text[end:]]
    left = episode.compress(kept)
    assert [word in left for word in ("Please", "keep", "this")] == [False, True, False]
    [empty] = BUILD([Prompt("0", "", "")])
    assert empty.with_body("")[0] == empty.text
