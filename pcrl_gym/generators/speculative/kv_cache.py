"""The state of a model while it reads a batch: its KV cache and the mask of valid columns."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from itertools import islice, pairwise, takewhile
from typing import Any

import torch
from torch.nn.functional import pad
from transformers.cache_utils import DynamicLayer

from pcrl_gym.generators.batching import pad_rows
from pcrl_gym.generators.generation_config import refuse_nan
from pcrl_gym.generators.logits import logits_at

MIN_PREFIX, MIN_SAVED = 8, 64
"""Minimum tokens of a prefix that is read separately, and minimum tokens saved over all rows."""


class SharedPrefix:
    """Common prefix of all prompts of a causal model, read once and cached for each batch."""

    def __init__(self, model: Any, tokens: Sequence[int]) -> None:
        self.length = len(tokens)
        ids = torch.tensor([tokens], device=model.device)
        mask = torch.ones_like(ids)
        inputs = {"input_ids": ids, "attention_mask": mask, **positions(model, mask, len(tokens))}
        last = [[len(tokens) - 1]]
        self._cache = logits_at(model, last, ids.shape, **inputs, use_cache=True)[1].past_key_values

    @classmethod
    def of(cls, model: Any, rows: Sequence[list[int]]) -> SharedPrefix | None:
        """Read the common prefix of rows of token IDs; return None if it is too short to pay off.

        The prefix never includes the last token of a row.
        """
        first, last = min(rows, default=[]), max(rows, default=[])  # these two differ earliest
        length = common_length(first, last)
        worth_it = length >= MIN_PREFIX and (len(rows) - 1) * length >= MIN_SAVED
        return cls(model, first[:length]) if worth_it else None

    def cache(self, rows: int) -> Any:
        """Return a new cache in which the given number of rows have read the prefix."""
        cache = copy.deepcopy(self._cache)
        for layer in cache.layers:
            layer.keys = layer.keys.expand(rows, -1, -1, -1)
            layer.values = layer.values.expand(rows, -1, -1, -1)
        return cache


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the length of the common prefix of two rows, excluding the last token of either."""
    pairs = zip(a[:-1], b[:-1], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def prefix_groups(rows: Sequence[list[int]], sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Group rows so that each group fills a batch and its common prefix is as long as possible.

    The prefix tree of the rows is cut from its leaves: a node becomes a group as soon as its rows,
    minus their common prefix, fill the budget. The remaining rows share only the prefix of all
    rows. Masks that each drop one unit of a prompt, as in `agents.leave_one_out`, share half of the
    prompt on average.

    Args:
        rows: Token IDs of prompts.
        sizes: Tokens of each row with its answer.
        budget: Maximum padded tokens of a batch.

    Returns:
        Groups of row indices, each index in exactly one group.

    Example:
        >>> prefix_groups([[1] * 100 + [n, 9] for n in range(8)] + [[2, 9]], [104] * 8 + [4], 32)
        [[0, 1, 2, 3, 4, 5, 6, 7], [8]]
    """
    order = sorted(range(len(rows)), key=rows.__getitem__)
    shared = [common_length(rows[a], rows[b]) for a, b in pairwise(order)]
    base = common_length(rows[order[0]], rows[order[-1]]) if order else 0
    groups: list[list[int]] = []
    nodes: list[tuple[int, list[int]]] = [(0, [])]  # path from the root: prefix length and rows
    for row, length in zip(order, [*shared, 0], strict=False):
        if length > nodes[-1][0]:
            nodes.append((length, []))
        nodes[-1][1].append(row)
        while nodes[-1][0] > length:
            depth, members = nodes.pop()
            if nodes[-1][0] < length:
                nodes.append((length, []))
            longest = max(sizes[i] for i in members) - depth
            saved = sum(sizes[i] - base for i in members) - len(members) * longest - depth
            if (len(members) + 1) * longest > budget and saved >= MIN_SAVED:
                groups.append(members)
            else:
                nodes[-1][1].extend(members)
    return [*groups, nodes[0][1]] if nodes[0][1] else groups


class Reader:
    """Reads blocks of tokens, one per row, and removes wrong tokens from the cache again.

    Rows are aligned so that the last valid token of each is in the last column of the cache, with
    padding before its first token. New blocks then follow without a gap, as models with relative
    positions require. `unread` holds the tokens to read first: the prompts, without the `prefix` if
    it was read for all of them, or, after an encoder has read the prompts, the start of each
    answer.
    """

    def __init__(
        self,
        model: Any,
        control: Mapping[str, Any],
        prompts: Sequence[Sequence[int]],
        prefix: SharedPrefix | None = None,
    ) -> None:
        self._model = model
        self._pad_id = control["pad_token_id"]
        self._cache: Any = None
        self._mask = torch.zeros(0, dtype=torch.int64)  # of the cache, (rows, columns)
        # Hidden states of the prompts, (rows, columns, width), and their mask.
        self._encoded: tuple[torch.Tensor, torch.Tensor] | None = None
        self.unread = prompts
        if prefix is not None:
            self._cache = prefix.cache(len(prompts))
            self._mask = torch.ones((len(prompts), prefix.length), dtype=torch.int64)
            self._mask = self._mask.to(model.device)
            self.unread = [prompt[prefix.length :] for prompt in prompts]
        if model.config.is_encoder_decoder:
            ids, mask = pad_rows(prompts, self._pad_id, False, model.device)
            encoder = model.get_encoder()
            self._encoded = encoder(input_ids=ids, attention_mask=mask).last_hidden_state, mask
            self.unread = [[control["decoder_start_token_id"]]] * len(prompts)

    def read(self, blocks: Sequence[Sequence[int]], wanted: Sequence[int]) -> list[list[int]]:
        """Read a block per row; return the argmax tokens after its last `wanted` tokens.

        Raises:
            FloatingPointError: If one of these logits is NaN.
        """
        return self.best(self.logits(blocks, wanted), wanted)

    def best(self, logits: torch.Tensor, wanted: Sequence[int]) -> list[list[int]]:
        """Return the argmax tokens of the result of `logits`, one list per row; see `read`."""
        best, at = logits.max(dim=-1)
        refuse_nan(logits, best)
        tokens = iter(at.tolist())
        return [list(islice(tokens, count)) for count in wanted]

    def logits(self, blocks: Sequence[Sequence[int]], wanted: Sequence[int]) -> torch.Tensor:
        """Read as in `read`, but return the logits, (sum of `wanted`, vocabulary)."""
        first = self._cache is None
        ids, mask = pad_rows(blocks, self._pad_id, first, self._model.device)
        self._mask = mask if first else torch.cat([self._mask, mask], dim=1)
        # Left-padded blocks end in the last column, right-padded ones where they end.
        stops = [ids.shape[1] if first else len(block) for block in blocks]
        spans = [range(stop - n, stop) for stop, n in zip(stops, wanted, strict=True)]
        if self._encoded is not None:
            inputs = {
                "encoder_outputs": self._encoded[:1],
                "attention_mask": self._encoded[1],
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
        """Whether read tokens can be removed, i.e. the cache holds only plain keys and values.

        Sliding windows discard old tokens, and recurrent states cannot be undone.
        """
        return all(type(layer) is DynamicLayer for layer in self._own_cache.layers)

    @property
    def _own_cache(self) -> Any:
        return self._cache if self._encoded is None else self._cache.self_attention_cache

    def retain(self, rows: Sequence[int], wrong: Sequence[int]) -> None:
        """Continue with the given rows, removing `wrong` tokens from the end of each."""
        before, device = self._mask.shape, self._mask.device
        chosen, back = torch.tensor([rows, wrong], device=device)
        mask = self._mask[chosen]
        lengths = mask.sum(dim=1) - back
        ends = (mask * torch.arange(1, before[1] + 1, device=device)).amax(dim=1) - back
        if len(rows) == before[0] and bool((ends == before[1]).all()):
            return  # nothing to remove or to realign
        width = int(lengths.max())
        columns = ends[:, None] - width + torch.arange(width, device=device)
        self._mask = (columns >= (ends - lengths)[:, None]).long()
        place = (chosen[:, None], slice(None), columns.clamp(min=0))
        for layer in self._own_cache.layers:
            # Indexing on both sides of the head axis moves it to second-to-last: move it back.
            layer.keys = layer.keys[place].transpose(1, 2)
            layer.values = layer.values[place].transpose(1, 2)
        if self._encoded is not None:
            states, mask = self._encoded
            longest = int(mask[chosen].sum(dim=1).max())
            self._encoded = states[chosen, :longest], mask[chosen, :longest]
            for layer in self._cache.cross_attention_cache.layers:
                layer.keys = layer.keys[chosen, :, :longest]
                layer.values = layer.values[chosen, :, :longest]

    def join(self, others: Sequence[Reader]) -> None:
        """Append the rows of other readers of the same model; all must have called `retain`."""
        readers = [self, *others]
        masks = [reader._mask for reader in readers]
        width = max(mask.shape[1] for mask in masks)
        gaps = [(width - mask.shape[1], 0) for mask in masks]
        _join_layers([reader._own_cache for reader in readers], gaps)
        self._mask = torch.cat([pad(mask, gap) for mask, gap in zip(masks, gaps, strict=True)])
        encoded = [reader._encoded for reader in readers if reader._encoded is not None]
        if encoded:
            longest = max(mask.shape[1] for _, mask in encoded)
            gaps = [(0, longest - mask.shape[1]) for _, mask in encoded]
            _join_layers([reader._cache.cross_attention_cache for reader in readers], gaps)
            self._encoded = (
                torch.cat([pad(x, (0, 0, *g)) for (x, _), g in zip(encoded, gaps, strict=True)]),
                torch.cat([pad(mask, g) for (_, mask), g in zip(encoded, gaps, strict=True)]),
            )


def positions(model: Any, mask: torch.Tensor, last: int) -> dict[str, torch.Tensor]:
    """Return the `position_ids` of the last columns of a mask, if the causal model takes them."""
    if "position_ids" not in inspect.signature(type(model).forward).parameters:
        return {}
    return {"position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -last:]}


def _join_layers(caches: Sequence[Any], gaps: Sequence[tuple[int, int]]) -> None:
    """Stack the rows of caches in the first cache, each padded on both sides by its gap."""
    for layers in zip(*(cache.layers for cache in caches), strict=True):
        for name in ("keys", "values"):
            states = [
                pad(getattr(x, name), (0, 0, *gap)) for x, gap in zip(layers, gaps, strict=True)
            ]
            setattr(layers[0], name, torch.cat(states))
