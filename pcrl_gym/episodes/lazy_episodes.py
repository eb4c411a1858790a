"""The episodes of a split, built on first access."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcrl_gym.episodes.episode import Episode, EpisodeBuilder
    from pcrl_gym.prompts.prompt import Prompt


MAX_BUILT = 16_384
"""Maximum number of recently used episodes to keep; each takes about 10 kB."""


class LazyEpisodes(Sequence["Episode"]):
    """A sequence of episodes that are built on access; the most recently used ones are kept.

    Splitting a large dataset into units takes seconds, and an environment may need only a few
    episodes. Memory use is bounded regardless of the size of the split. Pickled copies start
    without built episodes.
    """

    def __init__(self, prompts: Sequence[Prompt], builder: EpisodeBuilder) -> None:
        self._prompts = prompts
        self.builder = builder
        self._built: OrderedDict[int, Episode] = OrderedDict()

    def __len__(self) -> int:
        return len(self._prompts)

    @overload
    def __getitem__(self, index: int) -> Episode: ...

    @overload
    def __getitem__(self, index: slice) -> list[Episode]: ...

    def __getitem__(self, index: int | slice) -> Episode | list[Episode]:
        """Return one episode, or a list of episodes for a slice."""
        places = range(len(self))[index]
        return self.take(places) if isinstance(places, range) else self.take([places])[0]

    def take(self, indices: Iterable[int]) -> list[Episode]:
        """Return episodes by index, each in [0, len); new ones are built as one batch."""
        indices = list(indices)
        new = [i for i in dict.fromkeys(indices) if i not in self._built]
        if new:
            built = self.builder([self._prompts[i] for i in new])
            self._built.update(zip(new, built, strict=True))
        taken = [self._built[i] for i in indices]
        for i in indices:
            self._built.move_to_end(i)
        while len(self._built) > MAX_BUILT:
            self._built.popitem(last=False)
        return taken

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_built": OrderedDict()}
