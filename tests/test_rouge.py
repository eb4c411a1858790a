from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from pcrl_gym.rouge import rouge_l_f1, similarity

REFERENCE = RougeScorer(["rougeL"])
WORDS = st.lists(
    st.sampled_from(
        ["a", "b", "the", "The", "12", "7", "cat's", "été", "猫", "—", "İ", "\u212a", "\n"]
    ),
    max_size=30,
)
TEXTS = st.one_of(st.text(max_size=60), WORDS.map(" ".join))


@given(answer=TEXTS, reference=TEXTS)
def test_equal_to_rouge_score_bit_for_bit(answer: str, reference: str) -> None:
    expected = float(REFERENCE.score(reference, answer)["rougeL"].fmeasure)
    assert rouge_l_f1(answer, reference).hex() == expected.hex()


@given(TEXTS, TEXTS)
def test_symmetric_and_in_range(a: str, b: str) -> None:
    assert rouge_l_f1(a, b) == rouge_l_f1(b, a)
    assert 0.0 <= similarity(a, b) <= 1.0


@pytest.mark.parametrize("text", ["", "猫は好きです", "🙂🙂", "...", "été", "yes"])
def test_identical_texts_are_fully_similar_even_without_a_latin_word(text: str) -> None:
    assert similarity(text, text) == 1.0


@pytest.mark.parametrize(("a", "b"), [("猫", "犬"), ("", "yes"), ("🙂", "🙃"), ("yes", "no")])
def test_texts_without_a_common_word_are_not_similar(a: str, b: str) -> None:
    assert similarity(a, b) == 0.0
