"""Shards: parts of one run that are done apart, on several machines or cores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts of a run, of about equal size."""

    number: int  # from 1 to count
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(f"Shards are numbered 1/{self.count} to {self.count}/{self.count}")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: Sequence[Item]) -> list[Item]:
        """Return the items that fall to this shard: of 2/3 the second, the fifth and so on."""
        return list(items[self.number - 1 :: self.count])

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read a shard as `str` writes it, such as "3/8"."""
        found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if not found:
            raise ValueError(f"A shard is written like 3/8, got {text!r}")
        return cls(int(found[1]), int(found[2]))


WHOLE = Shard(1, 1)
"""The one shard of a run that is done in one piece."""
