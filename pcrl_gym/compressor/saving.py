"""What a compression saves, in words and in money."""

from __future__ import annotations

import threading

from pcrl_gym.scoring.ratio import compression_ratio


class TokenCounts:
    """Token counts before and after, and what they mean: base of what a compressor returns.

    Attributes:
        original_tokens: Tokens before, n.
        compressed_tokens: Tokens after, n'.
        template_tokens: Tokens of these that are a template's own, f.
    """

    original_tokens: int
    compressed_tokens: int
    template_tokens: int

    @property
    def compression_ratio(self) -> float:
        """Share of the user's tokens that was saved, `1 - (n' - f) / (n - f)`.

        n, n' and f are original, compressed and template tokens. 0.0 where the user wrote nothing;
        below zero in the rare case that the shorter text has more tokens.
        """
        return compression_ratio(self.original_tokens, self.compressed_tokens, self.template_tokens)

    def _counts(self) -> dict[str, float]:
        """Return the entries that `to_dict` of a joint result has of it."""
        names = ("original_tokens", "compressed_tokens", "compression_ratio")
        return {name: getattr(self, name) for name in names}

    def summary(self, price_per_million: float | None = None) -> str:
        """Return the saving in words; see `summarize`.

        Example:
            >>> done.summary()  # doctest: +SKIP
            '37 % fewer tokens (1.6x)'
            >>> done.summary(price_per_million=2.5)  # doctest: +SKIP
            '37 % fewer tokens (1.6x), $0.42 per 1,000 calls saved at $2.50 per million tokens'
        """
        counts = (self.original_tokens, self.compressed_tokens, self.template_tokens)
        return summarize(*counts, price_per_million=price_per_million)


class Savings(TokenCounts):
    """What several calls save together; see `TokenCounts`. Threads may share one.

    Attributes:
        calls: How many there were.
    """

    def __init__(self) -> None:
        self.calls = self.original_tokens = self.compressed_tokens = self.template_tokens = 0
        self._lock = threading.Lock()

    def add(self, counts: TokenCounts) -> None:
        """Add a call."""
        with self._lock:
            self.calls += 1
            self.original_tokens += counts.original_tokens
            self.compressed_tokens += counts.compressed_tokens
            self.template_tokens += counts.template_tokens

    def summary(self, price_per_million: float | None = None) -> str:
        """Return the saving in words, of 1,000 calls that are on average like these."""
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
    r"""Return a saving in words.

    With n, n' and f for original, compressed and template tokens these are the compression ratio
    `1 - (n' - f) / (n - f)` in percent, the factor `(n - f) / (n' - f)`, and with a price p in
    dollars per million tokens read the dollars that 1,000 calls like these save,
    `(n - n') / calls * 1000 * p / 1,000,000`.

    Args:
        original: Tokens before, of all calls.
        compressed: Tokens after.
        template: Tokens of a template, in both of them.
        calls: Number of calls, at least 1.
        price_per_million: Dollars per million tokens, at least 0; None: nothing about money.

    Raises:
        ValueError: If the price is below 0 or not a number.

    Example:
        >>> summarize(1000, 630)
        '37 % fewer tokens (1.6x)'
        >>> summarize(450, 282, price_per_million=2.5)
        '37 % fewer tokens (1.6x), $0.42 per 1,000 calls saved at $2.50 per million tokens'
    """
    ratio = compression_ratio(original, compressed, template)
    words = f"{abs(100 * ratio):.0f} % {'more' if ratio < 0 else 'fewer'} tokens"
    if compressed > template and original > template:
        words += f" ({(original - template) / (compressed - template):.1f}x)"
    if price_per_million is None:
        return words
    check_price("price_per_million", price_per_million)
    saved = (original - compressed) / calls * price_per_million / 1000
    return (
        f"{words}, {_dollars(abs(saved))} per 1,000 calls {'lost' if saved < 0 else 'saved'} at "
        f"{_dollars(price_per_million)} per million tokens"
    )


def check_price(name: str, price: float) -> None:
    """Raise `ValueError` if a price is below 0 or not a number."""
    if isinstance(price, bool) or not isinstance(price, (int, float)) or not 0 <= price < 1e12:
        raise ValueError(f"{name} must be dollars per million tokens, at least 0, got {price!r}")


def _dollars(amount: float) -> str:
    """Return an amount in cents, or if it is smaller than ten of them in hundredths of cents."""
    return f"${amount:,.2f}" if amount >= 0.1 or amount == 0 else f"${amount:.4f}"
