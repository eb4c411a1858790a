"""Statistical tests that bound the share of lost answers."""

from __future__ import annotations

import math
from collections.abc import Iterable

_ROUNDING = 1e-9


def p_value(lost: int, prompts: int, risk: float) -> float:
    """Return the probability of at most `lost` lost answers if the true share is `risk`.

    Formula: `P(X <= lost)` for a binomial X with `prompts` draws and probability `risk`. It is
    lower for larger shares, so a value of at most `1 - c` rejects "more than `risk` are lost" with
    confidence c. This is the exact one-sided test: it passes if and only if the upper limit of
    Clopper and Pearson (1934), https://doi.org/10.1093/biomet/26.4.404, is at most `risk`.

    Args:
        lost: Number of prompts whose answer is lost, 0 to `prompts`.
        prompts: Number of independently drawn prompts, at least 1.
        risk: Share of lost answers, above 0 and below 1.

    Example:
        >>> p_value(0, 2, 0.5), round(p_value(1, 2, 0.5), 12)
        (0.25, 0.75)
    """
    log_risk, log_rest = math.log(risk), math.log1p(-risk)
    ways = math.lgamma(prompts + 1)
    terms = (
        math.exp(
            ways
            - math.lgamma(k + 1)
            - math.lgamma(prompts - k + 1)
            + k * log_risk
            + (prompts - k) * log_rest
        )
        for k in range(lost + 1)
    )
    return min(1.0, math.fsum(terms))


def prompts_needed(risk: float, confidence: float) -> int:
    """Return the minimum number of prompts that can show a risk, if no answer is lost.

    Formula: the smallest n with `(1 - risk)^n <= 1 - confidence`; both are above 0 and below 1.

    Example:
        >>> prompts_needed(0.05, 0.95)
        59
    """
    return math.ceil(math.log1p(-confidence) / math.log1p(-risk) - _ROUNDING)


def strongest_safe(
    losses: Iterable[tuple[float, int]], prompts: int, risk: float, confidence: float
) -> tuple[float, int] | None:
    """Return the strongest setting that loses at most a share `risk`, with a given confidence.

    Settings are tested in the given order by `p_value` up to the first that fails. A setting that
    loses more is then returned with a probability of at most `1 - confidence`, regardless of the
    number of settings (fixed-sequence testing in "Learn then Test", Angelopoulos et al. 2021,
    https://arxiv.org/abs/2110.01052). The order must not depend on the prompts.

    Args:
        losses: Pairs of a setting and its number of lost answers, from the weakest to the strongest
            setting. They are read only as far as needed.
        prompts: Number of prompts, which are the same for every setting.
        risk: Accepted share of lost answers, above 0 and below 1.
        confidence: Confidence of the test, above 0 and below 1.

    Returns:
        The last setting that passed and its lost answers, or None if the first one fails.

    Example:
        >>> strongest_safe([(0.1, 0), (0.2, 1), (0.3, 9), (0.4, 0)], 100, 0.05, 0.95)
        (0.2, 1)
    """
    safe = None
    for setting, lost in losses:
        if p_value(lost, prompts, risk) > 1.0 - confidence + _ROUNDING:
            break
        safe = setting, lost
    return safe
