"""Words are pooled from units and spread to them; policies of whole words drop nothing else."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import models
from agents.base import keep_masks
from agents.distill import DistillAgent
from agents.ppo import PPOAgent
from agents.scst import SCSTAgent
from agents.word_masks import WordMasks
from fakes import CountingGenerator
from pcrl_gym.envs.task import Task, make_task
from pcrl_gym.episodes.groups import word_groups
from pcrl_gym.prompts.prompt import Prompt

TEXTS = ("unbelievable numbers 1 250,75", "Ask Ms Ada Lovelace", "tokenization hurts")
PROMPTS = [Prompt(str(i), text) for i, text in enumerate(TEXTS)]
OWN = {"encoder": "small", "hidden_size": 16, "num_layers": 1, "batch_size": 2, "device": "cpu"}


def options(**changes: Any) -> dict[str, Any]:
    generator = CountingGenerator(answer=lambda text: text[:20])
    generator.tokenizer = models.gpt2_tokenizer()
    own = {"dataset": PROMPTS, "generator": generator, "tokenizer": models.gpt2_tokenizer()}
    return own | {"max_units": 48, "reward": "faithful"} | changes


def batch(**changes: Any) -> tuple[Task, WordMasks, Any, Any]:
    task = make_task(**options(**changes))
    observations, infos = task.begin(task.episodes[:])
    return task, WordMasks(observations, infos), observations, infos


def test_words_are_those_of_the_text() -> None:
    task, words, _, _ = batch()
    for episode, own in zip(task.episodes[:], words.groups, strict=True):
        expected = word_groups(episode.text, episode.spans, episode.droppable)
        np.testing.assert_array_equal(own, expected)
    assert [own.max() + 1 for own in words.groups] == [3, 2, 2]


def test_pooled_by_hand_and_spread_back() -> None:
    _, words, observations, _ = batch()
    logits = torch.arange(observations["droppable"].size, dtype=torch.float32)
    logits = logits.reshape(observations["droppable"].shape)
    pooled = words.pooled(logits)
    assert pooled.shape == (3, 3)
    for row, own in enumerate(words.groups):
        for word in range(own.max() + 1):
            mean = logits[row, : len(own)][torch.from_numpy(own == word)].mean()
            assert pooled[row, word] == pytest.approx(float(mean))
    masks = np.zeros((2, 3, 3), np.bool_)
    masks[1, 0, 1] = True
    kept = words.spread(masks)
    assert kept.shape == (2, *logits.shape)
    for row, own in enumerate(words.groups):
        assert kept[0, row, : len(own)].tolist() == (own < 0).tolist()
        assert kept[0, row, len(own) :].all()
    assert kept[1, 0, : len(words.groups[0])].tolist() == np.isin(words.groups[0], (-1, 1)).tolist()
    assert words.allowed.reshape(3, 3, 2).tolist()[1] == [[True, True], [True, True], [True, False]]


def test_a_word_beyond_the_window_is_kept() -> None:
    task, words, _, _ = batch(max_units=7)
    for episode, own in zip(task.episodes[:], words.groups, strict=True):
        assert len(own) <= 7
        whole = word_groups(episode.text, episode.spans, episode.droppable)
        cut = set(whole[7:]) & set(whole[:7])
        assert all(own[place] == -1 for place in range(len(own)) if whole[place] in cut)


@pytest.mark.parametrize("rate", [None, 0.3, 0.6])
@pytest.mark.parametrize("cls", [DistillAgent, SCSTAgent])
def test_policies_of_whole_words_drop_nothing_else(cls: Any, rate: float | None) -> None:
    agent = cls(rate=rate, whole_words=True, initial_keep=0.5, **OWN)
    agent.train(
        lambda n: gym.make_vec("pcrl_gym:PromptCompression-v0", num_envs=n, **options()),
        episodes=20,
        progress=False,
    )
    _, words, observations, infos = batch()
    masks = agent.act(observations, infos)
    np.testing.assert_array_equal(masks, keep_masks(observations, masks == 0))
    dropped = 0
    for mask, own in zip(masks, words.groups, strict=True):
        for word in range(own.max() + 1):
            states = set(mask[: len(own)][own == word].tolist())
            assert len(states) == 1
            dropped += states == {0}
    if rate is not None:
        assert 0 < dropped < sum(own.max() + 1 for own in words.groups)


def test_ppo_refuses_whole_words() -> None:
    with pytest.raises(ValueError, match="remove whole_words, or train scst"):
        PPOAgent(whole_words=True)
