"""Greedy decoding from a draft by hand, and with a reader that knows the answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcrl_gym.generators.speculative.drafts import Row, Trust, advance, go_on


class ScriptedReader:
    """Predicts a fixed text: greedy decoding without a model."""

    def __init__(self, texts: list[list[int]]) -> None:
        self.texts = texts
        self.read_tokens: list[list[int]] = [[] for _ in texts]
        self.rows = list(range(len(texts)))
        self.passes = 0

    def read(self, blocks: list[list[int]], wanted: list[int]) -> list[list[int]]:
        self.passes += 1
        out = []
        for i, block, n in zip(self.rows, blocks, wanted, strict=True):
            self.read_tokens[i] += block
            end = len(self.read_tokens[i])  # one prompt token, then the answer
            known = self.read_tokens[i][1:]
            row = []
            for k in range(end - n, end):
                right = known[:k] == self.texts[i][:k]
                row.append(self.texts[i][k] if right and k < len(self.texts[i]) else -1)
            out.append(row)
        return out

    def retain(self, rows: list[int], wrong: list[int]) -> None:
        self.rows = [self.rows[k] for k in rows]
        for i, n in zip(self.rows, wrong, strict=True):
            del self.read_tokens[i][len(self.read_tokens[i]) - n :]


ids = st.lists(st.integers(1, 4), max_size=12)


@given(
    st.lists(st.tuples(ids, ids), min_size=1, max_size=4),
    st.integers(1, 10),
    st.integers(0, 10),
    st.integers(0, 4),
)
def test_any_draft_gives_the_greedy_answer(
    rows: list[tuple[list[int], list[int]]], limit: int, most: int, free: int
):
    texts = [[*text, 0] for text, _ in rows]
    drafts = [draft[:limit] for _, draft in rows]
    reader = ScriptedReader(texts)
    done = [Row(i, draft) for i, draft in enumerate(drafts)]
    going = advance(reader, done, [[9]] * len(rows), most, limit, {0})
    while going:
        going = go_on(reader, going, free, limit, {0})
    assert [row.tokens for row in done] == [text[:limit] for text in texts]
    assert reader.passes <= max(len(text[:limit]) for text in texts)


def test_lining_up_by_hand() -> None:
    row = Row(0, [1, 2, 3, 4, 5, 6])
    assert row.guessed(99, 30, {6}) == [1, 2, 3, 4, 5]  # what ends the answer is only predicted
    assert row.guessed(99, 4, set()) == [1, 2, 3]
    assert row.guessed(2, 30, {6}) == [1, 2]
    assert row.guessed(0, 30, {6}) == []
    assert row.accept([1, 2, 3, 4, 5], [1, 2, 4, 8, 8, 8]) == 2
    assert row.tokens == [1, 2, 4]
    row.line_up()  # 3 was left out
    assert row.guessed(99, 30, {6}) == [5]
    assert row.accept([5], [5, 7]) == 1
    assert row.tokens == [1, 2, 4, 5, 7]
    row.line_up()  # 7 stands for 6, or for nothing
    assert row.guessed(99, 30, set()) == []
    assert row.accept([], [6]) == 0
    row.line_up()  # it was added
    assert row.at == 6


def test_a_draft_that_fails_is_trusted_less() -> None:
    row = Row(0, list(range(10, 30)))
    assert len(row.guessed(99, 99, ())) == 20
    row.accept(row.guessed(99, 99, ()), [5, *range(20)])  # nothing held
    row.line_up()
    assert row.guessed(99, 99, ()) == []
    row.accept([], [12])  # what stands later in the draft is a start
    row.line_up()
    assert row.guessed(99, 99, ()) == [13]
    row.accept([13], [13, 14])
    row.line_up()
    assert row.guessed(99, 99, ()) == [15, 16, 17]
    row.accept([15, 16, 17], [15, 16, 17, 1])
    row.line_up()
    assert row.guessed(99, 99, ()) == [19, 20, 21]  # 1 may stand for 18


def test_drafts_are_read_as_far_as_they_tend_to_hold() -> None:
    trust = Trust(held=10)
    assert trust.reach == 20
    trust.learn(held=8, wrong=False)
    assert trust.reach == 36
    trust.learn(held=0, wrong=True)
    assert trust.reach == 18
    for _ in range(35):
        trust.learn(held=0, wrong=True)
    assert trust.reach == 1  # 36 // 37, but they may begin to hold


@pytest.mark.parametrize("guessing", [1, 2])
def test_what_fewer_than_a_third_of_the_rows_but_one_guess_is_not_read(guessing: int) -> None:
    reader = ScriptedReader([[1, 2, 3, 4, 0]] * 7)
    rows = [Row(i, [1, 9, 3, 4] if i < guessing else []) for i in range(7)]
    going = advance(reader, rows, [[9]] * 7, 99, 30, {0})
    assert [row.tokens for row in going] == [[1, 2]] * guessing + [[1]] * (7 - guessing)
    go_on(reader, going, 1, 30, {0})  # 3 may follow 2
    written = [1, 2, 3, 4] if guessing == 2 else [1, 2, 3]
    assert [row.tokens for row in rows[:guessing]] == [written] * guessing
    assert [row.tokens for row in rows[guessing:]] == [[1, 2]] * (7 - guessing)
