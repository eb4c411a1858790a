"""Seeded training that leaves the process's global random state unchanged."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def isolated_random_state() -> Iterator[None]:
    """Restore the global random state of Python, NumPy, and torch, and cuDNN's flags, on exit.

    Stable-Baselines3 seeds all of these for the whole process, which must not affect the caller's
    own draws.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    cudnn = torch.backends.cudnn
    flags = cudnn.deterministic, cudnn.benchmark
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        cudnn.deterministic, cudnn.benchmark = flags


def update_seed(seed: int, update: int) -> int:
    """Return the seed of one training update, below 2**32.

    Every update has its own seed, so a resumed run needs no generator state.
    """
    return int(np.random.SeedSequence([seed, update]).generate_state(1)[0])
