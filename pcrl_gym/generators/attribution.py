"""What in a prompt an answer rests on, from gradients instead of a forward pass per word.

Each piece of a prompt has a gate g, 1 where it is read and 0 where it is dropped: what later tokens
attend to in it is weighted by g, that is `log g` is added to their attention scores. The derivative
of the answer's log-likelihood with respect to all gates of a prompt costs one forward and backward
pass. Where all words are read it says little, since each one's neighbors make up for it; averaged
over gates from 0 to 1, "integrated gradients" (Sundararajan et al. 2017, "Axiomatic Attribution for
Deep Networks", arXiv 1703.01365), it comes close to what dropping the piece does. Most happens near
0, so that a few gates there do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pcrl_gym.generators.batching import pad_rows
from pcrl_gym.generators.logits import logits_at
from pcrl_gym.generators.speculative.kv_cache import SharedPrefix, positions

GATES = (0.05, 0.2, 0.5)
"""Where the derivative is taken, with all gates of a prompt alike."""


def gate_slopes(
    model: Any,
    ids: Mapping[str, Any],
    rows: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    owners: Sequence[Sequence[int]],
    prefix: SharedPrefix | None = None,
) -> list[Tensor]:
    """Return how much likelier each piece of causal prompts makes the answers, in nats per token.

    Formula: the mean over `GATES` of `d log p / d g`, with p the geometric mean of the
    probabilities of an answer's tokens.

    Args:
        model: A causal model, outside of inference mode.
        ids: Its control tokens.
        rows: Token ids of prompts.
        targets: Token ids of their answers, none empty.
        owners: Per token of a prompt the number of the piece that it belongs to; negative: it is
            always read.
        prefix: What all rows begin with, if that has been read; no piece is in it.

    Returns:
        Per prompt float32 (pieces,).
    """
    start = prefix.length if prefix else 0
    blocks = [[*row[start:], *target[:-1]] for row, target in zip(rows, targets, strict=True)]
    tokens, valid = pad_rows(blocks, ids["pad_token_id"], False, model.device)
    batch, width = tokens.shape
    pieces = max((max(own, default=-1) for own in owners), default=-1) + 1
    # Tokens without a piece share a gate behind all others, which stays open.
    owner = torch.full((batch, width), pieces)
    for i, own in enumerate(owners):
        numbers = torch.tensor(own[start:])
        owner[i, : len(numbers)] = torch.where(numbers < 0, pieces, numbers)
    owner = owner.to(model.device)
    # Columns of the prefix and of the block; padding behind a row is read by padding alone.
    attended = torch.ones(width, start + width, dtype=torch.bool, device=model.device).tril(start)
    closed = torch.zeros(attended.shape, device=model.device).masked_fill(~attended, float("-inf"))
    itself = torch.eye(width, dtype=torch.bool, device=model.device)
    present = torch.cat([valid.new_ones(batch, start), valid], dim=1)
    places = positions(model, present, width)
    spans = [
        range(len(block) - len(target), len(block))
        for block, target in zip(blocks, targets, strict=True)
    ]
    wanted = torch.tensor([i for target in targets for i in target], device=model.device)
    lengths = [len(target) for target in targets]
    slopes = torch.zeros(batch, pieces + 1, device=model.device)
    for level in GATES:
        gates = torch.full_like(slopes, level)
        gates[:, pieces] = 1.0
        gates.requires_grad_()
        scores = gates.log().gather(1, owner)[:, None, :].masked_fill(itself, 0.0)
        mask = closed + torch.nn.functional.pad(scores, (start, 0))
        logits, _ = logits_at(
            model,
            spans,
            tokens.shape,
            input_ids=tokens,
            attention_mask=mask[:, None].to(model.dtype),
            past_key_values=prefix.cache(batch) if prefix else None,
            use_cache=prefix is not None,
            **places,
        )
        chosen = logits.float().log_softmax(-1).gather(-1, wanted[:, None]).squeeze(-1)
        torch.stack([part.mean() for part in chosen.split(lengths)]).sum().backward()
        if gates.grad is None or not torch.isfinite(gates.grad).all():
            raise FloatingPointError("the gradients are not finite")
        slopes += gates.grad / len(GATES)
    counts = [max(own, default=-1) + 1 for own in owners]
    return [row[:count] for row, count in zip(slopes, counts, strict=True)]
