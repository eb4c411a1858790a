"""How probable given answers are: one forward pass, no decoding."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .batching import pad_rows


def mean_log_likelihoods(
    model: Any,
    ids: Mapping[str, Any],
    rows: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
) -> list[float]:
    """Scores a batch of answers.

    Args:
        model: A causal or encoder-decoder model.
        ids: Its `pad_token_id` and, for an encoder-decoder, `decoder_start_token_id`.
        rows: The token ids of each prompt, at least one.
        targets: The token ids of each answer, at least one.

    Returns:
        Per row the mean natural-log probability of its answer's tokens.

    Raises:
        FloatingPointError: If a sum of log-probabilities is not finite.
    """
    pad, device, width = ids["pad_token_id"], model.device, max(map(len, targets))
    seq2seq = bool(model.config.is_encoder_decoder)
    labels, given = pad_rows(targets, pad, not seq2seq, device)
    inputs: dict[str, Any] = {}
    if seq2seq:
        input_ids, mask = pad_rows(rows, pad, False, device)
        start = labels.new_full((len(rows), 1), ids["decoder_start_token_id"])
        inputs["decoder_input_ids"] = torch.cat([start, labels[:, :-1]], dim=1)
    else:
        both = [[*row, *target] for row, target in zip(rows, targets, strict=True)]
        input_ids, mask = pad_rows(both, pad, True, device)
        takes = inspect.signature(model.forward).parameters
        if "position_ids" in takes:
            inputs["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)
        if "logits_to_keep" in takes:
            inputs["logits_to_keep"] = width + 1
    logits = model(input_ids=input_ids, attention_mask=mask, use_cache=False, **inputs).logits
    if not seq2seq:
        logits = logits[:, -width - 1 : -1]
    chosen = logits.float().log_softmax(dim=-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    # `where`, as a product would turn a NaN at a padded position into a NaN of the row.
    total = torch.where(given.bool(), chosen, 0.0).sum(dim=1)
    if not torch.isfinite(total).all():
        raise FloatingPointError("the log-probabilities are not finite")
    return [float(v) / len(t) for v, t in zip(total.tolist(), targets, strict=True)]
