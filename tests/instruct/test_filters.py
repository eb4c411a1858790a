from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcrl_gym.instruct.filters import MAX_WORDS, MIN_WORDS, fault, without_duplicates

GOOD = "Can you help me plan a birthday party for my daughter?"


@pytest.mark.parametrize(
    ("text", "ended", "expected"),
    [
        (GOOD, True, None),
        (GOOD, False, "unfinished"),
        ("word " * (MIN_WORDS - 1), True, "length"),
        (" ".join(map(str, range(MIN_WORDS))), True, None),
        (" ".join(f"w{i}" for i in range(MAX_WORDS + 1)), True, "length"),
        (GOOD + " Write to a.b@example.org", True, "personal data"),
        (GOOD + " Call 555 123 4567", True, "personal data"),
        (GOOD + " It is on 2023-12-21.", True, None),
        (GOOD + " See www.example.org", True, "personal data"),
        (GOOD + "\nAssistant: Of course!", True, "control text"),
        (GOOD + " <|im_end|>", True, "control text"),
        (
            "Write a letter to [company name] and thank them for their help.",
            True,
            "blanks to fill in",
        ),
        ("we make the cake " * 6, True, "repetition"),
    ],
)
def test_the_first_rule_that_is_broken_is_named(
    text: str, ended: bool, expected: str | None
) -> None:
    assert fault(text, ended) == expected


def test_a_text_is_a_duplicate_if_more_than_half_of_its_runs_are_in_one_before() -> None:
    # 5 words are 2 runs of four.
    texts = ["a b c d e", "x a b c d", "y a b c d e", "a b c d e"]
    assert without_duplicates(texts) == [0, 1]
    assert without_duplicates(["a b c d e"], others=["z a b c d e"]) == []


@given(st.lists(st.text(alphabet="ab ", max_size=30), max_size=8))
def test_what_is_kept_is_kept_again(texts: list[str]) -> None:
    kept = [texts[i] for i in without_duplicates(texts)]
    assert without_duplicates(kept) == list(range(len(kept)))
