"""Verification of drafts: one forward pass checks a draft, the next ones continue where it fails.

The answer to a compressed prompt often equals the answer to the original one. With that as the
draft, a pass over prompt and draft gives the argmax token after each draft token. The longest
matching prefix of the draft is what token-by-token decoding would have produced, and one more token
comes for free. Unfinished answers then continue with the rest of the draft where it aligns again. A
draft changes the number of passes for an answer, never its tokens. This is speculative decoding
(Leviathan et al. 2023, https://arxiv.org/abs/2211.17192) with a draft that already exists.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from pcrl_gym.generators.speculative.kv_cache import Reader

ROWS_PER_LONG_PROPOSAL = 3
"""One row in three may propose more tokens than are read, since rows are padded to one length."""


@dataclass
class DraftLength:
    """Length up to which new drafts are read: twice the accepted tokens per rejected draft so far.

    Example:
        >>> length = DraftLength(accepted=3)
        >>> length.max_tokens
        6
        >>> length.update(accepted=1, rejected=True)
        >>> length.max_tokens
        4
    """

    accepted: int  # starts with an assumed value
    rejected: int = 1

    @property
    def max_tokens(self) -> int:
        """Maximum draft tokens to read, at least 1 to notice when drafts become correct."""
        return max(1, 2 * self.accepted // self.rejected)

    def update(self, accepted: int, rejected: bool) -> None:
        """Record a draft: its accepted tokens, and whether one was rejected."""
        self.accepted += accepted
        self.rejected += rejected


@dataclass
class DraftedAnswer:
    """The answer to one prompt, decoded from a draft."""

    index: int  # of the prompt
    draft: Sequence[int]  # expected token IDs; only the last may be an end-of-sequence token
    limit: int  # maximum tokens, at least 1
    eos_ids: Collection[int]  # IDs of end-of-sequence tokens, which are part of the answer
    tokens: list[int] = field(default_factory=list)  # token IDs so far
    position: int = 0  # number of draft tokens used up
    proposal: slice = field(init=False)  # draft tokens that are expected next
    accepted: int = 0  # number of correct tokens in the last proposal that was read
    rejected: bool = False  # whether the token after them was wrong
    partial: bool = False  # whether it was left unfinished because `decided` returned true

    def __post_init__(self) -> None:
        self.proposal = slice(0, len(self.draft))

    @property
    def complete(self) -> bool:
        """Whether the answer ends with an end-of-sequence token or at the limit."""
        return self.tokens[-1] in self.eos_ids or len(self.tokens) >= self.limit

    def proposed(self, max_tokens: int) -> list[int]:
        """Return up to `max_tokens` proposed tokens to read, none that completes the answer."""
        room = self.limit - len(self.tokens)
        tokens = list(self.draft[self.proposal])[: min(max_tokens, room)]
        whole = bool(tokens) and (tokens[-1] in self.eos_ids or len(tokens) == room)
        return tokens[:-1] if whole else tokens

    def accept(self, proposed: Sequence[int], predicted: Sequence[int]) -> int:
        """Append the correct proposed tokens and the next prediction; return the number correct.

        `predicted` holds the argmax tokens after `tokens` and after each proposed token.
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

        If the rest of the draft contains that token, the draft tokens before it were skipped, and
        the proposal is one token longer than twice the last accepted length. If not, the token may
        replace a draft token, and the proposal is as long as the last accepted length. This way, an
        unrelated draft is soon no longer read.
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

    Afterward, the reader holds only these answers. `unread` holds per answer the token IDs before
    its proposal that have not been read yet. If `decided` is true for the index and the tokens of
    an incomplete answer, it is left partial. `read` replaces the reader's own method.
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
    """Verify the next proposals of started answers; see `verify`.

    The `free_rows` longest proposals do not count toward `ROWS_PER_LONG_PROPOSAL`, because padding
    so few rows costs little.
    """
    sizes = sorted((len(answer.proposed(answer.limit)) for answer in answers), reverse=True)
    max_tokens = sizes[max(0, len(answers) - free_rows - 1) // ROWS_PER_LONG_PROPOSAL]
    return verify(reader, answers, [a.tokens[-1:] for a in answers], max_tokens, decided)
