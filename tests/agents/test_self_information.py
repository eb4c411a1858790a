"""Surprisals are those of the model, and the agent drops the least surprising units."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_fixtures import PREFIX, by_hand, check_rate, prompt_batch
from agents.perplexity import PerplexityAgent
from agents.self_information import SelfInformationAgent
from agents.surprisal import SurprisalRanker
from fakes import CountingGenerator
from pcrl_gym import Prompt, make_task
from pcrl_gym.generators.hf import HFGenerator

TEXTS = ["sort the 12 plums and apples, please", "hot or cold?", ""]


def test_the_least_surprising_units_are_dropped(gpt2_folder: Path) -> None:
    observations, infos = prompt_batch(TEXTS)
    agent = SelfInformationAgent(rate=0.5, model=str(gpt2_folder), device="cpu")
    masks = agent.act(observations, infos)
    text, spans = infos[0]["prompt"], infos[0]["spans"]
    share = np.zeros(len(text))
    for (start, end), value in by_hand(gpt2_folder, text):
        share[start:end] += value / (end - start)
    information = [share[a:b].sum() for a, b in spans[1:8]]
    assert text[: spans[1, 0]] == PREFIX
    assert set(np.flatnonzero(masks[0, 1:8] == 0)) == set(np.argsort(information)[:3])
    np.testing.assert_array_equal(masks[:, 8:], 0)


@pytest.fixture(scope="module")
def agent(gpt2_folder: Path) -> SelfInformationAgent:
    return SelfInformationAgent(model=str(gpt2_folder), device="cpu")


@settings(max_examples=15)
@given(rate=st.floats(0, 1), counts=st.lists(st.integers(0, 12), min_size=1, max_size=3))
def test_the_rate_is_met_exactly(agent, rate: float, counts: list[int]) -> None:
    check_rate(agent, rate, counts)


def test_the_model_is_loaded_late_and_settings_are_checked_early() -> None:
    SelfInformationAgent(model="no such folder")
    with pytest.raises(ValueError, match="rate must be a share"):
        SelfInformationAgent(rate=1.5)


RANKERS = pytest.mark.parametrize("kind", [SelfInformationAgent, PerplexityAgent])


@RANKERS
def test_units_are_ranked_by_the_generator_of_the_run(
    kind: type[SurprisalRanker], gpt2_folder: Path
) -> None:
    generator = HFGenerator.from_pretrained(str(gpt2_folder), device="cpu")
    agent, named = kind(device="cpu"), kind(model=str(gpt2_folder), device="cpu")
    agent.attach(make_task(dataset=[Prompt("0", "Sort.")], generator=generator))
    batch = prompt_batch(TEXTS)
    assert agent.surprisal._model is generator.model
    np.testing.assert_array_equal(agent.act(*batch), named.act(*batch))
    named.attach(make_task(dataset=[Prompt("0", "Sort.")], generator="micro"))  # its own stays
    np.testing.assert_array_equal(agent.act(*batch), named.act(*batch))


@RANKERS
def test_without_a_causal_model_the_ranker_says_what_to_give(kind: type[SurprisalRanker]) -> None:
    agent = kind(device="cpu")
    with pytest.raises(RuntimeError, match="call attach"):
        agent.act(*prompt_batch(TEXTS))
    with pytest.raises(ValueError, match=rf"'micro-seq2seq'.*{agent.name}:model=FOLDER"):
        agent.attach(make_task(dataset=[Prompt("0", "Sort.")], generator="micro-seq2seq"))
    remote = CountingGenerator()
    remote.model = SimpleNamespace(config={})  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=rf"{remote.name!r}.*{agent.name}:model=FOLDER"):
        agent.attach(make_task(dataset=[Prompt("0", "Sort.")], generator=remote))
