"""Token and cost savings of compressions."""

from __future__ import annotations

import threading

from pcrl_gym.scoring.ratio import compression_ratio


class TokenCounts:
    """Base class of compression results, with token counts before and after.

    Attributes:
        original_tokens: Tokens before compression, n.
        compressed_tokens: Tokens after compression, n'.
        template_tokens: Template tokens, included in both, f.
    """

    original_tokens: int
    compressed_tokens: int
    template_tokens: int

    @property
    def compression_ratio(self) -> float:
        """Share of the user's tokens that was saved, `1 - (n' - f) / (n - f)`.

        n, n', and f are the original, compressed, and template tokens. The ratio is 0.0 if the user
        wrote nothing, and negative in the rare case that the shorter text has more tokens.
        """
        return compression_ratio(self.original_tokens, self.compressed_tokens, self.template_tokens)

    def _counts(self) -> dict[str, float]:
        """Return the token counts as entries for `to_dict` of a combined result."""
        names = ("original_tokens", "compressed_tokens", "compression_ratio")
        return {name: getattr(self, name) for name in names}

    def summary(self, price_per_million: float | None = None) -> str:
        """Return the savings in words; see `summarize`.

        Example:
            >>> done.summary()  # doctest: +SKIP
            '37% fewer tokens (1.6x)'
            >>> done.summary(price_per_million=2.5)  # doctest: +SKIP
            '37% fewer tokens (1.6x), $0.42 saved per 1,000 calls at $2.50 per million tokens'
        """
        counts = (self.original_tokens, self.compressed_tokens, self.template_tokens)
        return summarize(*counts, price_per_million=price_per_million)


class Savings(TokenCounts):
    """Total savings of several calls; see `TokenCounts`. Threads may share an instance.

    Attributes:
        calls: Number of calls.
    """

    def __init__(self) -> None:
        self.calls = self.original_tokens = self.compressed_tokens = self.template_tokens = 0
        self._lock = threading.Lock()

    def add(self, counts: TokenCounts) -> None:
        """Add the token counts of a call."""
        with self._lock:
            self.calls += 1
            self.original_tokens += counts.original_tokens
            self.compressed_tokens += counts.compressed_tokens
            self.template_tokens += counts.template_tokens

    def summary(self, price_per_million: float | None = None) -> str:
        """Return the savings in words, with costs per 1,000 average calls."""
        counts = (self.original_tokens, self.compressed_tokens, self.template_tokens)
        calls = max(self.calls, 1)
        return summarize(*counts, calls=calls, price_per_million=price_per_million)


def summarize(
    original: int,
    compressed: int,
    template: int = 0,
    *,
    calls: int = 1,
    price_per_million: float | None = None,
) -> str:
    r"""Return savings in words.

    For n original, n' compressed, and f template tokens, these are the compression ratio
    `1 - (n' - f) / (n - f)` in percent and the factor `(n - f) / (n' - f)`. With a price of p
    dollars per million input tokens, the dollars saved per 1,000 calls are added,
    `(n - n') / calls * 1000 * p / 1,000,000`.

    Args:
        original: Tokens of all calls before compression.
        compressed: Tokens of all calls after compression.
        template: Template tokens, included in both.
        calls: Number of calls, at least 1.
        price_per_million: Dollars per million tokens, at least 0. If None, costs are left out.

    Raises:
        ValueError: If the price is below 0 or not a number.

    Example:
        >>> summarize(1000, 630)
        '37% fewer tokens (1.6x)'
        >>> summarize(450, 282, price_per_million=2.5)
        '37% fewer tokens (1.6x), $0.42 saved per 1,000 calls at $2.50 per million tokens'
    """
    ratio = compression_ratio(original, compressed, template)
    words = f"{abs(100 * ratio):.0f}% {'more' if ratio < 0 else 'fewer'} tokens"
    if compressed > template and original > template:
        words += f" ({(original - template) / (compressed - template):.1f}x)"
    if price_per_million is None:
        return words
    check_price("price_per_million", price_per_million)
    saved = (original - compressed) / calls * price_per_million / 1000
    return (
        f"{words}, {_dollars(abs(saved))} {'lost' if saved < 0 else 'saved'} per 1,000 calls at "
        f"{_dollars(price_per_million)} per million tokens"
    )


def check_price(name: str, price: float) -> None:
    """Raise `ValueError` if a price is below 0 or not a number."""
    if isinstance(price, bool) or not isinstance(price, (int, float)) or not 0 <= price < 1e12:
        raise ValueError(f"{name} must be dollars per million tokens, at least 0, got {price!r}")


def _dollars(amount: float) -> str:
    """Return an amount rounded to cents, or below ten cents to hundredths of cents."""
    return f"${amount:,.2f}" if amount >= 0.1 or amount == 0 else f"${amount:.4f}"
