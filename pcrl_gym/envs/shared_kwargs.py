"""Environments whose spec shares the arguments it records instead of copying them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec


class SharedKwargs(dict[str, Any]):
    """Arguments of an environment; copies hold the same objects.

    Gymnasium copies specs deeply: in `make`, and whenever a wrapper is asked for its own. Among the
    arguments may be a model of gigabytes, or an object with a budget that must not be split.

    >>> import copy
    >>> kwargs = SharedKwargs(generator=object())
    >>> copy.deepcopy(kwargs)["generator"] is kwargs["generator"]
    True
    """

    def copy(self) -> SharedKwargs:
        """Return a new dictionary of the same objects."""
        return SharedKwargs(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedKwargs:
        return self.copy()


class SharedSpec:
    """Base of an environment whose `spec` keeps its arguments as `SharedKwargs`."""

    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """How `gymnasium.make` built the environment; None where something else did."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None:
            spec.kwargs = SharedKwargs(spec.kwargs)
        self._spec = spec
