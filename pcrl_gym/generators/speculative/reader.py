"""A model in the middle of reading a batch: its cache, and what of it holds."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch.nn.functional import pad
from transformers.cache_utils import DynamicLayer

from pcrl_gym.generators.batching import pad_rows
from pcrl_gym.generators.logits import logits_at


class Reader:
    """Reads blocks of tokens, one per row, and takes back what should not have been read.

    Rows are kept so that each one's last valid token stands in the last column of the cache, with
    padding before its first: new blocks then follow without a gap, which models with relative
    positions need.

    Args:
        model: A model that can read drafts, see `batch_invariance.probe`.
        pad_id: Id to pad with; masks hide it.
        encoder_rows: For an encoder-decoder, the token ids of each prompt.
    """

    def __init__(
        self, model: Any, pad_id: int, encoder_rows: Sequence[Sequence[int]] | None = None
    ) -> None:
        self._model = model
        self._pad_id = pad_id
        self._cache: Any = None
        self._mask = self._lengths = self._ends = torch.zeros(0, dtype=torch.int64)
        # What an encoder made of the prompts, and which of it is padding.
        self._encoded: tuple[torch.Tensor, torch.Tensor] | None = None
        if encoder_rows is not None:
            ids, mask = pad_rows(encoder_rows, pad_id, False, model.device)
            encoder = model.get_encoder()
            states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            self._encoded = states, mask

    def read(self, blocks: Sequence[Sequence[int]], wanted: Sequence[int]) -> list[list[int]]:
        """Read one block per row.

        Args:
            blocks: Token ids, at least one per row.
            wanted: After how many of its last tokens each row's next token is wanted, at least 1.

        Returns:
            Per row the arg-max tokens that follow its last `wanted` tokens.

        Raises:
            FloatingPointError: If a logit that was looked at is NaN.
        """
        best, at = self.logits(blocks, wanted).max(dim=-1)
        if torch.isnan(best).any():
            raise FloatingPointError(
                "the model's logits are NaN; try dtype='float32', or check its weights"
            )
        tokens = iter(at.tolist())
        return [list(islice(tokens, count)) for count in wanted]

    def logits(self, blocks: Sequence[Sequence[int]], wanted: Sequence[int]) -> torch.Tensor:
        """Read like `read`; returns the logits themselves, (sum of `wanted`, vocabulary)."""
        first = self._cache is None
        ids, mask = pad_rows(blocks, self._pad_id, first, self._model.device)
        sizes = mask.sum(dim=1)
        if first:
            self._mask = mask
            self._lengths = sizes
            self._ends = torch.full_like(sizes, ids.shape[1])
        else:
            self._ends = self._mask.shape[1] + sizes
            self._lengths = self._lengths + sizes
            self._mask = torch.cat([self._mask, mask], dim=1)
        # Left-padded blocks end in the last column, right-padded ones where they end.
        stops = [ids.shape[1] if first else len(block) for block in blocks]
        spans = [range(stop - n, stop) for stop, n in zip(stops, wanted, strict=True)]
        if self._encoded is not None:
            states, encoder_mask = self._encoded
            inputs = {
                "encoder_outputs": (states,),
                "attention_mask": encoder_mask,
                "decoder_input_ids": ids,
                "decoder_attention_mask": self._mask,
            }
        else:
            inputs = {
                "input_ids": ids,
                "attention_mask": self._mask,
                **positions(self._model, self._mask, ids.shape[1]),
            }
        logits, output = logits_at(
            self._model, spans, ids.shape, **inputs, past_key_values=self._cache, use_cache=True
        )
        self._cache = output.past_key_values
        return logits

    @property
    def can_rewind(self) -> bool:
        """Whether what was read can be taken back: the cache is one of plain keys and values.

        Sliding windows drop what leaves them, and recurrent states cannot be undone.
        """
        cache = self._cache if self._encoded is None else self._cache.self_attention_cache
        return all(type(layer) is DynamicLayer for layer in cache.layers)

    def retain(self, rows: Sequence[int], wrong: Sequence[int]) -> None:
        """Continue with some of the rows only, without their last tokens.

        Args:
            rows: Which rows stay, in order.
            wrong: How many of the last tokens of each of these rows are taken back.
        """
        device = self._mask.device
        chosen = torch.tensor(rows, device=device)
        back = torch.tensor(wrong, device=device)
        lengths, ends = self._lengths[chosen] - back, self._ends[chosen] - back
        if len(rows) == len(self._ends) and bool((ends == self._mask.shape[1]).all()):
            return  # nothing to take back or to close up
        width = int(lengths.max())
        columns = ends[:, None] - width + torch.arange(width, device=device)
        self._mask = (columns >= (ends - lengths)[:, None]).long()
        self._lengths, self._ends = lengths, torch.full_like(lengths, width)
        place = (chosen[:, None], slice(None), columns.clamp(min=0))
        own = self._cache
        if self._encoded is not None:
            states, mask = self._encoded
            longest = int(mask[chosen].sum(dim=1).max())
            self._encoded = states[chosen, :longest], mask[chosen, :longest]
            for layer in own.cross_attention_cache.layers:
                layer.keys = layer.keys[chosen, :, :longest]
                layer.values = layer.values[chosen, :, :longest]
            own = own.self_attention_cache
        for layer in own.layers:
            # Indices on both sides of the heads put the heads last but one: move them back.
            layer.keys = layer.keys[place].transpose(1, 2)
            layer.values = layer.values[place].transpose(1, 2)

    def join(self, others: Sequence[Reader]) -> None:
        """Take over the rows of other readers of the model, after its own.

        Args:
            others: Readers after `retain`, like this one; they are used up.
        """
        readers = [self, *others]
        width = max(reader._mask.shape[1] for reader in readers)
        gaps = [width - reader._mask.shape[1] for reader in readers]
        self._mask = torch.cat([pad(r._mask, (g, 0)) for r, g in zip(readers, gaps, strict=True)])
        self._lengths = torch.cat([reader._lengths for reader in readers])
        self._ends = torch.full_like(self._lengths, width)
        caches = [reader._cache for reader in readers]
        if self._encoded is not None:
            encoded = [reader._encoded for reader in readers if reader._encoded is not None]
            longest = max(mask.shape[1] for _, mask in encoded)
            behind = [longest - mask.shape[1] for _, mask in encoded]
            pairs = list(zip(encoded, behind, strict=True))
            self._encoded = (
                torch.cat([pad(states, (0, 0, 0, gap)) for (states, _), gap in pairs]),
                torch.cat([pad(mask, (0, gap)) for (_, mask), gap in pairs]),
            )
            crossed = [cache.cross_attention_cache for cache in caches]
            _join_layers(crossed, [(0, gap) for gap in behind])
            caches = [cache.self_attention_cache for cache in caches]
        _join_layers(caches, [(gap, 0) for gap in gaps])


def positions(model: Any, mask: torch.Tensor, last: int) -> dict[str, torch.Tensor]:
    """Return the `position_ids` of the last columns, if the model takes any.

    Args:
        model: A causal model.
        mask: Attention mask of all columns, (rows, columns).
        last: How many columns are read.
    """
    if "position_ids" not in inspect.signature(type(model).forward).parameters:
        return {}
    return {"position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -last:]}


def _join_layers(caches: Sequence[Any], gaps: Sequence[tuple[int, int]]) -> None:
    """Stack the rows of caches in the first one, each padded before and behind."""
    for layers in zip(*(cache.layers for cache in caches), strict=True):
        for name in ("keys", "values"):
            states = [
                pad(getattr(x, name), (0, 0, *gap)) for x, gap in zip(layers, gaps, strict=True)
            ]
            setattr(layers[0], name, torch.cat(states))
