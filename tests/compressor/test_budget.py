"""Budgets of tokens: never exceeded, and nothing is dropped that would have fitted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from pcrl_gym.compressor.compression import Compression
from policies import TEXT, compressor
from texts import nasty_text

TOKENIZER = models.gpt2_tokenizer()
TOKENS = compressor(TOKENIZER, max_units=24)
WORDS = compressor(TOKENIZER, max_units=24, whole_words=True)
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": TEXT}]


def count(text: str) -> int:
    return len(TOKENIZER(text, add_special_tokens=False)["input_ids"])


def by_hand(done: Compression, target: int, groups: list[list[int]]) -> str | None:
    """The longest text that fits, found by dropping one group after the other."""
    order = sorted(groups, key=lambda group: done.keep_probabilities[group[0]])
    for dropped in range(len(order) + 1):
        gone = {unit for group in order[:dropped] for unit in group}
        text = "".join(
            done.original[a:b] for unit, (a, b) in enumerate(done.units) if unit not in gone
        )
        if count(text) <= target:
            return text
    return None


@settings(max_examples=60)
@given(st.one_of(nasty_text, st.just(TEXT), st.just(TEXT * 3)), st.integers(1, 60))
def test_the_longest_text_in_the_order_of_the_policy_that_fits(text: str, target: int):
    asked = TOKENS(text)
    free = [[unit] for unit, droppable in enumerate(asked.droppable) if droppable]
    expected = by_hand(asked, target, free)
    if expected is None:
        with pytest.raises(ValueError, match="cannot be dropped"):
            TOKENS(text, target_tokens=target)
        return
    done = TOKENS(text, target_tokens=target)
    assert done.text == expected
    assert done.compressed_tokens == count(done.text) <= target


def test_all_targets_of_a_text_are_met_with_the_most_text():
    last = ""
    for target in range(1, count(TEXT) + 1):
        done = TOKENS(TEXT, target_tokens=target)
        assert done.compressed_tokens <= target
        assert len(done.text) >= len(last)
        last = done.text
    assert last == TEXT


def test_counts_that_go_up_and_down_are_searched_past_the_first_hit():
    """Six words have five tokens, and five words have eight."""

    def strange(text: str) -> int:
        words = len(text.split())
        return {6: 5, 5: 8}.get(words, words)

    reader = compressor(TOKENIZER, unit="word", bias=0.0, max_units=24)
    for target, text in ((7, " b c d e f g h"), (6, " c d e f g h"), (5, " c d e f g h")):
        assert reader("a b c d e f g h", target_tokens=target, count_with=strange).text == text
    assert reader("a b c d e f g h", target_tokens=4, count_with=strange).text == " e f g h"


def test_whole_words_go_together():
    done = WORDS(TEXT, target_tokens=15)
    assert done.compressed_tokens <= 15
    assert done.text.split()
    assert set(done.text.split()) <= set(TEXT.split())
    assert not set(TOKENS(TEXT, target_tokens=15).text.split()) <= set(TEXT.split())


def test_what_is_protected_may_be_too_much():
    with pytest.raises(ValueError, match=r"target_tokens=2 is too low: .* have (\d+) tokens"):
        TOKENS("one two three four", target_tokens=2, force_keep=["two", "three"])
    prompt = {"instruction": TEXT, "input": "a b"}
    template = TOKENS(**prompt, rate=1.0).compressed_tokens
    assert TOKENS(**prompt, target_tokens=template).text == "Instruction: \nInput: \nOutput: \n"
    with pytest.raises(ValueError, match=f"have {template} tokens"):
        TOKENS(**prompt, target_tokens=template - 1)


def test_each_text_of_a_list_has_its_own_budget():
    done = TOKENS([TEXT, "a b", ""], target_tokens=8)
    assert [one.compressed_tokens <= 8 for one in done] == [True] * 3
    assert done[0].text == TOKENS(TEXT, target_tokens=8).text
    assert (done[1].text, done[2].text) == ("a b", "")


def test_messages_share_a_budget_with_those_that_stay():
    system = count("Be brief.")
    done = TOKENS(messages=[*CHAT, CHAT[1]], target_tokens=30)
    assert done.messages[0] == CHAT[0]
    assert done.compressed_tokens == system + sum(count(m["content"]) for m in done.messages[1:])
    assert 26 <= done.compressed_tokens <= 30
    first, second = done.compressions
    least_kept = min(p for one in (first, second) for p in _of(one, kept=True))
    assert all(p <= least_kept for one in (first, second) for p in _of(one, kept=False))
    with pytest.raises(ValueError, match=f"have {system} tokens"):
        TOKENS(messages=CHAT[:1], target_tokens=system - 1)
    assert TOKENS(messages=CHAT[:1], target_tokens=system).messages == CHAT[:1]


def test_question_and_context_share_a_budget():
    done = TOKENS(question="Why so?", context=[TEXT, TEXT], target_tokens=24)
    assert done.question == "Why so?"
    assert done.compressed_tokens == count("Why so?") + sum(map(count, done.context)) <= 24


def _of(done: Compression, *, kept: bool) -> list[float]:
    pairs = zip(done.keep_probabilities, done.kept, done.droppable, strict=True)
    return [p for p, keep, free in pairs if free and keep == kept]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target_tokens": 0}, "target_tokens must be an integer of at least 1, got 0"),
        ({"target_tokens": 2.5}, "target_tokens must be an integer of at least 1"),
        (
            {"target_tokens": 5, "rate": 0.5},
            "pass only one of rate, target_tokens, and tolerance, got",
        ),
    ],
)
def test_wrong_budgets_are_refused(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        TOKENS(TEXT, **arguments)
