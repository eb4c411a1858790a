"""Greedy decoding from a draft: one forward pass checks it, the next go on where it fails.

The answer to a compressed prompt is often the answer to the original one. With that as the draft,
a pass over prompt and draft gives the arg-max token after each of its tokens; the longest prefix of
the draft that equals them is what decoding token by token would have written, and one token more
comes for free. Rows that are not finished then go on with the rest of the draft where it lines up
again. A draft changes how many passes an answer takes, never its tokens. The idea is that of
speculative decoding (Leviathan et al. 2023, https://arxiv.org/abs/2211.17192), with a draft that is
there already.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from pcrl_gym.generators.speculative.reader import Reader

SHARE = 3
"""Guesses are read as far as one row in so many has them, as all others are padded to that."""


@dataclass
class Trust:
    """How far drafts are read: twice as many tokens as have held per wrong one so far.

    Attributes:
        held: How many tokens were right; what it starts with is believed in advance.
        wrong: How many drafts had a wrong token, and one.

    Example:
        >>> trust = Trust(held=3)
        >>> trust.reach
        6
        >>> trust.learn(held=1, wrong=True)
        >>> trust.reach
        4
    """

    held: int
    wrong: int = 1

    @property
    def reach(self) -> int:
        """Most tokens of a draft to read, at least 1: drafts may begin to hold."""
        return max(1, 2 * self.held // self.wrong)

    def learn(self, held: int, wrong: bool) -> None:
        """Take note of how many tokens of a draft held, and whether one did not."""
        self.held += held
        self.wrong += wrong


@dataclass
class Row:
    """An answer in the making.

    Attributes:
        index: Which prompt it answers.
        draft: The token ids that it is expected to have; only the last may end it.
        tokens: The token ids that it has.
        at: How many tokens of the draft are used up.
        guess: Which tokens of the draft are expected to come next.
        held: How many tokens were right of the last guess that was read.
        wrong: Whether the next one of it was not.
        partial: Whether it was left unfinished because `decided` said so.
    """

    index: int
    draft: Sequence[int]
    tokens: list[int] = field(default_factory=list)
    at: int = 0
    guess: slice = field(init=False)
    held: int = 0
    wrong: bool = False
    partial: bool = False

    def __post_init__(self) -> None:
        self.guess = slice(0, len(self.draft))

    def guessed(self, most: int, limit: int, ends: Collection[int]) -> list[int]:
        """Return at most so many guessed tokens to read, none that would end the answer."""
        guess = list(self.draft[self.guess])[: min(most, limit - len(self.tokens))]
        whole = bool(guess) and (guess[-1] in ends or len(self.tokens) + len(guess) == limit)
        return guess[:-1] if whole else guess

    def accept(self, read: Sequence[int], predicted: Sequence[int]) -> int:
        """Take over predictions as far as the guess holds, and the first that corrects it.

        Args:
            read: The guessed tokens that were read.
            predicted: The arg-max tokens after `tokens` and each of `read`; one more than those.

        Returns:
            How many of the guessed tokens were right.
        """
        held = next((k for k, token in enumerate(read) if token != predicted[k]), len(read))
        self.tokens += predicted[: held + 1]
        if held:
            self.at = self.guess.start + held
        if read:
            self.held, self.wrong = held, held < len(read)
        return held

    def line_up(self) -> None:
        """Guess how the answer goes on after its last token.

        If the rest of the draft has that token, what stands before it was left out: the guess is
        twice as long as what held last, and one. If not, it may stand in the place of another one:
        as long as what held. So where a draft has nothing to do with the answer, decoding soon goes
        on without it.
        """
        rest = list(self.draft[self.at :])
        if self.tokens[-1] in rest:
            self.at += rest.index(self.tokens[-1]) + 1
            self.guess = slice(self.at, self.at + 2 * self.held + 1)
        else:
            self.guess = slice(self.at + 1, self.at + 1 + self.held)


def advance(
    reader: Reader,
    rows: Sequence[Row],
    unread: Sequence[Sequence[int]],
    most: int,
    limit: int,
    ends: Collection[int],
    decided: Callable[[int, list[int]], bool] | None = None,
) -> list[Row]:
    """Take the answers of a batch one forward pass further.

    Args:
        reader: The reader of these rows; it goes on with those that are returned.
        rows: The rows.
        unread: Per row the token ids that stand before its guess and were not read yet.
        most: Most tokens of a guess.
        limit: Most tokens of an answer, at least 1.
        ends: Ids of end-of-sequence tokens, which are part of the answer.
        decided: Called with the index and the tokens of each row that is not finished; true leaves
            it there, partial.

    Returns:
        The rows that are to go on, in order.
    """
    guesses = [row.guessed(most, limit, ends) for row in rows]
    predicted = reader.read(
        [[*new, *guess] for new, guess in zip(unread, guesses, strict=True)],
        [len(guess) + 1 for guess in guesses],
    )
    stay, wrong = [], []
    for k, (row, guess) in enumerate(zip(rows, guesses, strict=True)):
        held = row.accept(guess, predicted[k])
        if row.tokens[-1] in ends or len(row.tokens) >= limit:
            continue
        if decided is not None and decided(row.index, row.tokens):
            row.partial = True
            continue
        row.line_up()
        stay.append(k)
        wrong.append(len(guess) - held)
    if stay:
        reader.retain(stay, wrong)
    return [rows[k] for k in stay]


def go_on(
    reader: Reader,
    rows: Sequence[Row],
    free: int,
    limit: int,
    ends: Collection[int],
    decided: Callable[[int, list[int]], bool] | None = None,
) -> list[Row]:
    """Take answers that have begun one forward pass further.

    See `advance` and `SHARE`, for which the first `free` rows do not count: padding so few of them
    costs little.
    """
    sizes = sorted((len(row.guessed(limit, limit, ends)) for row in rows), reverse=True)
    most = sizes[max(0, len(rows) - free - 1) // SHARE]
    return advance(reader, rows, [row.tokens[-1:] for row in rows], most, limit, ends, decided)
