"""Count the failures of a compressor on pairs of prompts, by class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from pcrl_gym.audit.pairs import FlipPair, fault, written_pairs
from pcrl_gym.audit.procedural import procedural_pairs
from pcrl_gym.progress import progress_bar

PROCEDURAL = 2_000
"""Number of pairs from micro's families, in addition to those of `pairs.txt`."""

Compress = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Flip:
    """A pair that a compressor fails, and its failure; see `pairs.fault`."""

    pair: FlipPair
    first: str  # the compressed first prompt
    second: str
    fault: str  # "same" or "lost"


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Results on the pairs of one class."""

    kind: str
    pairs: int
    flips: int
    saved: float  # share of characters saved, over all prompts

    @property
    def share(self) -> float:
        """Share of the pairs that fail."""
        return self.flips / self.pairs

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the share; see `wilson_interval`."""
        return wilson_interval(self.flips, self.pairs)

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data."""
        low, high = self.interval
        return {
            "class": self.kind,
            "pairs": self.pairs,
            "flips": self.flips,
            "share": self.share,
            "low": low,
            "high": high,
            "saved": self.saved,
        }


@dataclass(frozen=True, slots=True)
class Audit:
    """Results of an audit.

    Attributes:
        name: Name of the audited compressor.
        rows: One row per class, then one named "all".
        flips: The pairs that fail.
    """

    name: str
    rows: tuple[AuditRow, ...]
    flips: tuple[Flip, ...]

    @property
    def total(self) -> AuditRow:
        """The row for all pairs."""
        return self.rows[-1]

    @property
    def badge(self) -> str:
        """One line for a README."""
        total = self.total
        return f"flip audit: {total.flips:,} of {total.pairs:,} ({100 * total.share:.1f}%)"

    def __str__(self) -> str:
        """Return the results as a table."""
        head = f"{'class':10} {'pairs':>6} {'flips':>6} {'share':>7}   95% interval   saved"
        lines = [
            f"{row.kind:10} {row.pairs:6} {row.flips:6} {100 * row.share:5.1f}%   "
            f"{100 * row.interval[0]:4.1f} to {100 * row.interval[1]:5.1f}%"
            f"  {100 * row.saved:4.0f}%"
            for row in self.rows
        ]
        return "\n".join([self.name, head, *lines, ""])

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as plain data."""
        return {
            "name": self.name,
            "badge": self.badge,
            "classes": [row.to_dict() for row in self.rows],
            "flips": [
                {
                    "class": flip.pair.kind,
                    "source": flip.pair.source,
                    "first": flip.pair.first,
                    "second": flip.pair.second,
                    "compressed_first": flip.first,
                    "compressed_second": flip.second,
                    "fault": flip.fault,
                }
                for flip in self.flips
            ],
        }


def default_pairs() -> list[FlipPair]:
    """Return the pairs of `pairs.txt`, and `PROCEDURAL` pairs from micro's families."""
    return [*written_pairs(), *procedural_pairs(PROCEDURAL)]


def audit(
    compress: Compress,
    name: str,
    pairs: Sequence[FlipPair] | None = None,
    *,
    progress: bool = False,
) -> Audit:
    """Compress both prompts of each pair and count the pairs that fail; see `pairs.fault`.

    Args:
        compress: Function from a prompt to a shorter one.
        name: Name of the compressor in tables.
        pairs: At least one pair. If None, `default_pairs`.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If there are no pairs, or `compress` does not return a text.

    Example:
        >>> pair = FlipPair("not", "Name fruits that are not sweet", "Name fruits that are sweet")
        >>> print(audit(lambda text: text.replace("not ", ""), "bold", [pair]).badge)
        flip audit: 1 of 1 (100.0%)
    """
    chosen = default_pairs() if pairs is None else list(pairs)
    if not chosen:
        raise ValueError("an audit needs at least one pair")
    flips = []
    counts: dict[str, list[int]] = {}  # by class: pairs, flips, characters before and after
    with progress_bar(total=len(chosen), desc=f"audit {name}", disable=not progress) as bar:
        for pair in chosen:
            first, second = (_text(compress(text), name) for text in (pair.first, pair.second))
            found = fault(pair, first, second)
            if found is not None:
                flips.append(Flip(pair, first, second, found))
            new = [1, int(found is not None), len(pair.first + pair.second), len(first + second)]
            counts[pair.kind] = _sums([counts.get(pair.kind, [0] * 4), new])
            bar.update()
    rows = [_row(kind, own) for kind, own in counts.items()]
    return Audit(name, (*rows, _row("all", _sums(list(counts.values())))), tuple(flips))


def _row(kind: str, counts: Sequence[int]) -> AuditRow:
    pairs, flips, before, after = counts
    return AuditRow(kind, pairs, flips, saved=1 - after / max(before, 1))


def _sums(rows: Sequence[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def wilson_interval(failed: int, pairs: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of a share by Wilson (1927), https://doi.org/10.2307/2276774.

    Formula, with share p, n pairs, and normal quantile z:
    `(p + z²/2n ± z sqrt(p (1 - p) / n + z²/4n²)) / (1 + z²/n)`.

    Example:
        >>> [round(end, 3) for end in wilson_interval(1, 10)]
        [0.018, 0.404]
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, extra = failed / pairs, z * z / pairs
    middle = (share + extra / 2) / (1 + extra)
    width = z * (share * (1 - share) / pairs + extra / (4 * pairs)) ** 0.5 / (1 + extra)
    return max(0.0, middle - width), min(1.0, middle + width)


def _text(compressed: Any, name: str) -> str:
    if not isinstance(compressed, str):
        raise ValueError(f"{name} returned {type(compressed).__name__}, expected a string")
    return compressed
