from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pcrl_gym.generators.ray.pool import ActorPool, NoActorError


class FullCluster:
    """A Ray whose one actor starts when it has been waited for often enough, or never."""

    exceptions = SimpleNamespace(RayTaskError=KeyError, RayError=LookupError)

    def __init__(self, room_at: int) -> None:
        self.room_at = room_at
        self.timeouts: list[float | None] = []

    def wait(self, references: list[str], timeout: float | None = None) -> tuple[list[str], list]:
        self.timeouts.append(timeout)
        return (references[:1] if len(self.timeouts) >= self.room_at else []), []

    def get(self, reference: str) -> str:
        return f"loaded {reference}"

    def available_resources(self) -> dict[str, float]:
        return {"CPU": 0.5}


def pool(ray: Any, start_timeout: float) -> ActorPool:
    actor = SimpleNamespace(load=SimpleNamespace(remote=lambda name: name))
    actor_class = SimpleNamespace(remote=lambda: actor)
    return ActorPool(ray, actor_class, "a", 1, retries=0, start_timeout=start_timeout)


def test_a_wait_for_room_is_told_after_a_minute():
    ray = FullCluster(room_at=2)
    with pytest.warns(UserWarning, match=r"within 60 s; .* free: {'CPU': 0.5}; waiting 240 s more"):
        assert pool(ray, 300).wait_until_ready() == ["loaded a"]
    assert ray.timeouts == [60, 240]


@pytest.mark.parametrize(("start_timeout", "waits"), [(20.0, [20]), (60.0, [60])])
def test_a_shorter_wait_ends_without_a_word_before(start_timeout: float, waits: list[float]):
    ray = FullCluster(room_at=9)
    with pytest.raises(NoActorError, match=f"none started or loaded within {start_timeout:g} s"):
        pool(ray, start_timeout).wait_until_ready()
    assert ray.timeouts == waits
