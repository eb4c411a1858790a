from __future__ import annotations

import pytest

from pcrl_gym.scoring.checks import passes


@pytest.mark.parametrize(
    ("check", "answer", "gold", "expected"),
    [
        ("exact", " Paris. ", "paris", True),
        ("exact", "It is Paris", "Paris", False),
        ("contains", "It is New York.", "New York", True),
        ("contains", "It is York, new.", "New York", False),
        ("contains", "Parisian", "Paris", False),
        ("contains:1889|Paris", "In Paris, in 1889", "anything", True),
        ("contains:1889|Paris", "In 1889", "anything", False),
        ("contains:3.5", "It costs 3.5 euros", "", True),
        ("contains:犬", "猫と犬です", "", True),
        ("contains:7/seven days", "Seven days it is", "", True),
        ("contains:7/seven days", "six", "", False),
        ("contains:19", "às 19h", "", True),
        ("contains:8:17", "at 8:17am", "", True),
        ("contains:5", "It costs 3.5 euros", "", False),
        ("contains:5", "It is -5 degrees", "", False),
        ("contains:1250", "1,250 people", "", True),
        ("exact", "cafe\u0301 noir", "caf\u00e9 noir", True),
        ("exact", "cafe\u0301 noir", "noir", False),
        ("json", '{"a": true}', '{"a": 1}', False),
        ("json", '{"a": 5.0}', '{"a": 5}', True),
        ("label:yes|no", "Yes!", "yes", True),
        ("label:yes|no", "Yes and no", "yes", False),
        ("label:yes|no", "No", "yes", False),
        ("json", 'Here: {"b": 1, "a": [2]} ok', '{"a": [2], "b": 1}', True),
        ("json", '{"a": 2}', '{"a": "2"}', False),
        ("json", "{broken", '{"a": 2}', False),
    ],
)
def test_checks_compare_whole_words(check: str, answer: str, gold: str, expected: bool) -> None:
    assert passes(check, answer, gold) is expected


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("contain:a", "unknown check 'contain:a'; did you mean contains"),
        ("label:a|b", "not one of its labels"),
    ],
)
def test_a_wrong_check_is_an_error(check: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        passes(check, "answer", "gold")
