"""Cost of answering: time, forward passes, memory."""

from __future__ import annotations

import inspect
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch


@contextmanager
def count_passes(model: Any) -> Iterator[SimpleNamespace]:
    """Count forward passes of a transformers model within the block.

    Yields the number of `passes`, the total `rows`, the `tokens` read (including padding), and the
    number of positions with logits as `wanted`. For an encoder-decoder, only passes of the decoder
    count, as the encoder runs once per row in any case. Finished rows that are still computed with
    their batch count too.
    """
    counted = SimpleNamespace(passes=0, rows=0, tokens=0, wanted=0)

    def count(module: Any, arguments: Any, named: dict[str, Any]) -> None:
        read = named.get("decoder_input_ids")
        read = named["input_ids"] if read is None else read
        counted.passes += 1
        counted.rows += len(read)
        counted.tokens += read.numel()

    def count_logits(module: Any, arguments: Any, output: torch.Tensor) -> None:
        counted.wanted += output.shape[:-1].numel()

    with (
        model.register_forward_pre_hook(count, with_kwargs=True),
        model.get_output_embeddings().register_forward_hook(count_logits),
    ):
        yield counted


class Measured(NamedTuple):
    """Measurement of one run of one way."""

    seconds: float
    passes: int  # forward passes, summed over rows
    memory: int | None  # peak bytes: of torch on CUDA, of the whole process on a CPU
    result: Any  # return value of the way


def measure(way: Callable[[], Any], model: Any) -> Measured:
    """Run a way once and measure it."""
    device = model.device

    def now() -> float:
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        return time.perf_counter()

    peak = _new_peak(device)
    with count_passes(model) as passes:
        began = now()
        result = way()
        seconds = now() - began
    return Measured(seconds, passes.rows, peak(), result)


def _new_peak(device: torch.device) -> Callable[[], int | None]:
    """Reset the peak memory to the current usage, and return a function that reads it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return partial(torch.cuda.max_memory_allocated, device)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or not permitted by the kernel
        return lambda: None
    status = Path("/proc/self/status")
    return lambda: 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0])


class TimedGenerator:
    """A `DraftingGenerator` that adds up the seconds `spent` in its methods, by method.

    Time of callbacks (whether a reward is decided) belongs to the environment and is listed only
    under "decided". `answered` holds drafts and answers of the latest `generate_from`.
    """

    def __init__(self, generator: Any, clock: Callable[[], float] = time.perf_counter) -> None:
        self._generator, self._clock = generator, clock
        self.spent: dict[str, float] = defaultdict(float)
        self.answered: list[tuple[Any, Any]] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._generator, name)
        return partial(self._timed, name, found) if inspect.ismethod(found) else found

    def generate_from(self, prompts: Any, drafts: Any, limit: int, decided: Any = None) -> Any:
        """Answer from drafts; see `DraftingGenerator.generate_from`."""
        if decided is not None:
            decided = partial(self._timed, "decided", decided)
        ask = self._generator.generate_from
        answers = self._timed("generate_from", ask, prompts, drafts, limit, decided)
        self.answered = list(zip(drafts, answers, strict=True))
        return answers

    def _timed(self, what: str, call: Callable[..., Any], *given: Any) -> Any:
        began, others = self._clock(), sum(self.spent.values())
        result = call(*given)
        # Time of callbacks has already been counted.
        self.spent[what] += self._clock() - began - (sum(self.spent.values()) - others)
        return result
