"""Tiny models of each kind."""

from __future__ import annotations

import pytest

from pcrl_gym.generators.hf import HFGenerator


@pytest.fixture(scope="module", params=["gpt2", "llama", "t5"])
def generator(request: pytest.FixtureRequest) -> HFGenerator:
    """A tiny model of each kind."""
    folder = request.getfixturevalue(f"{request.param}_folder")
    return HFGenerator.from_pretrained(str(folder), device="cpu")
