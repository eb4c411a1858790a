from __future__ import annotations

import pickle
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from pcrl_gym.scoring.rouge import (
    MEASURES,
    ROUGE_L,
    UNICODE_ROUGE_L,
    IgnoredTextWarning,
    rouge_n_f1,
)

REFERENCE = RougeScorer(["rouge1", "rouge2", "rouge3", "rougeL"])
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
    assert ROUGE_L.f1(answer, reference).hex() == expected.hex()


def test_words_are_not_stemmed() -> None:
    stemming = RougeScorer(["rougeL"], use_stemmer=True).score("play games", "played game")
    assert stemming["rougeL"].fmeasure == 1.0
    assert UNICODE_ROUGE_L("played game", "play games") == 0.0
    # F1, neither precision (1) nor recall (1/2): two of two words and of four.
    assert UNICODE_ROUGE_L("red fig", "red fig on trees") == pytest.approx(2 / 3)


@given(TEXTS, TEXTS)
def test_symmetric_and_in_range(a: str, b: str) -> None:
    assert ROUGE_L.f1(a, b) == ROUGE_L.f1(b, a)
    assert 0.0 <= UNICODE_ROUGE_L(a, b) <= 1.0


@pytest.mark.parametrize("text", ["", "猫は好きです", "🙂🙂", "...", "été", "yes"])
def test_identical_texts_are_fully_similar_even_without_a_latin_word(text: str) -> None:
    assert UNICODE_ROUGE_L(text, text) == 1.0


@pytest.mark.parametrize(("a", "b"), [("猫", "犬"), ("", "yes"), ("🙂", "🙃"), ("yes", "no")])
def test_texts_without_a_common_word_are_not_similar(a: str, b: str) -> None:
    assert UNICODE_ROUGE_L(a, b) == 0.0


@pytest.mark.parametrize(
    ("a", "b", "score"),
    [
        ("Нет, в 2024 году упал", "Да, в 2024 году вырос", 8 / 12),
        ("x > 3", "x < 3", 4 / 6),
        ("5 €", "5 $", 2 / 4),
        ("a == b", "a != b", 6 / 8),
        ("-5", "5", 2 / 3),
        ("3.5", "35", 0.0),
        ("50%", "50 ‰", 2 / 4),
        ("今天3度很冷", "今天3度不冷", 10 / 12),
        ("카페 3", "커피 3", 2 / 4),
        ("قهوة 7", "شاي 7", 2 / 4),
        ("हिन्दी 1", "हिन्दु 1", 2 / 4),
        ("ไป 1", "มา 1", 2 / 6),
        ("café", "cafe", 0.0),
        ("👍 ok", "👎 ok", 2 / 4),
        ("f(x)", "f[x]", 4 / 8),
        ("Yes.", "yes.", 1.0),
        ("a  b\n", "A b", 1.0),
        ("ΟΔΟΣ", "οδος", 1.0),
    ],
)
def test_the_default_measure_sees_every_script_and_sign(a: str, b: str, score: float) -> None:
    assert UNICODE_ROUGE_L(a, b) == pytest.approx(score, abs=1e-15)


@given(TEXTS, TEXTS)
def test_only_white_space_and_case_go_unseen(a: str, b: str) -> None:
    def seen(text: str) -> str:
        return "".join(UNICODE_ROUGE_L.words(text))

    assert len(seen(a)) == len("".join(a.lower().split()))
    if UNICODE_ROUGE_L(a, b) == 1.0:
        assert seen(a) == seen(b)


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("x > 3", True),
        ("Да", True),
        ("5 €", True),
        ("naïve", False),  # a fifth
        ("été", True),
        ("3, 1, 2.", False),  # punctuation of sentences is not counted
        ("-5", True),
        ("", False),
    ],
)
def test_the_published_measure_warns_where_it_ignores_more_than_a_fifth(
    text: str, warned: bool
) -> None:
    for pair in ((text, "fig"), ("fig", text)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert ROUGE_L(*pair) == ROUGE_L.f1(*pair)
        assert [w.category for w in caught] == [IgnoredTextWarning] * warned


def test_measures_are_found_by_name_and_survive_pickling() -> None:
    for name, measure in MEASURES.items():
        assert measure.name == name
        assert pickle.loads(pickle.dumps(measure)) is measure


@pytest.mark.parametrize("n", [1, 2, 3])
@given(answer=TEXTS, reference=TEXTS)
def test_n_grams_equal_to_rouge_score_bit_for_bit(n: int, answer: str, reference: str) -> None:
    expected = float(REFERENCE.score(reference, answer)[f"rouge{n}"].fmeasure)
    assert rouge_n_f1(answer, reference, n).hex() == expected.hex()


@given(TEXTS, TEXTS, st.integers(1, 5))
def test_n_grams_symmetric_and_in_range(a: str, b: str, n: int) -> None:
    assert rouge_n_f1(a, b, n) == rouge_n_f1(b, a, n)
    assert 0.0 <= rouge_n_f1(a, b, n) <= 1.0


def test_order_does_not_matter_to_single_words() -> None:
    # It does to ROUGE-L: one word of the two is the longest common subsequence.
    assert rouge_n_f1("cat the", "the cat", 1) == 1.0
    assert ROUGE_L.f1("cat the", "the cat") == 0.5


@pytest.mark.parametrize(
    ("answer", "reference", "n", "score"),
    [
        # Clipped: one of three counts. P = 1/3, R = 1.
        ("the the the", "the", 1, 0.5),
        # Two of four and two of three: P = 1/2, R = 2/3.
        ("a a a b", "b a c", 1, 4 / 7),
        # Of "a b", "b a", "a b" and "a b", "b c" one is common: P = 1/3, R = 1/2.
        ("a b a b", "a b c", 2, 0.4),
        ("A-b", "a b!", 2, 1.0),
        # Too short for a 2-gram, even if identical.
        ("yes", "yes", 2, 0.0),
        ("yes", "", 1, 0.0),
        ("猫", "猫", 1, 0.0),
    ],
)
def test_n_grams_by_hand(answer: str, reference: str, n: int, score: float) -> None:
    assert rouge_n_f1(answer, reference, n) == pytest.approx(score, abs=1e-15)


@pytest.mark.parametrize("n", [0, -1])
def test_n_below_one_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        rouge_n_f1("a", "a", n)
