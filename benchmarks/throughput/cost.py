"""What a way to answer takes: time, forward passes, memory."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


class PassCounter:
    """Counts forward passes of a model, weighted by the rows that take part.

    Of an encoder-decoder the passes of the decoder count; the encoder works once per row in any
    way. Rows that are done but still computed, because others of their batch are not, count too.

    Args:
        model: A model of transformers.

    Attributes:
        passes: Passes within the `with` blocks so far.
        rows: Rows of all these passes.
        tokens: Tokens that they read, padding included.
        wanted: Positions at which they computed logits.
    """

    def __init__(self, model: Any) -> None:
        self.passes = self.rows = self.tokens = self.wanted = 0
        self._model = model

    def __enter__(self) -> PassCounter:
        head = self._model.get_output_embeddings()
        self._hooks = (
            self._model.register_forward_pre_hook(self._count, with_kwargs=True),
            head.register_forward_hook(self._count_logits),
        )
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _count(self, module: Any, arguments: Any, named: dict[str, Any]) -> None:
        read = named.get("decoder_input_ids")
        rows, columns = (named["input_ids"] if read is None else read).shape
        self.passes += 1
        self.rows += rows
        self.tokens += rows * columns

    def _count_logits(self, module: Any, arguments: Any, output: torch.Tensor) -> None:
        self.wanted += output.shape[:-1].numel()


class PeakMemory:
    """Peak memory within a `with` block.

    On CUDA what torch has allocated on the device; on Linux the resident set of the process,
    everything included; `None` elsewhere, or where the kernel does not let its peak be reset.

    Args:
        device: The model's device.

    Attributes:
        before: Bytes at the start of the block.
        peak: Most bytes within it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.before: int | None = None
        self.peak: int | None = None

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self.before = torch.cuda.memory_allocated(self._device)
        elif self._device.type == "cpu":
            try:
                Path("/proc/self/clear_refs").write_text("5")  # sets the peak to what is held now
                self.before = _resident("VmRSS")
            except OSError:
                self.before = None
        return self

    def __exit__(self, *error: object) -> None:
        if self._device.type == "cuda":
            self.peak = torch.cuda.max_memory_allocated(self._device)
        elif self.before is not None:
            self.peak = _resident("VmHWM")


def _resident(key: str) -> int:
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"^{key}:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise OSError(f"/proc/self/status has no {key}")
    return 1024 * int(found[1])


@dataclass(frozen=True, eq=False)
class Measured:
    """One run of one way.

    Attributes:
        seconds: Wall-clock time.
        passes: Forward passes, summed over rows.
        memory_before: See `PeakMemory`.
        memory_peak: See `PeakMemory`.
        result: What the way returned.
    """

    seconds: float
    passes: int
    memory_before: int | None
    memory_peak: int | None
    result: Any


def measure(way: Callable[[], Any], model: Any) -> Measured:
    """Run a way once."""
    gc.collect()
    with PassCounter(model) as passes, PeakMemory(model.device) as memory:
        synchronize(model.device)
        began = time.perf_counter()
        result = way()
        synchronize(model.device)
        seconds = time.perf_counter() - began
    return Measured(seconds, passes.rows, memory.before, memory.peak, result)


def synchronize(device: torch.device) -> None:
    """Wait for a GPU to finish."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
