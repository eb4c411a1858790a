from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pcrl_gym.episodes.words import lowered
from pcrl_gym.scoring.early_stop import similarity_bounds
from pcrl_gym.scoring.rouge import MEASURES, ROUGE_L, UNICODE_ROUGE_L, Measure

pytestmark = pytest.mark.filterwarnings("ignore::pcrl_gym.scoring.rouge.IgnoredTextWarning")
measures = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES.keys())

KELVIN = "\u212a"  # lower-cased "k"
PARTIAL = "\ufffd"
PIECES = ("a", "b", "ab", " a", " b", ".", "猫", KELVIN)
TEXTS = st.lists(
    st.sampled_from((*PIECES, " ", "\n", "İ", " i", "k", "B", "7", PARTIAL)), max_size=6
).map("".join)
REFERENCES = TEXTS.map(str.strip)
WORDS_LEFT = st.integers(0, 3)
CONTINUATIONS = tuple("".join(pieces) for n in range(4) for pieces in product(PIECES, repeat=n))
# Completed, the last character is one of these.
CHARACTERS = ("İ", KELVIN, "猫", "\u3000")


def continuations(text: str, words_left: int, measure: Measure) -> Iterator[str]:
    """All final answers from up to three pieces within the limit of words."""
    start = text.rstrip(PARTIAL)
    for character in CHARACTERS if start != text else ("",):
        begun = start + character
        limit = len(measure.words(start)) + (begun != start) + words_left
        for more in CONTINUATIONS:
            if len(measure.words(begun + more)) <= limit:
                yield (begun + more).strip()


def choices(text: str, reference: str, words_left: int, measure: Measure) -> Iterator[str]:
    """Final answers among which are the best and the worst ones, if no U+FFFD ends the text."""
    # Longer than any word of the reference, so it matches none.
    other = "x" * (len(reference) + 1)
    rests = [""]
    if measure.letter.match(lowered(text)[-1:]):
        last = measure.words(text)[-1]
        rests += [other]
        rests += [word[len(last) :] for word in measure.words(reference) if word.startswith(last)]
    for rest in set(rests):
        for count in range(words_left + 1):
            for more in product({other, *measure.words(reference)}, repeat=count):
                yield " ".join((text + rest, *more)).strip()


@measures
@given(text=TEXTS, reference=REFERENCES, words_left=WORDS_LEFT)
def test_no_continuation_leaves_the_bounds(
    measure: Measure, text: str, reference: str, words_left: int
) -> None:
    low, high = similarity_bounds(text, reference, words_left, measure)
    assert 0.0 <= low <= high <= 1.0
    for answer in continuations(text, words_left, measure):
        assert low <= measure(answer, reference) <= high, answer


@measures
@given(text=st.text(max_size=30), reference=st.text(max_size=30), more=st.text(max_size=10))
def test_no_continuation_leaves_the_bounds_whatever_the_characters(
    measure: Measure, text: str, reference: str, more: str
) -> None:
    start = text.rstrip(PARTIAL)
    answer = (start + more).strip()
    words_left = max(0, len(measure.words(answer)) - len(measure.words(start)))
    low, high = similarity_bounds(text, reference.strip(), words_left, measure)
    assert low <= measure(answer, reference.strip()) <= high
    low, high = similarity_bounds(text, answer, words_left, measure)
    assert low <= 1.0 == high


@measures
@given(text=TEXTS, reference=REFERENCES, words_left=WORDS_LEFT)
def test_both_bounds_are_attained(
    measure: Measure, text: str, reference: str, words_left: int
) -> None:
    assume(not text.endswith(PARTIAL) and measure.words(reference))
    low, high = similarity_bounds(text, reference, words_left, measure)
    answers = choices(text, reference, words_left, measure)
    attained = [measure(answer, reference) for answer in answers]
    assert low == pytest.approx(min(attained), rel=3e-9, abs=0.0)
    assert high == pytest.approx(max(attained), rel=3e-9, abs=0.0)


@measures
@given(
    answer_words=st.lists(st.sampled_from("abcde"), max_size=40),
    reference_words=st.lists(st.sampled_from("abcde")),
)
def test_closed_and_without_words_left_only_the_slack_remains(
    measure: Measure, answer_words: list[str], reference_words: list[str]
) -> None:
    answer, reference = " ".join(answer_words) + ".", " ".join(reference_words)
    assume(reference)
    low, high = similarity_bounds(answer, reference, 0, measure)
    score = measure(answer, reference)
    assert low <= score <= high
    assert low == pytest.approx(score, rel=3e-9, abs=0.0)
    assert high == pytest.approx(score, rel=3e-9, abs=0.0)


@given(TEXTS, st.sampled_from(["猫犬", "猫.", "猫", ".", ""]), WORDS_LEFT)
def test_reference_without_words_is_met_or_missed(
    text: str, reference: str, words_left: int
) -> None:
    assume(not text.endswith(PARTIAL))
    ends = [reference[i:] for i in range(len(reference) + 1)]
    reached = any((text + end).strip() == reference for end in ends)
    assert similarity_bounds(text, reference, words_left, ROUGE_L) == (0.0, float(reached))


@measures
@given(answer=TEXTS, reference=REFERENCES)
def test_each_byte_narrows_the_bounds(measure: Measure, answer: str, reference: str) -> None:
    data = answer.replace(PARTIAL, "").encode()
    # Each byte is one token, and a token begins at most one word.
    states = [
        similarity_bounds(data[:n].decode(errors="replace"), reference, len(data) - n, measure)
        for n in range(len(data) + 1)
    ]
    for (low, high), (next_low, next_high) in pairwise(states):
        assert low <= next_low <= next_high <= high
    assert states[-1][0] <= measure(data.decode().strip(), reference) <= states[-1][1]


@measures
@given(text=TEXTS, reference=REFERENCES, words_left=WORDS_LEFT)
def test_more_words_left_widen_the_bounds(
    measure: Measure, text: str, reference: str, words_left: int
) -> None:
    low, high = similarity_bounds(text, reference, words_left, measure)
    wider_low, wider_high = similarity_bounds(text, reference, words_left + 1, measure)
    assert wider_low <= low <= high <= wider_high


@measures
@given(
    text=TEXTS,
    run=st.text(f"ai\n{KELVIN}İ猫", max_size=5),
    last=st.sampled_from(CHARACTERS),
    more=TEXTS,
    reference=REFERENCES,
)
def test_run_of_bytes_that_a_tokenizer_with_byte_fallback_shows_as_replacement_characters(
    measure: Measure, text: str, run: str, last: str, more: str, reference: str
) -> None:
    for cut in range(1, len(last.encode())):
        seen = text + PARTIAL * (len(run.encode()) + cut)
        complete = text + run + last
        words_left = max(0, len(measure.words(complete + more)) - len(measure.words(complete)))
        low, high = similarity_bounds(seen, reference, words_left, measure)
        assert low <= measure((complete + more).strip(), reference) <= high
        low, high = similarity_bounds(seen, (complete + more).strip(), words_left, measure)
        assert high == 1.0


@pytest.mark.parametrize(
    ("text", "reference", "words_left", "low", "high"),
    [
        # Nothing yet.
        ("", "one two", 0, 0, 0),
        ("", "one two", 1, 0, 2 / 3),
        ("", "one two", 2, 0, 1),
        (" \n", "one two", 9, 0, 1),
        # Closed by a space, a sign, a letter that is not Latin; capitals and digits.
        ("One ", "one 2", 0, 2 / 3, 2 / 3),
        ("oNE.", "one 2", 1, 2 / 4, 1),
        ("one猫", "one 2", 1, 2 / 4, 1),
        ("on ", "one 2", 1, 0, 2 / 4),
        ("2 ", "one 2", 1, 2 / 4, 2 / 3),
        # Open: may become "one", may become "onto"; no other word can begin.
        ("On", "one 2", 0, 0, 2 / 3),
        ("one", "one 2", 0, 0, 2 / 3),
        ("ones", "one 2", 0, 0, 0),
        ("one 2", "one 2", 0, 2 / 4, 1),
        ("one 2", "one 23", 0, 2 / 4, 1),
        ("on", "one one", 1, 0, 1),
        # "b a a" is better than "b".
        ("b ", "a a b", 2, 2 / 6, 4 / 6),
        # "b a a b"
        ("b ", "a a b", 3, 2 / 7, 6 / 7),
        # "İ" is "i" and a combining dot: closed.
        ("İ", "i", 0, 1, 1),
        ("İ", "is", 0, 0, 0),
        ("İs", "i s", 0, 2 / 4, 1),
        (KELVIN, "kelvin", 0, 0, 1),
        # No word in the reference: identity or nothing.
        ("", "", 0, 0, 1),
        (" \n", "", 5, 0, 1),
        (".", "", 5, 0, 0),
        ("", "猫", 0, 0, 1),
        (" 猫", "猫犬", 0, 0, 1),
        ("猫犬", "猫犬", 0, 0, 1),
        ("猫犬 \n", "猫犬", 0, 0, 1),
        ("猫 ", "猫 犬", 0, 0, 1),
        ("猫 ", "猫犬", 0, 0, 0),
        ("猫犬.", "猫犬", 0, 0, 0),
        ("犬", "猫犬", 9, 0, 0),
        ("a", "猫", 9, 0, 0),
        # U+FFFD at the end: one word more, or a longer one.
        (PARTIAL, "k", 0, 0, 1),
        ("one " + PARTIAL, "one i", 0, 2 / 4, 1),
        ("one" + PARTIAL, "one i", 0, 0, 1),
        ("o" + PARTIAL, "ok", 0, 0, 1),
        ("o " + PARTIAL, "ok", 0, 0, 2 / 3),
        ("猫" + PARTIAL, "猫犬", 0, 0, 1),
        ("猫犬" + PARTIAL, "猫犬", 0, 0, 1),  # may be an ideographic space
        ("犬" + PARTIAL, "猫犬", 0, 0, 0),
        # Three bytes of a run begin at most three words.
        (PARTIAL * 3, "i i i i", 0, 0, 6 / 7),
        ("i " + PARTIAL * 3, "i i i i i", 0, 2 / 9, 8 / 9),
        # In the middle it is any character that is no word.
        ("one" + PARTIAL + " ", "one", 0, 1, 1),
        (PARTIAL + "one.", "one", 0, 1, 1),
    ],
)
def test_bounds_worked_out_by_hand(
    text: str, reference: str, words_left: int, low: float, high: float
) -> None:
    check_bounds(ROUGE_L, text, reference, words_left, low, high)


@pytest.mark.parametrize(
    ("text", "reference", "words_left", "low", "high"),
    [
        # Each sign is a word and lengthens none.
        ("x > ", "x > 3", 1, 4 / 6, 1),
        ("x >", "x > 3", 1, 4 / 6, 1),
        ("x <", "x > 3", 1, 2 / 6, 4 / 6),  # "x < 3"
        ("a =", "a == b", 2, 4 / 8, 1),
        ("a !", "a == b", 2, 2 / 8, 6 / 8),
        ("a !", "a == b", 3, 2 / 9, 8 / 9),  # "a ! = = b"
        ("5 €", "5 $", 0, 1 / 2, 1 / 2),
        # Letters of any script lengthen a word, characters of unspaced scripts do not.
        ("Нет", "нет да", 1, 0, 1),
        ("да ", "нет да", 0, 2 / 3, 2 / 3),
        ("猫", "猫犬", 1, 2 / 4, 1),
        ("犬", "猫犬", 1, 2 / 4, 2 / 3),
        ("ΟΔΟ", "οδός", 0, 0, 0),
        ("οδό", "ΟΔΌΣ", 0, 0, 1),
        # Nothing to compare with.
        ("", "", 3, 0, 1),
        (".", "", 3, 0, 0),
    ],
)
def test_bounds_of_the_default_measure_worked_out_by_hand(
    text: str, reference: str, words_left: int, low: float, high: float
) -> None:
    check_bounds(UNICODE_ROUGE_L, text, reference, words_left, low, high)


def check_bounds(
    measure: Measure, text: str, reference: str, words_left: int, low: float, high: float
) -> None:
    bounds = similarity_bounds(text, reference, words_left, measure)
    assert bounds == pytest.approx((low, high), rel=3e-9, abs=0.0)
    # These two have no slack.
    assert (bounds[1] == 1.0) == (high == 1)
    assert (bounds[0] == 0.0) == (low == 0)


@pytest.mark.parametrize(
    ("reference", "exact"), [("a b c d e", 1 / 3), ("a b c d e f g h i", 1 / 5)]
)
def test_rounding_of_the_score_stays_within_the_bounds(reference: str, exact: float) -> None:
    score = ROUGE_L("a.", reference)
    assert score != exact  # above it in the first case, below it in the second
    low, high = bounds("a.", reference, 0)
    assert low < min(score, exact) < max(score, exact) < high


def bounds(text: str, reference: str, words_left: int) -> tuple[float, float]:
    return similarity_bounds(text, reference, words_left, ROUGE_L)


TEN = "one two three four five six seven eight nine ten"


@pytest.mark.parametrize(
    ("text", "reference", "can_reach", "can_miss"),
    [
        ("one zwei ", TEN, True, True),  # "two" may follow: 10 of 11 and of 10 words, 20/21
        ("one zwei drei ", TEN, True, True),  # 20/22
        ("one zwei drei vier ", TEN, False, True),  # 20/23
        ("one zwei ", "one two three four", False, True),  # 8/9
        ("one two", "one two three four", True, True),
        ("one two ", "one two three four", True, True),
    ],
)
def test_when_a_threshold_of_nine_tenths_is_decided(
    text: str, reference: str, can_reach: bool, can_miss: bool
) -> None:
    low, high = bounds(text, reference, 100)
    assert (high >= 0.9, low < 0.9) == (can_reach, can_miss)


def test_reached_once_too_few_words_are_left_to_spoil_it() -> None:
    assert bounds(TEN + ".", TEN, 2)[0] > 0.9  # 20/22
    assert bounds(TEN, TEN, 2)[0] < 0.9  # "tent" and two more: 18/22
    assert bounds(TEN + ".", TEN, 3)[0] < 0.9  # 20/23


def test_wrong_first_word_is_best_followed_by_the_whole_reference() -> None:
    high = bounds("zero ", TEN, 10)[1]
    assert high == pytest.approx(20 / 21, rel=3e-9)
    assert high >= ROUGE_L("zero " + TEN, TEN)
    assert bounds("zero ", TEN, 9)[1] == pytest.approx(18 / 20, rel=3e-9)
