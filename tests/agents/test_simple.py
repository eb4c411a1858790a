"""random, keep_all and truncation do what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from agent_fixtures import kept_text, prompt_batch
from agents.keep_all import KeepAllAgent
from agents.random_agent import RandomAgent
from agents.truncation import TruncationAgent

TEXTS = ["one two three four five six seven eight nine ten", "a b c", ""]


def drop_rates(observations, masks) -> np.ndarray:
    droppable = observations["droppable"].astype(bool)
    dropped = droppable & (masks == 0)
    return dropped.sum() / droppable.sum()


def test_keep_all_keeps_all() -> None:
    observations, infos = prompt_batch(TEXTS)
    masks = KeepAllAgent().act(observations, infos)
    np.testing.assert_array_equal(masks, observations["attention_mask"])


def test_truncation_keeps_the_head() -> None:
    observations, infos = prompt_batch(TEXTS)
    masks = TruncationAgent(rate=0.35).act(observations, infos)
    assert kept_text(infos[0], masks[0]) == "one two three four five six seven"
    assert kept_text(infos[1], masks[1]) == "a b"
    assert (masks[:, 0] == 1).all()


def test_random_with_probability_drops_about_that_share() -> None:
    observations, infos = prompt_batch([TEXTS[0]] * 400)
    for row, info in enumerate(infos):
        info["prompt_id"] = str(row)
    masks = RandomAgent(drop_probability=0.3, seed=1).act(observations, infos)
    assert drop_rates(observations, masks) == pytest.approx(0.3, abs=0.03)
    assert len(np.unique(masks, axis=0)) > 100


@pytest.mark.parametrize("agent", [RandomAgent(rate=0.5), TruncationAgent(rate=0.5)])
def test_target_rate_is_met_exactly(agent) -> None:
    observations, infos = prompt_batch(TEXTS)
    masks = agent.act(observations, infos)
    dropped = (observations["droppable"] == 1) & (masks == 0)
    np.testing.assert_array_equal(dropped.sum(1), [5, 1, 0])


@pytest.mark.parametrize("settings", [{"drop_probability": 0.5}, {"rate": 0.5}])
def test_random_does_not_depend_on_order_or_batching(settings: dict) -> None:
    observations, infos = prompt_batch(TEXTS)
    together = RandomAgent(seed=4, **settings).act(observations, infos)
    agent = RandomAgent(seed=4, **settings)
    for row in (2, 0, 1):
        alone = agent.act({key: value[[row]] for key, value in observations.items()}, [infos[row]])
        np.testing.assert_array_equal(alone[0], together[row])
    other = RandomAgent(seed=5, **settings).act(observations, infos)
    assert (other != together).any()


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        RandomAgent(drop_probability=0.1, rate=0.1)
    with pytest.raises(
        ValueError, match=r"drop_probability must be a share between 0 and 1, got 1\.5"
    ):
        RandomAgent(drop_probability=1.5)
    for agent in (RandomAgent, TruncationAgent):
        with pytest.raises(ValueError, match="rate must be a share"):
            agent(rate=-0.1)
