"""Verification of drafts: one forward pass checks a draft, the next continue where it fails.

The answer to a compressed prompt is often the answer to the original one. With that as the draft,
a pass over prompt and draft gives the arg-max token after each of its tokens; the longest prefix of
the draft that equals them is what decoding token by token would have written, and one token more
comes for free. Unfinished answers then continue with the rest of the draft where it aligns again. A
draft changes how many passes an answer takes, never its tokens. The idea is that of speculative
decoding (Leviathan et al. 2023, https://arxiv.org/abs/2211.17192), with a draft that is there
already.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from pcrl_gym.generators.speculative.kv_cache import Reader

ROWS_PER_LONG_PROPOSAL = 3
"""One row in three may have more proposed tokens than are read: rows are padded to one length."""


@dataclass
class DraftLength:
    """How far new drafts are read: twice the accepted tokens per draft with a rejected one so far.

    Example:
        >>> length = DraftLength(accepted=3)
        >>> length.max_tokens
        6
        >>> length.update(accepted=1, rejected=True)
        >>> length.max_tokens
        4
    """

    accepted: int  # begins with a number that is assumed
    rejected: int = 1

    @property
    def max_tokens(self) -> int:
        """Most tokens of a draft to read, at least 1 to notice when drafts become right."""
        return max(1, 2 * self.accepted // self.rejected)

    def update(self, accepted: int, rejected: bool) -> None:
        """Count a draft: its accepted tokens, and whether one was rejected."""
        self.accepted += accepted
        self.rejected += rejected


@dataclass
class DraftedAnswer:
    """The answer to one prompt, which is being decoded from a draft."""

    index: int  # of the prompt
    draft: Sequence[int]  # token ids that it is expected to have; only the last may end it
    limit: int  # most tokens, at least 1
    eos_ids: Collection[int]  # ids of end-of-sequence tokens, which are part of the answer
    tokens: list[int] = field(default_factory=list)  # token ids that it has
    position: int = 0  # how many tokens of the draft are used up
    proposal: slice = field(init=False)  # tokens of the draft that are expected next
    accepted: int = 0  # how many tokens of the last proposal that was read were right
    rejected: bool = False  # whether the next one of it was wrong
    partial: bool = False  # whether it was left unfinished because `decided` returned true

    def __post_init__(self) -> None:
        self.proposal = slice(0, len(self.draft))

    @property
    def complete(self) -> bool:
        """Whether it ends with an end-of-sequence token or at the limit."""
        return self.tokens[-1] in self.eos_ids or len(self.tokens) >= self.limit

    def proposed(self, max_tokens: int) -> list[int]:
        """Return at most so many proposed tokens to read, none that would complete the answer."""
        room = self.limit - len(self.tokens)
        tokens = list(self.draft[self.proposal])[: min(max_tokens, room)]
        whole = bool(tokens) and (tokens[-1] in self.eos_ids or len(tokens) == room)
        return tokens[:-1] if whole else tokens

    def accept(self, proposed: Sequence[int], predicted: Sequence[int]) -> int:
        """Append predictions while the proposal is right, and the next; return how many were right.

        Predicted are the arg-max tokens after `tokens` and after each proposed one.
        """
        wrong = (k for k, token in enumerate(proposed) if token != predicted[k])
        accepted = next(wrong, len(proposed))
        self.tokens += predicted[: accepted + 1]
        if accepted:
            self.position = self.proposal.start + accepted
        if proposed:
            self.accepted, self.rejected = accepted, accepted < len(proposed)
        return accepted

    def realign(self) -> None:
        """Propose how the answer continues after its last token.

        If the rest of the draft has that token, what stands before it was left out, and the
        proposal is one token more than twice what was accepted last. If not, the token may replace
        another one, and the proposal is as long as what was accepted. So a draft that has nothing
        to do with the answer is soon no longer read.
        """
        rest = list(self.draft[self.position :])
        if self.tokens[-1] in rest:
            self.position += rest.index(self.tokens[-1]) + 1
            self.proposal = slice(self.position, self.position + 2 * self.accepted + 1)
        else:
            self.proposal = slice(self.position + 1, self.position + 1 + self.accepted)


def verify(
    reader: Reader,
    answers: Sequence[DraftedAnswer],
    unread: Sequence[Sequence[int]],
    max_tokens: int,
    decided: Callable[[int, list[int]], bool] | None = None,
    read: Callable[..., list[list[int]]] | None = None,
) -> list[DraftedAnswer]:
    """Verify the proposals of a batch with one forward pass; return the answers that continue.

    Afterwards the reader is that of these. `unread` are per answer the token ids before its
    proposal that were not read yet. If `decided` is true for the index and the tokens of an
    incomplete answer, it is left partial. `read` reads in place of the reader's own method.
    """
    proposals = [answer.proposed(max_tokens) for answer in answers]
    predicted = (read or reader.read)(
        [[*new, *proposal] for new, proposal in zip(unread, proposals, strict=True)],
        [len(proposal) + 1 for proposal in proposals],
    )
    unfinished, rejected = [], []
    for k, (answer, proposal) in enumerate(zip(answers, proposals, strict=True)):
        accepted = answer.accept(proposal, predicted[k])
        if answer.complete:
            continue
        if decided is not None and decided(answer.index, answer.tokens):
            answer.partial = True
            continue
        answer.realign()
        unfinished.append(k)
        rejected.append(len(proposal) - accepted)
    if unfinished:
        reader.retain(unfinished, rejected)
    return [answers[k] for k in unfinished]


def verify_next(
    reader: Reader,
    answers: Sequence[DraftedAnswer],
    free_rows: int,
    decided: Callable[[int, list[int]], bool] | None = None,
) -> list[DraftedAnswer]:
    """Verify the next proposals of answers that have begun; see `verify`.

    The `free_rows` longest proposals do not count for `ROWS_PER_LONG_PROPOSAL`: padding so few rows
    costs little.
    """
    sizes = sorted((len(answer.proposed(answer.limit)) for answer in answers), reverse=True)
    max_tokens = sizes[max(0, len(answers) - free_rows - 1) // ROWS_PER_LONG_PROPOSAL]
    return verify(reader, answers, [a.tokens[-1:] for a in answers], max_tokens, decided)
