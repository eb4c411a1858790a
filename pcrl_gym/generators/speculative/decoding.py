"""Answers many prompts from drafts: read in small batches, completed in large ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from pcrl_gym.generators.batching import FREE_ROWS, is_out_of_memory
from pcrl_gym.generators.speculative.drafts import Row, Trust, advance, go_on
from pcrl_gym.generators.speculative.reader import Reader


class DraftRun:
    """The answers to some prompts, in the making.

    Prompts are read in batches that stay in the processor's cache; the few answers that their
    drafts do not complete then go on together, so that a pass has many of them.

    Args:
        model: A model that can read drafts, see `trial.try_out`.
        ids: Its `pad_token_id` and, for an encoder-decoder, `decoder_start_token_id`.
        prompts: Token ids of the prompts.
        drafts: Token ids of the drafts; only the last of each may be one of `ends`.
        limit: Most tokens of an answer, at least 1.
        ends: Ids of end-of-sequence tokens.
        decided: See `drafting.advance`; its index counts the prompts.
        most_tokens: From how many tokens in their caches on answers that wait go on together, until
            there are half as many.

    Attributes:
        rows: The answers, in the order of the prompts.
        sizes: Per prompt its tokens and those of its draft.
        alike: What the prompts of a batch should have in common; see `Batcher.run`.
        lost: Prompts that have to be read again, because memory ran out while they were completed.
    """

    def __init__(
        self,
        model: Any,
        ids: Mapping[str, Any],
        prompts: Sequence[Sequence[int]],
        drafts: Sequence[Sequence[int]],
        limit: int,
        ends: Collection[int],
        decided: Callable[[int, list[int]], bool],
        most_tokens: int,
    ) -> None:
        self._model = model
        self._ids = ids
        self._prompts = prompts
        self._limit = limit
        self._ends = ends
        self._decided = decided
        self._most_tokens = most_tokens
        self._trust = Trust(held=limit // 2)  # the first drafts are read as a whole
        self._free = FREE_ROWS.get(model.device.type, FREE_ROWS["cpu"])
        self._waiting: list[tuple[Reader, list[Row]]] = []
        self.rows = [Row(i, draft) for i, draft in enumerate(drafts)]
        self.sizes = [len(p) + len(d) for p, d in zip(prompts, drafts, strict=True)]
        self.alike = likeness(prompts, drafts, model.config.is_encoder_decoder)
        self.lost: list[int] = []

    def read(self, batch: Sequence[int]) -> None:
        """Read prompts with their drafts; answers that these do not complete wait."""
        reader, going = self._first_pass(batch)
        if going:
            self._waiting.append((reader, going))
        waiting = [row for _, rows in self._waiting for row in rows]
        if self._cached(waiting) > self._most_tokens:
            # The last ones would leave passes nearly empty: they wait for others.
            self._go_on(self._most_tokens // 2)

    def complete(self) -> None:
        """Complete the answers that wait."""
        self._go_on(0)

    def _go_on(self, most: int) -> None:
        """Go on with the answers that wait, until their caches have at most so many tokens."""
        if not self._waiting:
            return
        (reader, first), *others = self._waiting
        self._waiting = []
        rows = [*first, *(row for _, more in others for row in more)]
        try:
            reader.join([other for other, _ in others])
            while self._cached(rows) > most:
                rows = go_on(reader, rows, self._free, self._limit, self._ends, self._decided)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self.lost += [row.index for row in rows]
            return
        if rows:
            self._waiting = [(reader, rows)]

    def _cached(self, rows: Sequence[Row]) -> int:
        return len(rows) * max((self.sizes[row.index] for row in rows), default=0)

    def read_alone(self, batch: Sequence[int]) -> None:
        """Read prompts and completes their answers, together with no others."""
        reader, going = self._first_pass(batch)
        while going:
            going = go_on(reader, going, self._free, self._limit, self._ends, self._decided)

    def _first_pass(self, batch: Sequence[int]) -> tuple[Reader, list[Row]]:
        # Begun anew: a batch that ran out of memory comes again.
        rows = [Row(i, self.rows[i].draft) for i in batch]
        unread = [self._prompts[i] for i in batch]
        if self._model.config.is_encoder_decoder:
            reader = Reader(self._model, self._ids["pad_token_id"], encoder_rows=unread)
            unread = [[self._ids["decoder_start_token_id"]]] * len(batch)
        else:
            reader = Reader(self._model, self._ids["pad_token_id"])
        going = advance(
            reader, rows, unread, self._trust.reach, self._limit, self._ends, self._decided
        )
        for row in rows:
            self.rows[row.index] = row
            self._trust.learn(row.held, row.wrong)
        return reader, going


def likeness(
    prompts: Sequence[Sequence[int]], drafts: Sequence[Sequence[int]], encoder_decoder: bool
) -> list[tuple[int, ...]]:
    """Return what rows should have in common to be read in one batch; see `Batcher.run`.

    A causal model reads prompt and draft as one row, so their sum decides what is padded. A decoder
    is padded by itself, and drafts differ in length more than prompts do.
    """
    pairs = [(len(p), len(d)) for p, d in zip(prompts, drafts, strict=True)]
    return [(d // 8, p) if encoder_decoder else (p + d,) for p, d in pairs]
