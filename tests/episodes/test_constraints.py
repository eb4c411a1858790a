"""The list of constraints: its classes, and what its expressions find."""

from __future__ import annotations

import re

import pytest

from pcrl_gym.episodes.constraints import constraint_patterns, read_constraints

LANGUAGES = [
    "German", "French", "Spanish", "Italian", "Portuguese", "Dutch", "Polish", "Chinese",
    "Japanese",
]  # fmt: skip


def found(text: str) -> set[str]:
    return {hit[0] for pattern in constraint_patterns() for hit in pattern.finditer(text)}


def test_each_line_is_an_expression_of_a_class():
    classes = read_constraints()
    assert list(classes)[-len(LANGUAGES) :] == LANGUAGES
    assert {"negation", "exception", "obligation", "limit", "length", "format"} <= set(classes)
    lines = [line for own in classes.values() for line in own]
    assert len(lines) == len(set(lines)) > 40
    for line in lines:
        assert not re.compile(line).fullmatch("")
    assert len(constraint_patterns()) == len(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DO NOT shout, don’t run", {"DO NOT", "n’t"}),
        ("no more than five short sentences", {"no", "no more than", "five short sentences"}),
        ("write 1,000 words in 3 paragraphs", {"1,000 words", "in 3 paragraphs"}),
        ("a three-paragraph essay under 100 words", {"three-paragraph", "under 100 words"}),
        ("from English into Brazilian Portuguese", {"from English", "into Brazilian Portuguese"}),
        ('use the word "fig" and «pear»', {'use the word "fig"'}),
        ("put «pear» in the text and say 'it’s fine'", {"say 'it’s fine'", "and say"}),
        ("start your reply with P.S. and a title", {"start your reply with", "P.S.", "title"}),
        ("everything but the second, before noon", {"everything but the second", "before noon"}),
        ("leave out the figs, without any nuts", {"leave out the figs", "without any nuts"}),
        ("exclude all but the first column", {"exclude all but the first"}),
        ("rule out everything but nouns", {"rule out everything", "out everything but nouns"}),
        ("how many are not larger than 2 to 4?", {"how many", "are not", "larger", "2 to 4"}),
        ("past tense or plural, or vase", {"past", "tense", "or", "plural"}),
        ("| pear | fig |", {"|"}),
        ("nothing notable, knots and jsonify", {"nothing"}),
    ],
)
def test_by_hand(text: str, expected: set[str]):
    hits = found(text)
    assert expected <= hits
    longer = {hit for hit in hits if not any(hit in one for one in expected)}
    assert longer <= {"under 100", "title"}
