"""Environments whose spec shares its recorded arguments instead of copying them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec


class SharedKwargs(dict[str, Any]):
    """Arguments of an environment; copies hold the same objects.

    Gymnasium deep-copies specs in `make` and whenever the spec of a wrapper is accessed. Arguments
    may include a model of several gigabytes or an object whose budget must not be duplicated.

    >>> import copy
    >>> kwargs = SharedKwargs(generator=object())
    >>> copy.deepcopy(kwargs)["generator"] is kwargs["generator"]
    True
    """

    def copy(self) -> SharedKwargs:
        """Return a new dictionary with the same objects."""
        return SharedKwargs(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedKwargs:
        return self.copy()


class SharedSpec:
    """Base of an environment whose `spec` keeps its arguments as `SharedKwargs`."""

    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """Spec from which `gymnasium.make` built the environment; None if built otherwise."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None:
            spec.kwargs = SharedKwargs(spec.kwargs)
        self._spec = spec
