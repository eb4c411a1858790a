"""Attribution of an answer to pieces of its prompt, by gradients instead of a pass per word.

Each piece of a prompt has a gate g, 1 if it is read and near 0 if it is dropped: the attention of
later tokens to the piece is weighted by g, i.e. `log g` is added to their attention scores. The
derivative of the answer's log-likelihood with respect to all gates of a prompt takes one forward
and backward pass. With all gates at 1 it is not informative, because neighboring words compensate.
Averaging over gates between 0 and 1 is the idea of "integrated gradients" (Sundararajan et al.
2017, "Axiomatic Attribution for Deep Networks", arXiv 1703.01365). Here, the mean is over a few
small gates, where most of the change happens: it ranks words much like dropping each one does, but
on another scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pcrl_gym.generators.base import check_pairs
from pcrl_gym.generators.batching import pad_rows
from pcrl_gym.generators.logits import logits_at, token_log_likelihoods
from pcrl_gym.generators.speculative.kv_cache import SharedPrefix, positions

GATES = (0.05, 0.2, 0.5)
"""Default gates at which derivatives are taken, the same for all pieces of a prompt."""


def gate_slopes(
    model: Any,
    ids: Mapping[str, Any],
    rows: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    owners: Sequence[Sequence[int]],
    gates: Sequence[Sequence[float] | NDArray[np.float64]],
    prefix: SharedPrefix | None = None,
) -> list[Tensor]:
    """Return how much each piece of a prompt raises the answer's log-likelihood, in nats per token.

    Formula: `d log p / d g`, with p the geometric mean of the probabilities of the answer's tokens.

    Args:
        model: A causal model, outside of inference mode.
        ids: Its control tokens.
        rows: Token IDs of the prompts.
        targets: Token IDs of the answers, none empty.
        owners: Per prompt token the index of its piece; negative for tokens that are always read.
        gates: Per piece the gate at which the derivative is taken, above 0.
        prefix: Common prefix of all rows, if it has been read; it contains no piece.

    Returns:
        Per prompt float32 (pieces,).

    Raises:
        FloatingPointError: If a derivative is not finite.
    """
    start = prefix.length if prefix else 0
    blocks = [[*row[start:], *target[:-1]] for row, target in zip(rows, targets, strict=True)]
    tokens, valid = pad_rows(blocks, ids["pad_token_id"], False, model.device)
    batch, width = tokens.shape
    pieces = max(map(len, gates))
    # Tokens without a piece share an extra last gate, which stays open.
    opened = torch.ones(batch, pieces + 1)
    owner = torch.full((batch, width), pieces)
    for i, (own, values) in enumerate(zip(owners, gates, strict=True)):
        opened[i, : len(values)] = torch.as_tensor(values)
        numbers = torch.tensor(own[start:])
        owner[i, : len(numbers)] = torch.where(numbers < 0, pieces, numbers)
    opened = opened.to(model.device).requires_grad_()
    # Columns of the prefix and of the block; padding after a row is attended only by padding.
    attended = torch.ones(width, start + width, dtype=torch.bool, device=model.device).tril(start)
    closed = torch.zeros(attended.shape, device=model.device).masked_fill(~attended, float("-inf"))
    itself = torch.eye(width, dtype=torch.bool, device=model.device)
    scores = opened.log().gather(1, owner.to(model.device))[:, None, :].masked_fill(itself, 0.0)
    mask = closed + torch.nn.functional.pad(scores, (start, 0))
    lengths = [len(target) for target in targets]
    logits, _ = logits_at(
        model,
        [range(len(b) - n, len(b)) for b, n in zip(blocks, lengths, strict=True)],
        tokens.shape,
        input_ids=tokens,
        attention_mask=mask[:, None].to(model.dtype),
        past_key_values=prefix.cache(batch) if prefix else None,
        use_cache=prefix is not None,
        **positions(model, torch.cat([valid.new_ones(batch, start), valid], dim=1), width),
    )
    torch.stack([part.mean() for part in token_log_likelihoods(logits, targets)]).sum().backward()
    slopes = opened.grad
    if slopes is None or not torch.isfinite(slopes).all():
        raise FloatingPointError("the gradients are not finite")
    return [row[: len(values)] for row, values in zip(slopes, gates, strict=True)]


def with_neighbors(values: NDArray[np.float64], owners: Sequence[int]) -> NDArray[np.float64]:
    """Assign to pieces in which no token begins the value of the piece where their token begins.

    Example:
        >>> with_neighbors(np.array([0.0, 2.0, 0.0, 3.0]), owners=[-1, 1, 1, 3])
        array([0., 2., 2., 3.])
    """
    begun = np.isin(np.arange(len(values)), owners)
    last = np.maximum.accumulate(np.where(begun, np.arange(len(values)), -1))
    return np.where(last >= 0, values[last], 0.0) if len(values) else values


def check_pieces(
    prompts: Sequence[str],
    pieces: Sequence[Sequence[tuple[int, int]]],
    gates: Sequence[Sequence[float] | NDArray[np.float64]] | None,
) -> None:
    """Raise a `ValueError` if pieces do not match their prompts or gates their pieces."""
    check_pairs("list of pieces", pieces, prompts)
    for prompt, own in zip(prompts, pieces, strict=True):
        borders = [border for piece in own for border in piece]
        if borders != sorted(borders) or (
            own and not 0 <= borders[0] <= borders[-1] <= len(prompt)
        ):
            raise ValueError(
                "expected sorted, non-overlapping pieces within the "
                f"{len(prompt)} characters of the prompt, got {list(own)}"
            )
    if gates is None:
        return
    check_pairs("array of gates", gates, prompts)
    for own, values in zip(pieces, gates, strict=True):
        array = np.asarray(values, np.float64)
        if array.shape != (len(own),) or not (np.isfinite(array) & (array > 0)).all():
            raise ValueError(
                f"expected one finite gate above 0 for each of {len(own)} pieces, got {array}"
            )
