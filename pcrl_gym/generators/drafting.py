"""Greedy decoding from a draft: one forward pass checks all of it, then goes on where it fails.

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

from .reader import Reader

UNALIGNED_GUESS = 4
"""Tokens guessed after one that the draft lacks: most such guesses are wrong."""


@dataclass
class Row:
    """An answer in the making.

    Attributes:
        draft: The token ids that it is expected to have.
        tokens: The token ids that it has.
        at: How many tokens of the draft are used up.
        guess: Which tokens of the draft are expected to come next.
        partial: Whether it was left unfinished because `decided` said so.
    """

    draft: Sequence[int]
    tokens: list[int] = field(default_factory=list)
    at: int = 0
    guess: slice = field(default_factory=lambda: slice(0, 0))
    partial: bool = False

    def guessed(self, limit: int, ends: Collection[int]) -> list[int]:
        """The guessed tokens to read: not the one that would end the answer, only predicted."""
        guess = list(self.draft[self.guess])[: limit - len(self.tokens)]
        whole = bool(guess) and (guess[-1] in ends or len(self.tokens) + len(guess) == limit)
        return guess[:-1] if whole else guess

    def accept(self, read: Sequence[int], predicted: Sequence[int]) -> int:
        """Takes over predictions as far as the guess holds, and the first that corrects it.

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
        return held

    def line_up(self) -> None:
        """Guesses how the answer goes on after its last token.

        If the rest of the draft has that token, what stands before it was left out. If not, it may
        stand in the place of another one.
        """
        rest = list(self.draft[self.at :])
        if self.tokens[-1] in rest:
            self.at += rest.index(self.tokens[-1]) + 1
            self.guess = slice(self.at, len(self.draft))
        else:
            self.guess = slice(self.at + 1, self.at + 1 + UNALIGNED_GUESS)


def decode(
    reader: Reader,
    prompts: Sequence[Sequence[int]],
    drafts: Sequence[Sequence[int]],
    limit: int,
    ends: Collection[int],
    decided: Callable[[int, list[int]], bool] | None = None,
) -> list[Row]:
    """Answers a batch of prompts greedily.

    Args:
        reader: A fresh reader of the model.
        prompts: Token ids that the answers follow (causal), or those of an empty answer.
        drafts: Per prompt the ids that its answer may have; empty if nothing is known.
        limit: Most tokens of an answer, at least 1.
        ends: Ids of end-of-sequence tokens, which are part of the answer.
        decided: Called with a row's index and its tokens so far, after every pass that does not
            finish it; true leaves it there, partial.

    Returns:
        The rows, in order.
    """
    rows = [Row(draft, guess=slice(0, len(draft))) for draft in drafts]
    going = list(range(len(rows)))
    unread = [list(prompt) for prompt in prompts]
    while going:
        guesses = [rows[i].guessed(limit, ends) for i in going]
        predicted = reader.read(
            [new + guess for new, guess in zip(unread, guesses, strict=True)],
            [len(guess) + 1 for guess in guesses],
        )
        stay, wrong = [], []
        for k, i in enumerate(going):
            row = rows[i]
            held = row.accept(guesses[k], predicted[k])
            if row.tokens[-1] in ends or len(row.tokens) >= limit:
                continue
            if decided is not None and decided(i, row.tokens):
                row.partial = True
                continue
            row.line_up()
            stay.append(k)
            wrong.append(len(guesses[k]) - held)
        going = [going[k] for k in stay]
        if going:
            reader.retain(stay, wrong)
        unread = [[rows[i].tokens[-1]] for i in going]
    return rows
