"""Greedy decoding from a draft by hand, and with a reader that knows the answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcrl_gym.generators.speculative.drafts import DraftedAnswer, DraftLength, verify, verify_next


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
    rows: list[tuple[list[int], list[int]]], limit: int, max_tokens: int, free_rows: int
):
    texts = [[*text, 0] for text, _ in rows]
    drafts = [draft[:limit] for _, draft in rows]
    reader = ScriptedReader(texts)
    answers = [DraftedAnswer(i, draft, limit, {0}) for i, draft in enumerate(drafts)]
    unfinished = verify(reader, answers, [[9]] * len(rows), max_tokens)
    while unfinished:
        unfinished = verify_next(reader, unfinished, free_rows)
    assert [answer.tokens for answer in answers] == [text[:limit] for text in texts]
    assert reader.passes <= max(len(text[:limit]) for text in texts)


def test_realigning_by_hand() -> None:
    draft = [1, 2, 3, 4, 5, 6]
    assert DraftedAnswer(0, draft, 4, set()).proposed(99) == [1, 2, 3]
    row = DraftedAnswer(0, draft, 30, {6})
    assert row.proposed(99) == [1, 2, 3, 4, 5]  # what ends the answer is only predicted
    assert row.proposed(2) == [1, 2]
    assert row.proposed(0) == []
    assert row.accept([1, 2, 3, 4, 5], [1, 2, 4, 8, 8, 8]) == 2
    assert row.tokens == [1, 2, 4]
    row.realign()  # 3 was left out
    assert row.proposed(99) == [5]
    assert row.accept([5], [5, 7]) == 1
    assert row.tokens == [1, 2, 4, 5, 7]
    row.realign()  # 7 stands for 6, or for nothing
    assert row.proposed(99) == []
    assert row.accept([], [6]) == 0
    row.realign()  # it was added
    assert row.position == 6


def test_a_draft_that_fails_is_read_less() -> None:
    row = DraftedAnswer(0, list(range(10, 30)), 99, ())
    assert len(row.proposed(99)) == 20
    row.accept(row.proposed(99), [5, *range(20)])  # nothing held
    row.realign()
    assert row.proposed(99) == []
    row.accept([], [12])  # what stands later in the draft is a start
    row.realign()
    assert row.proposed(99) == [13]
    row.accept([13], [13, 14])
    row.realign()
    assert row.proposed(99) == [15, 16, 17]
    row.accept([15, 16, 17], [15, 16, 17, 1])
    row.realign()
    assert row.proposed(99) == [19, 20, 21]  # 1 may stand for 18


def test_drafts_are_read_as_far_as_they_tend_to_hold() -> None:
    length = DraftLength(accepted=10)
    assert length.max_tokens == 20
    length.update(accepted=8, rejected=False)
    assert length.max_tokens == 36
    length.update(accepted=0, rejected=True)
    assert length.max_tokens == 18
    for _ in range(35):
        length.update(accepted=0, rejected=True)
    assert length.max_tokens == 1  # 36 // 37, but they may begin to hold


@pytest.mark.parametrize("proposing", [1, 2])
def test_what_fewer_than_a_third_of_the_rows_but_one_propose_is_not_read(proposing: int) -> None:
    reader = ScriptedReader([[1, 2, 3, 4, 0]] * 7)
    drafts = [[1, 9, 3, 4] if i < proposing else [] for i in range(7)]
    rows = [DraftedAnswer(i, draft, 30, {0}) for i, draft in enumerate(drafts)]
    going = verify(reader, rows, [[9]] * 7, 99)
    assert [row.tokens for row in going] == [[1, 2]] * proposing + [[1]] * (7 - proposing)
    verify_next(reader, going, 1)  # 3 may follow 2
    written = [1, 2, 3, 4] if proposing == 2 else [1, 2, 3]
    assert [row.tokens for row in rows[:proposing]] == [written] * proposing
    assert [row.tokens for row in rows[proposing:]] == [[1, 2]] * (7 - proposing)
