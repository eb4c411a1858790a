"""Cost of generator calls before and after compression, by prices per token."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.statistics import bootstrap_interval

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Prices:
    """Prices per token, in any unit, as only their ratios matter.

    Attributes:
        input: Price of the user's text.
        output: Price of the answer; by default four times the input's, as with many providers.
        cached: Price of the template's text, shared by all prompts; by default half the input's.
    """

    input: float = 1.0
    output: float = 4.0
    cached: float = 0.5

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0.0 <= value < math.inf:
                raise ValueError(f"price {name} must be a finite number of at least 0, got {value}")


DEFAULT_PRICES = Prices()


def net_saving(own: DataFrame, prices: Prices) -> tuple[float, tuple[float, float]] | None:
    """Return the share of the total cost that compression saves, and its 95% interval.

    Formula: `1 - sum(cost after) / sum(cost before)` over prompts and seeds, with
    `cost = input * (n - f) + cached * f + output * a` for n prompt tokens, of which f belong to
    the template, and a answer tokens. Negative if longer answers cost more than is saved.

    Args:
        own: Records of one agent on one split, see `benchmarks.records.Record`.
        prices: The prices.

    Returns:
        None if the generator's answers were not counted, or the total cost is 0.
    """
    before, after = (
        prices.input * (own[f"{kind}_tokens"] - own["template_tokens"])
        + prices.cached * own["template_tokens"]
        + prices.output * own[answer]
        for kind, answer in (
            ("original", "output_tokens"),
            ("compressed", "compressed_output_tokens"),
        )
    )
    if before.isna().any() or not before.sum():
        return None
    grids = [
        own.assign(cost=cost).pivot_table("cost", "seed", "prompt_id", aggfunc="first").to_numpy()
        for cost in (after, before)
    ]

    def saved(after: Any, before: Any, axis: int | None = None) -> Any:
        return 1.0 - after.sum(axis) / before.sum(axis)

    return float(saved(*grids)), bootstrap_interval(*grids, statistic=saved)
