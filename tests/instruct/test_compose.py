from __future__ import annotations

from random import Random

import pytest

from pcrl_gym.instruct.compose import KINDS, choose, kind_of, material
from pcrl_gym.instruct.data import lines_of

CODE = """\
def add(a, b):
    # both are numbers
    return a + b

print(add(1, 2) + add(3, 4))"""
LIST = "1. a b c d\n2. e f g h\n3. i j k l"
TABLE = "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |"


@pytest.mark.parametrize(
    ("answer", "kind", "expected"),
    [
        (f"Sure!\n```python\n{CODE}\n```\nDone.", "code", CODE),
        ("One two three. It has four words or more. It has five. And this was cut", "passage",
         "One two three. It has four words or more. It has five."),
        ("Too short. Really.", "passage", None),
        (f"Items:\n{LIST}\nEnjoy", "list", LIST),
        ("No list here at all, only one long sentence that goes nowhere.", "list", None),
        (f"Here:\n{TABLE}", "table", TABLE),
    ],
)  # fmt: skip
def test_material_is_the_usable_beginning_of_an_answer(
    answer: str, kind: str, expected: str | None
) -> None:
    assert material(answer, kind) == expected


def test_long_material_is_cut_between_its_pieces() -> None:
    sentence = "This one has exactly ten words in it, not more."
    text = material(" ".join([sentence] * 20), "passage")
    assert text is not None
    assert len(text.split()) == 80
    assert text.endswith("more.")


def test_programming_is_answered_with_code() -> None:
    assert kind_of("Write a Python script, please.", Random(0)) == "code"
    assert {kind_of("Tell me about bees.", Random(i)) for i in range(40)} == {*KINDS} - {"code"}


def test_every_kind_has_tasks() -> None:
    assert {line.partition(": ")[0] for line in lines_of("tasks.txt")} == {*KINDS}


def test_a_third_has_material_and_the_counts_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pcrl_gym.instruct.compose.VALIDATION_SEEN", 3)
    asked = [{"text": " ".join(f"w{i}x{k}" for k in range(9)), "ended": i != 0} for i in range(13)]
    replies = [
        {"text": " ".join(f"r{i}s{k}." for k in range(20)), "kind": "passage"} for i in range(20)
    ]
    splits, counts = choose(asked, replies, seed=0)
    assert counts["left out"] == {"unfinished": 1, "near-duplicates": 0}
    rows = [row for own in splits.values() for row in own]
    assert len(rows) == 12 + 6
    assert [row["source"] for row in rows].count("passage") == 6
    assert {split: own["prompts"] for split, own in counts.items() if split in splits} == {
        "train": 15, "validation_seen": 3,
    }  # fmt: skip
    assert choose(asked, replies, seed=0) == (splits, counts)
    assert choose(asked, replies, seed=1)[0] != splits
