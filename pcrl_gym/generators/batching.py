"""Batches of token rows: grouped by length under a budget, and padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch

TOKEN_BUDGET = {"cpu": 8_192, "mps": 8_192, "cuda": 16_384}
"""Padded tokens (rows times prompt and answer) of one batch when `batch_size="auto"`.

By device type. On CPU more does not run faster; on CUDA the cache of a 7B model takes 8 GB.
"""


def length_batches(
    sizes: Sequence[int], batch_size: int | Literal["auto"], device_type: str
) -> Iterator[list[int]]:
    """Groups rows of similar size.

    Args:
        sizes: Tokens of each row, answer included.
        batch_size: Rows per batch, or "auto": as many as `TOKEN_BUDGET` allows, at least one.
        device_type: "cpu", "cuda" or "mps".

    Yields:
        Indices into `sizes`; each exactly once, the longest rows first, so that a device too small
        for them says so at once.

    Example:
        >>> list(length_batches([3, 9, 4], 2, "cpu"))
        [[1, 2], [0]]
    """
    order = sorted(range(len(sizes)), key=lambda i: -sizes[i])
    budget = TOKEN_BUDGET.get(device_type, TOKEN_BUDGET["cpu"])
    start = 0
    while start < len(order):
        rows = max(1, budget // max(1, sizes[order[start]])) if batch_size == "auto" else batch_size
        yield order[start : start + rows]
        start += rows


def pad_rows(
    rows: Sequence[Sequence[int]], pad_id: int, left: bool, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads rows to the longest.

    Args:
        rows: Token ids, at least one row.
        pad_id: Id to fill with; the mask hides it.
        left: Whether the padding stands before the row or after it.
        device: Where the tensors go.

    Returns:
        Ids and attention mask, both int64 of shape (rows, longest).
    """
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad_id, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, place] = torch.tensor(row, dtype=torch.int64)
        mask[i, place] = 1
    return ids.to(device), mask.to(device)
