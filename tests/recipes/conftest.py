"""Fixtures of the tests of the recipes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fault_server import FaultServer, set_surroundings
from pcrl_gym import Compressor, FailOpen
from recipe_fixtures import Failing

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # its import downloads prices


@pytest.fixture(scope="module")
def compressor() -> Compressor:
    return Compressor.from_pretrained("micro", device="cpu")


@pytest.fixture
def failing(compressor: Compressor) -> FailOpen:
    return FailOpen(Failing(compressor), timeout=600)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    set_surroundings(monkeypatch)
    with FaultServer(answer=lambda text: "fig pear") as running:
        yield running
