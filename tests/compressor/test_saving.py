"""Savings in words and money."""

from __future__ import annotations

import pytest

from pcrl_gym.compressor.saving import Savings, TokenCounts, summarize


class Counts(TokenCounts):
    def __init__(self, original: int, compressed: int, template: int = 0) -> None:
        self.original_tokens, self.compressed_tokens = original, compressed
        self.template_tokens = template


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((1000, 630), "37% fewer tokens (1.6x)"),
        ((30, 20, 10), "50% fewer tokens (2.0x)"),  # the template is left out
        ((10, 10), "0% fewer tokens (1.0x)"),
        ((10, 0), "100% fewer tokens"),
        ((10, 11), "10% more tokens (0.9x)"),
        ((0, 0), "0% fewer tokens"),
        ((5, 5, 5), "0% fewer tokens"),
    ],
)
def test_in_words(counts: tuple[int, ...], words: str):
    assert summarize(*counts) == Counts(*counts).summary() == words


@pytest.mark.parametrize(
    ("counts", "price", "words"),
    [
        # (450 - 282) tokens * 1,000 calls * 2.5 dollars / 1,000,000 tokens
        ((450, 282), 2.5, "$0.42 saved per 1,000 calls at $2.50 per million tokens"),
        ((2_000_000, 0), 5, "$10,000.00 saved per 1,000 calls at $5.00 per million tokens"),
        ((10, 6), 0.15, "$0.0006 saved per 1,000 calls at $0.15 per million tokens"),
        ((10, 12), 50, "$0.10 lost per 1,000 calls at $50.00 per million tokens"),
        ((10, 10), 0, "$0.00 saved per 1,000 calls at $0.00 per million tokens"),
    ],
)
def test_in_money(counts: tuple[int, int], price: float, words: str):
    assert Counts(*counts).summary(price_per_million=price).split(", ", 1)[1] == words


def test_several_calls_are_averaged():
    savings = Savings()
    assert savings.summary(1.0).startswith("0% fewer tokens, $0.00 saved per 1,000 calls")
    for counts in (Counts(100, 60), Counts(300, 140)):
        savings.add(counts)
    assert (savings.calls, savings.compression_ratio) == (2, 0.5)
    assert savings.summary(3.0) == (
        "50% fewer tokens (2.0x), $0.30 saved per 1,000 calls at $3.00 per million tokens"
    )


@pytest.mark.parametrize("price", [-1, float("nan"), float("inf"), "2", True])
def test_wrong_prices_are_refused(price: object):
    with pytest.raises(ValueError, match="price_per_million must be dollars"):
        summarize(2, 1, price_per_million=price)  # type: ignore[arg-type]
