"""The pairs of the flip audit, and what a compressor does wrong with one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pcrl_gym import Compressor
from pcrl_gym.audit.flips import default_pairs
from pcrl_gym.audit.pairs import (
    FlipPair,
    decisive_words,
    fault,
    read_pairs,
    words_of,
    written_pairs,
)
from pcrl_gym.audit.procedural import procedural_pairs
from pcrl_gym.episodes.constraints import constraint_patterns

CLASSES = {"not", "only", "except", "limit", "number", "unit", "name", "format", "mention"}


def test_there_are_enough_pairs_of_every_class() -> None:
    written = written_pairs()
    counts = Counter(pair.kind for pair in written)
    assert set(counts) == CLASSES
    assert min(counts.values()) >= 20
    assert len(written) >= 200
    assert len(default_pairs()) >= 2_200
    assert len({(pair.first, pair.second) for pair in default_pairs()}) == len(default_pairs())


@pytest.mark.parametrize("pair", written_pairs(), ids=lambda pair: pair.first[:40])
def test_written_pairs_differ_in_few_words(pair: FlipPair) -> None:
    assert 1 <= len(decisive_words(pair)) <= 4
    assert fault(pair, pair.first, pair.second) is None
    assert "{" not in pair.first


def test_procedural_pairs_differ_in_one_thing_and_are_the_same_for_a_seed() -> None:
    pairs = procedural_pairs(300)
    assert pairs == procedural_pairs(300)
    assert pairs[:50] != procedural_pairs(50, seed=1)
    for pair in pairs:
        assert pair.first != pair.second
        assert 1 <= len(decisive_words(pair)) <= 2
        assert fault(pair, pair.first, pair.second) is None
    counts = Counter(pair.kind for pair in pairs)
    assert {"not", "limit", "number", "name", "except", "order"} == set(counts)
    assert min(counts.values()) > 30


def test_what_is_wrong_with_a_pair() -> None:
    pair = FlipPair("limit", "List at most three rivers.", "List at least three rivers.")
    assert fault(pair, "List at three rivers", "List at three rivers!") == "same"
    assert fault(pair, "list three", "List at least three rivers.") == "lost"
    assert fault(pair, "MOST three", "three") is None
    gone = FlipPair("not", "who has not paid", "who has paid")
    assert fault(gone, "who paid", "who has paid") == "lost"
    assert fault(gone, "not paid", "who has") is None
    assert fault(FlipPair("order", "what is 3 + 4", "what is 3 - 4"), "3 + 4", "3 - 4") is None


def test_words_of_scripts_without_spaces_are_characters() -> None:
    assert words_of("不会飞") == ["不", "会", "飞"]


@pytest.mark.parametrize("line", ["Name fruits", "Name {a|b} and {c|d}", "Name {a}"])
def test_lines_that_are_no_pairs_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"expected a prompt with one \{one\|other\}"):
        read_pairs(["[not]", line])
    with pytest.raises(ValueError, match="below a"):
        read_pairs(["Name {a|b}"])


def test_constraints_are_most_of_what_decides() -> None:
    """But for names, numbers and units, which other options protect."""
    found = 0
    pairs = [p for p in written_pairs() if p.kind not in {"name", "number", "unit"}]
    for pair in pairs:
        hits = " ".join(h[0] for x in constraint_patterns() for h in x.finditer(pair.first))
        found += set(decisive_words(pair)) <= set(words_of(hits))
    assert found > 0.6 * len(pairs)


def test_protection_helps_on_pairs_by_an_author_who_had_not_seen_the_constraints() -> None:
    """The figures of docs/audit.md."""
    lines = Path(__file__).with_name("held_out_pairs.txt").read_text(encoding="utf-8")
    pairs = read_pairs(lines.splitlines())
    compressor = Compressor.from_pretrained("instruct", device="cpu")
    flips = []
    for protect in (None, "constraints"):
        first, second = (
            compressor([getattr(p, side) for p in pairs], rate=0.2, protect=protect)
            for side in ("first", "second")
        )
        faults = (fault(p, a.text, b.text) for p, a, b in zip(pairs, first, second, strict=True))
        flips.append(sum(one is not None for one in faults))
    assert len(pairs) == 80
    assert flips[1] <= 9 < 14 <= flips[0]  # 8 and 15, but for a rounding error
