"""The episodes of a split, built when they are first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .episode import Episode, EpisodeBuilder
    from .prompt import Prompt


class LazyEpisodes(Sequence["Episode"]):
    """A sequence of episodes; each is built at its first use and kept from then on.

    Cutting a large split into units takes seconds, and an environment may need a few episodes only.
    A copy made by pickling starts without built episodes.

    Args:
        prompts: the prompts of the split.
        builder: makes the episodes.
    """

    def __init__(self, prompts: Sequence[Prompt], builder: EpisodeBuilder) -> None:
        self._prompts = prompts
        self._builder = builder
        self._built: dict[int, Episode] = {}

    def __len__(self) -> int:
        return len(self._prompts)

    @overload
    def __getitem__(self, index: int) -> Episode: ...

    @overload
    def __getitem__(self, index: slice) -> list[Episode]: ...

    def __getitem__(self, index: int | slice) -> Episode | list[Episode]:
        """One episode, or those of a slice as a list."""
        places = range(len(self))[index]
        return self.take(places) if isinstance(places, range) else self.take([places])[0]

    def take(self, indices: Iterable[int]) -> list[Episode]:
        """Episodes by index, each in [0, len); those not yet built are built as one batch."""
        indices = list(indices)
        new = [i for i in dict.fromkeys(indices) if i not in self._built]
        if new:
            built = self._builder([self._prompts[i] for i in new])
            self._built.update(zip(new, built, strict=True))
        return [self._built[i] for i in indices]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_built": {}}
