"""Batched sampling from a causal model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

TEMPERATURE, TOP_K, TOP_P = 0.8, 100, 0.95
"""Sampling parameters; at temperature 1.0, the texts of a small model become incoherent."""


@torch.inference_mode()
def sample(
    model: Any, prompts: Sequence[Sequence[int]], limit: int, seed: int
) -> list[tuple[list[int], bool]]:
    """Continue prompts (token IDs) by up to `limit` tokens, sampled with the constants above.

    Finished rows leave the batch, unlike in `generate` of transformers, because most texts here
    have about 30 tokens and only a few reach the limit.

    Returns:
        Per prompt the new IDs without the end-of-sequence token, and whether there was one.
    """
    draws = torch.Generator().manual_seed(seed)
    end, width = model.config.eos_token_id, max(map(len, prompts))
    ids = torch.tensor([[end] * (width - len(own)) + list(own) for own in prompts])
    mask = torch.tensor([[0] * (width - len(own)) + [1] * len(own) for own in prompts])
    found: list[list[int]] = [[] for _ in prompts]
    ended, rows, cache = [False] * len(prompts), torch.arange(len(prompts)), None
    for _ in range(limit):
        position = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        read = model.model(ids, attention_mask=mask, position_ids=position, past_key_values=cache)
        cache = read.past_key_values
        # Only the last column, as a 2D tensor, because strided bfloat16 is slow (torch 2.13).
        best = model.lm_head(read.last_hidden_state[:, -1]).float().topk(TOP_K)
        shares = (best.values / TEMPERATURE).softmax(dim=-1)
        shares[shares.cumsum(dim=-1) - shares > TOP_P] = 0.0
        drawn = best.indices.gather(1, shares.multinomial(1, generator=draws))
        going = drawn[:, 0] != end
        for row, token, goes in zip(
            rows.tolist(), drawn[:, 0].tolist(), going.tolist(), strict=True
        ):
            ended[row] = not goes
            found[row] += [token] * goes
        if not going.any():
            break
        rows, ids = rows[going], drawn[going]
        mask = torch.cat([mask[going], mask.new_ones(len(rows), 1)], dim=1)
        cache.batch_select_indices(going.nonzero()[:, 0])
    return list(zip(found, ended, strict=True))
