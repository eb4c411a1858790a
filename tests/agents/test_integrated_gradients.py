"""Integrated gradients rank units for a generator whose answer rests on some of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agents.distill import DistillAgent
from agents.integrated_gradients import IntegratedGradientsAgent, attributions
from agents.leave_one_out import losses
from fakes import CountingGenerator
from pcrl_gym import load_prompts
from pcrl_gym.envs.task import Task, make_task
from pcrl_gym.episodes.groups import word_groups
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.prompts.prompt import Prompt


@pytest.fixture(scope="module")
def micro() -> HFGenerator:
    return HFGenerator.from_pretrained("micro", device="cpu")


def task_of(generator: HFGenerator, cache: Path | None = None) -> Task:
    return make_task(
        dataset=load_prompts("micro", split="validation_seen")[:24],
        generator=generator,
        cache=cache,
    )


def test_they_agree_with_the_costs_of_dropping(micro: HFGenerator) -> None:
    task = task_of(micro)
    episodes = task.episodes[:]
    groups = [word_groups(e.text, e.spans, e.droppable) for e in episodes]
    estimated = np.concatenate(attributions(task.scorer, episodes, groups))
    measured = np.concatenate(losses(task.scorer, episodes, groups))
    assert np.corrcoef(estimated, measured)[0, 1] > 0.5


def test_the_agent_drops_what_is_attributed_least(micro: HFGenerator) -> None:
    task, agent = task_of(micro), IntegratedGradientsAgent(rate=0.5)
    agent.attach(task)
    episodes = task.episodes[:]
    masks = agent.act(*task.begin(episodes)).astype(bool)
    kept = [mask[: len(e)] for e, mask in zip(episodes, masks, strict=True)]
    alone = [np.where(e.droppable, e.droppable.cumsum() - 1, -1) for e in episodes]
    for e, own, values in zip(
        episodes, kept, attributions(task.scorer, episodes, alone), strict=True
    ):
        assert (~own).sum() == e.droppable.sum() // 2
        dropped = ~own[e.droppable]
        assert values[dropped].max(initial=-np.inf) <= values[~dropped].min(initial=np.inf)


def test_they_are_measured_once_and_kept_on_disk(
    micro: HFGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = DistillAgent(
        teacher="integrated_gradients", encoder="small", batch_size=8, device="cpu", prompts=8
    )

    def make_env(num_envs: int) -> object:
        import gymnasium as gym

        return gym.make_vec(
            "pcrl_gym:PromptCompression-v0",
            num_envs=num_envs,
            generator=micro,
            cache=tmp_path / "costs.db",
        )

    first = agent.train(make_env, episodes=200, progress=False)
    monkeypatch.setattr(HFGenerator, "attributions", None)
    again = DistillAgent(config=agent.config, device="cpu")
    assert [figures["loss"] for figures in first] == [
        figures["loss"] for figures in again.train(make_env, episodes=200, progress=False)
    ]


def test_other_generators_are_refused() -> None:
    generator = CountingGenerator()
    task = make_task(dataset=[Prompt("0", "a b")], generator=generator, tokenizer="micro")
    agent = IntegratedGradientsAgent()
    agent.attach(task)
    with pytest.raises(ValueError, match=r"gradients need a causal transformers model.*counting"):
        agent.act(*task.begin(task.episodes[:]))
