"""Decodes many answers from drafts: read in small batches, completed in large ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pcrl_gym.generators.batching import FREE_ROWS, is_out_of_memory
from pcrl_gym.generators.speculative.drafts import DraftedAnswer, DraftLength, verify, verify_next
from pcrl_gym.generators.speculative.reader import Reader


class DraftDecoder:
    """Decodes the answers to some prompts.

    Prompts are read in batches that stay in the processor's cache; the few answers that their
    drafts do not complete are then continued together, so that a pass has many of them.

    Args:
        model: A model that can read drafts, see `batch_invariance.probe`.
        ids: Its control tokens, see `generation_config.control_ids`.
        prompts: Token ids of the prompts.
        drafts: Token ids of the drafts; only the last of each may be an end-of-sequence token.
        limit: Most tokens of an answer, at least 1.
        decided: See `drafts.verify`; its index counts the prompts.
        max_cached_tokens: With more tokens in their caches, unfinished answers are continued until
            there are half as many.

    Attributes:
        answers: The answers, in the order of the prompts.
        sizes: Per prompt its tokens and those of its draft.
        evicted: Prompts to read again, because memory ran out while they were completed.
    """

    def __init__(
        self,
        model: Any,
        ids: Mapping[str, Any],
        prompts: Sequence[Sequence[int]],
        drafts: Sequence[Sequence[int]],
        limit: int,
        decided: Callable[[int, list[int]], bool] | None,
        max_cached_tokens: int,
    ) -> None:
        self._model = model
        self._ids = ids
        self._prompts = prompts
        self._drafts = drafts
        self._limit = limit
        self._decided = decided
        self._max_cached_tokens = max_cached_tokens
        self._length = DraftLength(accepted=limit // 2)  # the first drafts are read as a whole
        self._free_rows = FREE_ROWS.get(model.device.type, FREE_ROWS["cpu"])
        self._waiting: list[tuple[Reader, list[DraftedAnswer]]] = []
        self.answers = [self._begin(i) for i in range(len(drafts))]
        self.sizes = [len(p) + len(d) for p, d in zip(prompts, drafts, strict=True)]
        self.evicted: list[int] = []

    def read(self, batch: Sequence[int]) -> None:
        """Read prompts with their drafts; answers that these do not complete wait."""
        reader, unfinished = self._read(batch)
        if unfinished:
            self._waiting.append((reader, unfinished))
        waiting = [answer for _, answers in self._waiting for answer in answers]
        if self._cached_tokens(waiting) > self._max_cached_tokens:
            # Passes with the last few answers would be nearly empty: these wait for others.
            self._continue(self._max_cached_tokens // 2)

    def read_alone(self, batch: Sequence[int]) -> None:
        """Read prompts and complete their answers, together with no others."""
        reader, unfinished = self._read(batch)
        while unfinished:
            unfinished = verify_next(reader, unfinished, self._free_rows, self._decided)

    def complete(self) -> None:
        """Complete the answers that wait."""
        self._continue(0)

    def _begin(self, i: int) -> DraftedAnswer:
        return DraftedAnswer(i, self._drafts[i], self._limit, self._ids["eos_token_id"] or ())

    def _read(self, batch: Sequence[int]) -> tuple[Reader, list[DraftedAnswer]]:
        answers = [self._begin(i) for i in batch]  # anew, in case memory ran out on them before
        unread = [self._prompts[i] for i in batch]
        pad = self._ids["pad_token_id"]
        if self._model.config.is_encoder_decoder:
            reader = Reader(self._model, pad, encoder_rows=unread)
            unread = [[self._ids["decoder_start_token_id"]]] * len(batch)
        else:
            reader = Reader(self._model, pad)
        unfinished = verify(reader, answers, unread, self._length.max_tokens, self._decided)
        for answer in answers:
            self.answers[answer.index] = answer
            self._length.update(answer.accepted, answer.rejected)
        return reader, unfinished

    def _continue(self, max_cached_tokens: int) -> None:
        """Continue the answers that wait until their caches have at most so many tokens."""
        if not self._waiting:
            return
        reader, *others = (reader for reader, _ in self._waiting)
        answers = [answer for _, more in self._waiting for answer in more]
        self._waiting = []
        try:
            reader.join(others)
            while self._cached_tokens(answers) > max_cached_tokens:
                answers = verify_next(reader, answers, self._free_rows, self._decided)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self.evicted += [answer.index for answer in answers]
            return
        if answers:
            self._waiting = [(reader, answers)]

    def _cached_tokens(self, answers: Sequence[DraftedAnswer]) -> int:
        return len(answers) * max((self.sizes[answer.index] for answer in answers), default=0)


def length_keys(
    prompts: Sequence[Sequence[int]], drafts: Sequence[Sequence[int]], encoder_decoder: bool
) -> list[tuple[int, ...]]:
    """Return keys by which rows of similar length are read in one batch; see `Batcher.run`.

    A causal model reads prompt and draft as one row, so their sum decides what is padded. A decoder
    is padded by itself, and drafts differ in length more than prompts do.
    """
    pairs = [(len(p), len(d)) for p, d in zip(prompts, drafts, strict=True)]
    return [(d // 8, p) if encoder_decoder else (p + d,) for p, d in pairs]
