"""How many lost answers among so many prompts still show that few are lost in general."""

from __future__ import annotations

import math
from collections.abc import Iterable

_ROUNDING = 1e-9


def p_value(lost: int, prompts: int, risk: float) -> float:
    """Return how probable at most so many lost answers are if the share lost in general is `risk`.

    Formula: `P(X <= lost)` with X binomial of `prompts` draws that are each lost with probability
    `risk`. For a larger share it is still less probable, so that a value of at most `1 - c` rejects
    "more than `risk` are lost" with confidence c: the exact one-sided test, which is passed just
    where the upper limit of Clopper and Pearson (1934), https://doi.org/10.1093/biomet/26.4.404, is
    at most `risk`.

    Args:
        lost: Prompts whose answer is lost, 0 to `prompts`.
        prompts: Prompts drawn independently, at least 1.
        risk: Share, above 0 and below 1.

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
    """Return the fewest prompts that can show a risk, if none of them loses its answer.

    Formula: the least n with `(1 - risk)^n <= 1 - confidence`; both are above 0 and below 1.

    Example:
        >>> prompts_needed(0.05, 0.95)
        59
    """
    return math.ceil(math.log1p(-confidence) / math.log1p(-risk) - _ROUNDING)


def strongest_safe(
    losses: Iterable[tuple[float, int]], prompts: int, risk: float, confidence: float
) -> tuple[float, int] | None:
    """Return the strongest setting that loses at most a share `risk`, with some confidence.

    Settings are tested in the given order by `p_value`, and none behind the first that fails: then
    a setting that loses more is returned with a probability of at most `1 - confidence`, however
    many there are (fixed-sequence testing in "Learn then Test", Angelopoulos et al. 2021,
    https://arxiv.org/abs/2110.01052). The order must not depend on the prompts.

    Args:
        losses: From the weakest to the strongest setting, itself and how many prompts lose their
            answer; no more is read than needed.
        prompts: How many prompts there are, the same ones for every setting.
        risk: Share of lost answers that is accepted, above 0 and below 1.
        confidence: Above 0 and below 1.

    Returns:
        The last setting that passed and its lost answers; None if the first one fails.

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
