"""Logits at selected positions of a forward pass; the model's head processes only these."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class _Positions:
    """Rows and columns of the requested logits, and whether the head received only these."""

    rows: torch.Tensor
    columns: torch.Tensor
    shape: torch.Size
    gathered: bool = False


# Per thread, because several threads may use one model.
_positions: ContextVar[_Positions | None] = ContextVar("_positions", default=None)


def logits_at(
    model: Any, positions: Sequence[Sequence[int]], shape: torch.Size, **inputs: Any
) -> tuple[torch.Tensor, Any]:
    """Run a forward pass and return the logits at the given positions.

    The hidden states at these positions enter the head as one contiguous matrix, so that no logits
    are computed for padding and prompts. Operations of the model on its logits after the head
    (scaling, soft caps, biases) still apply. `positions` holds columns per row, and `shape` is the
    shape of the input (for an encoder-decoder, of the decoder input).

    Returns:
        The logits, (positions, vocabulary) in the order of the rows, and the model's output.
    """
    device = model.device
    wanted = _Positions(
        torch.tensor([i for i, row in enumerate(positions) for _ in row], device=device),
        torch.tensor([column for row in positions for column in row], device=device),
        shape,
    )
    head = model.get_output_embeddings()
    if head is not None and _gather not in head._forward_pre_hooks.values():
        head.register_forward_pre_hook(_gather)
    token = _positions.set(wanted)
    try:
        output = model(**inputs)
    finally:
        _positions.reset(token)
    place = 0 if wanted.gathered else (wanted.rows, wanted.columns)
    return output.logits[place], output


def _gather(head: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Pass only the requested hidden states to the head (a forward pre-hook)."""
    wanted = _positions.get()
    if wanted is None or not inputs or inputs[0].shape[:-1] != wanted.shape:
        return None
    hidden, *others = inputs
    wanted.gathered = True
    place = wanted.rows.to(hidden.device), wanted.columns.to(hidden.device)
    return hidden[place][None], *others


def mean_log_likelihoods(logits: torch.Tensor, targets: Sequence[Sequence[int]]) -> list[float]:
    """Return per answer the mean natural-log probability of its tokens, at most 0.

    The logits, (tokens, vocabulary), predict each token of all answers.

    Raises:
        FloatingPointError: If a sum of log-probabilities is not finite.
    """
    sums = torch.stack([part.sum() for part in token_log_likelihoods(logits, targets)])
    if not torch.isfinite(sums).all():
        raise FloatingPointError("the log-probabilities are not finite")
    return [total / len(t) for total, t in zip(sums.tolist(), targets, strict=True)]


def token_log_likelihoods(
    logits: torch.Tensor, targets: Sequence[Sequence[int]]
) -> list[torch.Tensor]:
    """Return per answer the natural-log probabilities of its tokens, float32 (tokens,).

    The logits, (tokens, vocabulary), predict each token of all answers.
    """
    tokens = torch.tensor([i for target in targets for i in target], device=logits.device)
    chosen = logits.float().log_softmax(dim=-1).gather(-1, tokens[:, None]).squeeze(-1)
    return list(chosen.split([len(target) for target in targets]))
