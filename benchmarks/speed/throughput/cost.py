"""What a way to answer takes: time, forward passes, memory."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch


class Passes:
    """Forward passes of a model, weighted by the rows that take part."""

    passes = 0
    rows = 0  # of all these passes
    tokens = 0  # that they read, padding included
    wanted = 0  # positions at which they computed logits


@contextmanager
def count_passes(model: Any) -> Iterator[Passes]:
    """Count forward passes of a model of transformers within the block.

    Of an encoder-decoder the passes of the decoder count; the encoder works once per row in any
    way. Rows that are done but still computed, because others of their batch are not, count too.
    """
    counted = Passes()

    def count(module: Any, arguments: Any, named: dict[str, Any]) -> None:
        read = named.get("decoder_input_ids")
        rows, columns = (named["input_ids"] if read is None else read).shape
        counted.passes += 1
        counted.rows += rows
        counted.tokens += rows * columns

    def count_logits(module: Any, arguments: Any, output: torch.Tensor) -> None:
        counted.wanted += output.shape[:-1].numel()

    with (
        model.register_forward_pre_hook(count, with_kwargs=True),
        model.get_output_embeddings().register_forward_hook(count_logits),
    ):
        yield counted


class Memory:
    """Bytes held at the start of a `with` block, and most bytes within it; None: unknown."""

    before: int | None = None
    peak: int | None = None


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Memory]:
    """Measure the memory of a block.

    On CUDA what torch has allocated on the device; on Linux the resident set of the process,
    everything included; None elsewhere, or where the kernel does not let its peak be reset.
    """
    memory = Memory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        memory.before = torch.cuda.memory_allocated(device)
    elif device.type == "cpu":
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # sets the peak to what is held now
            memory.before = _resident("VmRSS")
    yield memory
    if device.type == "cuda":
        memory.peak = torch.cuda.max_memory_allocated(device)
    elif memory.before is not None:
        memory.peak = _resident("VmHWM")


def _resident(key: str) -> int:
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"^{key}:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise OSError(f"/proc/self/status has no {key}")
    return 1024 * int(found[1])


class Measured(NamedTuple):
    """One run of one way."""

    seconds: float  # wall-clock time
    passes: int  # forward passes, summed over rows
    memory_before: int | None  # see `Memory`
    memory_peak: int | None
    result: Any  # what the way returned


def measure(way: Callable[[], Any], model: Any) -> Measured:
    """Run a way once."""
    gc.collect()
    with count_passes(model) as passes, peak_memory(model.device) as memory:
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
