"""Segment after segment, what the compressed text before makes probable is dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_fixtures import check_rate, prompt_batch
from agents.perplexity import PerplexityAgent
from agents.self_information import SelfInformationAgent
from agents.surprisal import Surprisal

TEXTS = ["sort the 12 plums and apples, please do", "hot or cold?", ""]


def agent_of(folder: Path, **options) -> PerplexityAgent:
    return PerplexityAgent(model=str(folder), device="cpu", **options)


def test_in_one_segment_it_is_self_information(gpt2_folder: Path) -> None:
    observations, infos = prompt_batch(TEXTS)
    expected = SelfInformationAgent(rate=0.4, model=str(gpt2_folder), device="cpu")
    masks = agent_of(gpt2_folder, rate=0.4, segment_units=24).act(observations, infos)
    np.testing.assert_array_equal(masks, expected.act(observations, infos))


def test_a_segment_is_read_after_the_compressed_ones(gpt2_folder: Path) -> None:
    """By hand: the first four units (one protected) lose one of three, the next four two more."""
    observations, infos = prompt_batch(TEXTS[:1])
    masks = agent_of(gpt2_folder, rate=0.5, segment_units=4).act(observations, infos)
    text, spans = infos[0]["prompt"], infos[0]["spans"][:9]
    measure = Surprisal.load(str(gpt2_folder), device="cpu")
    kept = np.ones(9, bool)
    for start, end, wanted in ((0, 4, 1), (4, 8, 2), (8, 9, 1)):
        before = "".join(text[a:b] for (a, b), k in zip(spans[:start], kept, strict=False) if k)
        shift = len(before) - spans[start, 0]
        read = before + text[spans[start, 0] : spans[end - 1, 1]]
        (nats,) = measure([read], [spans[start:end] + shift])
        free = [i for i in range(start, end) if i > 0]
        ranked = sorted(free, key=lambda i, first=start, own=nats: own[i - first])
        kept[ranked[:wanted]] = False
    np.testing.assert_array_equal(masks[0, :9], kept)


def test_prompts_do_not_change_each_other(gpt2_folder: Path) -> None:
    observations, infos = prompt_batch(TEXTS)
    agent = agent_of(gpt2_folder, segment_units=3)
    together = agent.act(observations, infos)
    for row in (2, 0, 1):
        alone = agent.act({key: value[[row]] for key, value in observations.items()}, [infos[row]])
        np.testing.assert_array_equal(alone[0], together[row])


@pytest.fixture(scope="module")
def agent(gpt2_folder: Path) -> PerplexityAgent:
    return agent_of(gpt2_folder)


@settings(max_examples=15)
@given(
    rate=st.floats(0, 1),
    segment=st.integers(1, 12),
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=3),
)
def test_the_rate_is_met_exactly(agent, rate: float, segment: int, counts: list[int]) -> None:
    agent.segment_units = segment
    check_rate(agent, rate, counts)


def test_settings_are_checked_early() -> None:
    with pytest.raises(ValueError, match="rate must be a share"):
        PerplexityAgent(rate=-0.1)
    with pytest.raises(ValueError, match="segment_units must be at least 1"):
        PerplexityAgent(segment_units=0)
