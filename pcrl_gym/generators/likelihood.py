"""Likelihood of given answers, with one forward pass and no decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from pcrl_gym.generators.batching import pad_rows
from pcrl_gym.generators.logits import logits_at
from pcrl_gym.generators.speculative.kv_cache import Reader, SharedPrefix, positions


def answer_logits(
    model: Any,
    ids: Mapping[str, Any],
    rows: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    prefix: SharedPrefix | None = None,
) -> torch.Tensor:
    """Compute the logits of answers (`targets`) to prompts (`rows`) with one forward pass.

    A shared `prefix` that has been read is not read again.

    Returns:
        The logits that predict each answer token, (tokens of all answers, vocabulary).
    """
    if prefix is not None:
        reader = Reader(model, ids, rows, prefix)
        blocks = [[*row, *target[:-1]] for row, target in zip(reader.unread, targets, strict=True)]
        return reader.logits(blocks, [len(target) for target in targets])
    spans, shape, inputs = answer_inputs(model, ids, rows, targets)
    return logits_at(model, spans, shape, **inputs, use_cache=False)[0]


def answer_inputs(
    model: Any,
    ids: Mapping[str, Any],
    rows: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
) -> tuple[list[range], torch.Size, dict[str, Any]]:
    """Return the columns, shape, and inputs that `answer_logits` passes to `logits_at`."""
    pad, device = ids["pad_token_id"], model.device
    if model.config.is_encoder_decoder:
        input_ids, mask = pad_rows(rows, pad, False, device)
        read = [[ids["decoder_start_token_id"], *target[:-1]] for target in targets]
        shifted, _ = pad_rows(read, pad, False, device)
        inputs = {"decoder_input_ids": shifted}
        spans = [range(len(target)) for target in targets]
    else:
        # The last token of an answer is predicted, not read.
        read = [[*row, *target[:-1]] for row, target in zip(rows, targets, strict=True)]
        input_ids, mask = pad_rows(read, pad, True, device)
        shifted, width = input_ids, input_ids.shape[1]
        inputs = positions(model, mask, width)
        spans = [range(width - len(target), width) for target in targets]
    return spans, shifted.shape, {"input_ids": input_ids, "attention_mask": mask, **inputs}
