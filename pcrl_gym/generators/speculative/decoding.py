"""Decoding of many answers from drafts, read in small batches and completed in large ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from pcrl_gym.generators.batching import FREE_ROWS, is_out_of_memory
from pcrl_gym.generators.logits import mean_log_likelihoods
from pcrl_gym.generators.speculative.drafts import DraftedAnswer, DraftLength, verify, verify_next
from pcrl_gym.generators.speculative.kv_cache import Reader, SharedPrefix


@dataclass(eq=False)
class DraftDecoder:
    """Decodes the answers to a set of prompts.

    Prompts are read in batches that fit the CPU cache. The few answers that their drafts do not
    complete are then continued together, so that each pass has many of them. If their caches hold
    more than `max_cached_tokens`, they are continued until half of that is left.
    """

    model: Any  # must be able to read drafts, see `batch_invariance.probe`
    ids: Mapping[str, Any]  # its control tokens, see `generation_config.control_ids`
    prompts: Sequence[Sequence[int]]  # token IDs
    drafts: Sequence[Sequence[int]]  # token IDs; only the last may be an end-of-sequence token
    limit: int  # maximum tokens of an answer, at least 1
    decided: Callable[[int, list[int]], bool] | None  # see `drafts.verify`, by index of the prompt
    max_cached_tokens: int
    prefix: SharedPrefix | None = None  # common prefix of all prompts
    scored: bool = False  # whether drafts are read as a whole and scored
    answers: dict[int, DraftedAnswer] = field(default_factory=dict, init=False)  # of read prompts
    # Mean log-probability of each nonempty draft given its prompt, in nats.
    scores: dict[int, float] = field(default_factory=dict, init=False)
    # Prompts to read again, because memory ran out while they were completed.
    evicted: list[int] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        # Tokens of each prompt with its draft.
        self.sizes = [len(p) + len(d) for p, d in zip(self.prompts, self.drafts, strict=True)]
        self._length = DraftLength(accepted=self.limit // 2)  # the first drafts are read as a whole
        self._free_rows = FREE_ROWS.get(self.model.device.type, FREE_ROWS["cpu"])
        self._waiting: list[tuple[Reader, list[DraftedAnswer]]] = []

    def read(self, batch: Sequence[int]) -> None:
        """Read prompts with their drafts and queue the answers that remain incomplete."""
        reader, unfinished = self._read(batch)
        if unfinished:
            self._waiting.append((reader, unfinished))
        waiting = [answer for _, answers in self._waiting for answer in answers]
        if self._cached_tokens(waiting) > self.max_cached_tokens:
            # Passes with the last few answers would be nearly empty, so these wait for others.
            self.complete(self.max_cached_tokens // 2)

    def read_alone(self, batch: Sequence[int]) -> None:
        """Read prompts and complete their answers without any others."""
        reader, unfinished = self._read(batch)
        while unfinished:
            unfinished = verify_next(reader, unfinished, self._free_rows, self.decided)

    def _read(self, batch: Sequence[int]) -> tuple[Reader, list[DraftedAnswer]]:
        # New answers, in case memory ran out on them before.
        eos = self.ids["eos_token_id"] or ()
        answers = [DraftedAnswer(i, self.drafts[i], self.limit, eos) for i in batch]
        reader = Reader(self.model, self.ids, [self.prompts[i] for i in batch], self.prefix)
        most = self.limit if self.scored else self._length.max_tokens
        read = partial(self._read_scored, reader, answers) if self.scored else None
        unfinished = verify(reader, answers, reader.unread, most, self.decided, read)
        for answer in answers:
            self.answers[answer.index] = answer
            self._length.update(answer.accepted, answer.rejected)
        return reader, unfinished

    def _read_scored(
        self,
        reader: Reader,
        answers: Sequence[DraftedAnswer],
        blocks: Sequence[Sequence[int]],
        wanted: Sequence[int],
    ) -> list[list[int]]:
        logits = reader.logits(blocks, wanted)
        scored = [(a, part) for a, part in zip(answers, logits.split(list(wanted)), strict=True)]
        scored = [(a, part[: len(a.draft)]) for a, part in scored if a.draft]
        if scored:
            drafts = [answer.draft for answer, _ in scored]
            values = mean_log_likelihoods(torch.cat([part for _, part in scored]), drafts)
            self.scores |= {a.index: v for (a, _), v in zip(scored, values, strict=True)}
        return reader.best(logits, wanted)

    def complete(self, max_cached_tokens: int = 0) -> None:
        """Continue queued answers until their caches hold at most `max_cached_tokens` tokens."""
        if not self._waiting:
            return
        reader, *others = (reader for reader, _ in self._waiting)
        answers = [answer for _, more in self._waiting for answer in more]
        self._waiting = []
        try:
            reader.join(others)
            while self._cached_tokens(answers) > max_cached_tokens:
                answers = verify_next(reader, answers, self._free_rows, self.decided)
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
    """Return keys that batch rows of similar length; see `Batcher.run`.

    A causal model reads prompt and draft as one row, so their total length determines the padding.
    In an encoder-decoder, the decoder is padded separately, and drafts vary in length more than
    prompts.
    """
    pairs = [(len(p), len(d)) for p, d in zip(prompts, drafts, strict=True)]
    return [(d // 8, p) if encoder_decoder else (p + d,) for p, d in pairs]
