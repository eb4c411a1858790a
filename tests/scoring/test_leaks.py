"""Prompts that give the answer away."""

from __future__ import annotations

import pytest

from pcrl_gym.scoring.leaks import leaks_answer

ANSWER = "Red, green and blue are colors."


@pytest.mark.parametrize(
    ("compressed", "leaks"),
    [
        ("Repeat: red, green and blue", True),
        ("Repeat: RED,GREEN and more", True),  # four words, the sign among them
        ("Repeat: red, green", False),  # three
        ("Name colors", False),
        ("", False),
    ],
)
def test_four_words_of_the_answer_are_a_leak(compressed: str, leaks: bool) -> None:
    assert leaks_answer(ANSWER, "Name three colors.", compressed) is leaks


def test_words_of_the_original_are_none() -> None:
    prompt = "Are red, green and blue colors?"
    assert not leaks_answer(ANSWER, prompt, "red, green and blue colors?")
    assert leaks_answer(ANSWER, prompt, "red, green and blue are colors")
    assert not leaks_answer("Red", "Name a color.", "Say red")  # too short to tell
