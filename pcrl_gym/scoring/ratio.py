"""Compression ratio (in tokens) and drop rate (in units)."""

from __future__ import annotations

from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray


@overload
def compression_ratio(original: int, compressed: int, template: int) -> float: ...
@overload
def compression_ratio(
    original: NDArray[np.int64], compressed: NDArray[np.int64], template: NDArray[np.int64]
) -> NDArray[np.float64]: ...
def compression_ratio(
    original: ArrayLike, compressed: ArrayLike, template: ArrayLike
) -> float | NDArray[np.float64]:
    r"""Return the fraction of the user's tokens that was saved.

    $$ 1 - \frac{n' - f}{n - f} = \frac{n - n'}{n - f} $$

    The template's tokens are excluded, because no compressor can save them. After Jung and Kim,
    "Discrete Prompt Compression with Reinforcement Learning" (2023),
    https://arxiv.org/abs/2308.08758.

    Args:
        original: n, tokens of the original prompt: an integer or an integer array (batch,).
        compressed: n', tokens of the compressed prompt.
        template: f, tokens of the template's own text.

    Returns:
        A number, or float64 (batch,), at most 1; 0.0 where the user's part has no tokens
        (n <= f), negative where retokenizing made the prompt longer.

    Example:
        >>> compression_ratio(12, 8, 2), compression_ratio(4, 5, 2), compression_ratio(2, 1, 2)
        (0.4, -0.5, 0.0)
    """
    saved, payable = np.subtract(original, compressed), np.subtract(original, template)
    ratio = np.divide(saved, payable, out=np.zeros(np.shape(saved)), where=payable > 0)
    return ratio if np.ndim(saved) else float(ratio)


def drop_rate(droppable: ArrayLike, kept: ArrayLike) -> float:
    """Return the fraction of droppable units that was dropped, in [0, 1]; 0.0 if there are none.

    Both arguments are bool (n_units,); `kept` is True for protected units.

    Example:
        >>> drop_rate([False, True, True, True], [True, True, False, False])
        0.6666666666666666
    """
    total = np.count_nonzero(droppable)
    return float(np.sum(~np.asarray(kept, np.bool_)) / total) if total else 0.0
