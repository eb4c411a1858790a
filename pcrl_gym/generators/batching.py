"""Batches of token rows: grouped by length within a memory budget, and padded."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

TOKEN_BUDGET = {"cpu": 8_192, "mps": 8_192, "cuda": 32_768}
"""Maximum padded tokens (rows times prompt and answer) of a batch; more would not be faster."""

READING_BUDGET = {"cpu": 1_024, "mps": 4_096, "cuda": 32_768}
"""The same for a pass over whole prompts, which is fastest within the CPU cache."""

RunBatch = Callable[[list[int]], None]

FREE_ROWS = {"cpu": 16, "mps": 64, "cuda": 512}
"""Number of short rows that add little time to a forward pass; measured only on a CPU."""


@dataclass(eq=False)
class Batcher:
    """Runs a function on rows in batches of similar length, halved when memory runs out."""

    batch_size: int | Literal["auto"]  # rows; "auto": as many as the token budget allows
    tokens: int  # the token budget, at least 1; see `token_budget`

    def run(
        self,
        sizes: Sequence[int],
        run: RunBatch,
        keys: Sequence[tuple[int, ...]] | None = None,
        groups: Sequence[tuple[int, ...]] | None = None,
        rows: Iterable[int] | None = None,
    ) -> None:
        """Call `run` on batches of indices into `sizes` until each index was in a successful batch.

        The longest rows go first, so that a device too small for them fails immediately. A batch
        that runs out of memory is halved and retried, and later batches are no larger.

        Args:
            sizes: Tokens of each row, answer included.
            run: Processes a batch.
            keys: Sort keys; rows with similar keys share a batch, largest first. `None` for sizes.
            groups: Only rows of the same group share a batch; `None` for a single group.
            rows: Indices of the rows to run; `None` for all.

        Raises:
            MemoryError: If a single row does not fit.

        Example:
            >>> Batcher(2, tokens=8192).run([3, 9, 4], print)
            [1, 2]
            [0]
        """
        keys = keys or [(size,) for size in sizes]
        groups = groups or [()] * len(sizes)
        chosen = range(len(sizes)) if rows is None else rows
        waiting = sorted(chosen, key=lambda i: (groups[i], keys[i]), reverse=True)
        while waiting:
            batch = self._take(waiting, sizes)
            batch = [i for i in batch if groups[i] == groups[batch[0]]]  # sorted: the first ones
            if _fits(batch, run):
                del waiting[: len(batch)]
            elif len(batch) == 1:
                raise MemoryError(f"one row of {sizes[batch[0]]} tokens does not fit into memory")
            elif self.batch_size == "auto":
                self.tokens = len(batch) // 2 * max(1, *(sizes[i] for i in batch))
            else:
                self.batch_size = len(batch) // 2

    def _take(self, waiting: list[int], sizes: Sequence[int]) -> list[int]:
        if self.batch_size != "auto":
            return waiting[: self.batch_size]
        longest = 1
        for n, i in enumerate(waiting):
            longest = max(longest, sizes[i])
            if n and (n + 1) * longest > self.tokens:
                return waiting[:n]
        return waiting[:]


def _fits(batch: list[int], run: RunBatch) -> bool:
    try:
        run(batch)
        return True
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # Only here, because the error keeps the tensors of its frames alive.
    gc.collect()
    torch.cuda.empty_cache()  # does nothing without a GPU
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on a GPU or on the CPU.

    Example:
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
        True
    """
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        # On the CPU, torch has no exception class for it.
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def token_budget(model: Any) -> int:
    """Return the maximum padded tokens of a batch: `TOKEN_BUDGET`, or less on a GPU.

    On a GPU, a batch may use half of the free memory: per token the cache of all layers, a dozen
    temporary hidden states, and float32 logits for a third of the tokens.
    """
    device = model.device
    budget = TOKEN_BUDGET.get(device.type, TOKEN_BUDGET["cpu"])
    if device.type != "cuda":
        return budget
    config = model.config.get_text_config()
    width: int = model.dtype.itemsize
    per_token: int = width * config.hidden_size * (2 * config.num_hidden_layers + 12)
    per_token += (width + 4) * config.vocab_size // 3
    free: int = torch.cuda.mem_get_info(device)[0]
    return max(1, min(budget, free // 2 // per_token))


def reading_budget(model: Any) -> int:
    """Return the maximum padded tokens, drafts included, of a batch of whole prompts.

    An encoder-decoder reads them in two passes, so its budget is twice that of one pass.
    """
    passes = 2 if model.config.is_encoder_decoder else 1
    budget = READING_BUDGET.get(model.device.type, READING_BUDGET["cpu"])
    return min(token_budget(model), passes * budget)


def gradient_budget(model: Any) -> int:
    """Return the maximum padded tokens of a batch of a causal model with a backward pass.

    On a GPU, a batch may use half of the free memory: per layer about a dozen hidden and four
    intermediate states.
    """
    budget = reading_budget(model)
    if model.device.type != "cuda":
        return budget
    config = model.config.get_text_config()
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    per_token: int = config.num_hidden_layers * (12 * config.hidden_size + 4 * inner)
    free: int = torch.cuda.mem_get_info(model.device)[0]
    width: int = model.dtype.itemsize
    return max(1, min(budget, free // 2 // (width * per_token)))


def pad_rows(
    rows: Sequence[Sequence[int]], pad_id: int, left: bool, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad one or more rows of token IDs on the left or right.

    Returns:
        Token IDs and attention mask, both int64 of shape (rows, longest).
    """
    sizes = torch.tensor([len(row) for row in rows])[:, None]
    columns = torch.arange(int(sizes.max()))
    mask = columns >= len(columns) - sizes if left else columns < sizes
    ids = torch.full(mask.shape, pad_id)
    ids[mask] = torch.tensor([token for row in rows for token in row], dtype=torch.int64)
    return ids.to(device), mask.long().to(device)
