"""The search finds the best mask where it can try all, and never loses by trying more."""

from __future__ import annotations

from contextlib import suppress
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from agents.climb import Climb, all_masks
from agents.search import SearchAgent, search
from fakes import CountingGenerator
from pcrl_gym.envs.task import Task, make_task
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.scoring.rewards import LinearReward

WORDS = (
    "alpha not beta before gamma delta all but epsilon zeta from eta to theta iota kappa".split()
)


class LookupScorer:
    """Pays for each mask a number drawn by chance, always the same, and counts its calls."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def reward_of(self, episode, mask) -> float:
        key = [*episode.text.encode(), *np.asarray(mask, int)]
        return float(np.random.default_rng(key).random())

    def __call__(self, episodes, masks):
        self.calls.append(len(masks))
        rewards = [self.reward_of(e, m) for e, m in zip(episodes, masks, strict=True)]

        class Scores:
            reward = np.array(rewards)

        return Scores


class KeyWordScorer(LookupScorer):
    """Pays the share of units dropped if the words "not" and "before" are left, else -0.01."""

    def reward_of(self, episode, mask) -> float:
        left = episode.compress(mask)
        return float((~mask).mean()) if "not" in left and "before" in left else -0.01


def episodes_of(*instructions: str, **options):
    prompts = [Prompt(id=str(i), instruction=text) for i, text in enumerate(instructions)]
    generator = CountingGenerator()
    generator.tokenizer, generator.fingerprint = models.gpt2_tokenizer(), "words"
    options = {"unit": "word"} | options
    return make_task(dataset=prompts, generator=generator, **options)


def masks_of(n: int) -> list[tuple[bool, ...]]:
    return list(product([False, True], repeat=n))


def rounds_of(proposals) -> list[list[np.ndarray]]:
    """All rounds of a coroutine to whose masks every answer is the same."""
    rounds = [next(proposals)]
    with suppress(StopIteration):
        while True:
            rounds.append(proposals.send([0.5] * len(rounds[-1])))
    return rounds


@pytest.mark.parametrize("count", [0, 1, 4])
def test_few_units_are_searched_to_the_end(count: int) -> None:
    text = " ".join(WORDS[:count]) or "kept"
    (episode,) = episodes_of(text, force_keep=["kept"]).episodes[:]
    free = np.flatnonzero(episode.droppable)
    scorer = LookupScorer()
    (found,) = search(scorer, [episode], budget=1)
    rewards = []
    for bits in masks_of(len(free)):
        mask = np.ones(len(episode), bool)
        mask[free] = bits
        rewards.append(scorer.reward_of(episode, mask))
    assert found.reward == max(rewards) == scorer.reward_of(episode, found.mask)
    assert sum(scorer.calls) == 2 ** len(free)
    assert found.mask[~episode.droppable].all()


def test_everything_is_each_mask_once_beginning_with_all_kept() -> None:
    rounds = rounds_of(all_masks(5, at_once=12))
    assert rounds[0][0].all()
    assert [len(masks) for masks in rounds] == [12, 12, 8]
    assert len({mask.tobytes() for masks in rounds for mask in masks}) == 32


@given(
    st.integers(0, 5),
    st.lists(st.integers(1, 120), min_size=2, max_size=4).map(sorted),
)
@settings(max_examples=25)
def test_a_larger_budget_never_earns_less(seed: int, budgets: list[int]) -> None:
    (episode,) = episodes_of(" ".join(WORDS)).episodes[:]
    rewards = []
    for budget in budgets:
        scorer = LookupScorer()
        rewards.append(search(scorer, [episode], budget=budget, seed=seed)[0].reward)
        assert sum(scorer.calls) == budget
    assert rewards == sorted(rewards)


@given(st.integers(13, 24), st.integers(0, 9))
@settings(max_examples=25)
def test_a_climb_never_asks_for_a_mask_twice(n: int, seed: int) -> None:
    climb = Climb(n, np.random.default_rng(seed)).proposals()
    values = np.random.default_rng(seed)
    masks = next(climb)
    seen: set[bytes] = set()
    assert masks[0].all()
    for _ in range(200):
        keys = {mask.tobytes() for mask in masks}
        assert len(keys) == len(masks) == 1
        assert not keys & seen
        seen |= keys
        masks = climb.send(values.random(len(masks)).tolist())


def test_a_climb_ends_when_nothing_is_new() -> None:
    rounds = rounds_of(Climb(3, np.random.default_rng(0)).proposals())
    assert 1 < len(rounds) <= 2**3


def test_only_what_the_reward_needs_is_left() -> None:
    (episode,) = episodes_of(" ".join(WORDS)).episodes[:]
    (found,) = search(KeyWordScorer(), [episode], budget=80)
    assert episode.compress(found.mask).removeprefix("Instruction:").split() == [
        "not",
        "before",
        "Output:",
    ]


def test_any_reward_is_climbed() -> None:
    """One that pays for similarity alone is best kept whole; one for dropping, emptied."""
    text = " ".join(WORDS)
    for similarity, ratio, left in ((1.0, 0.0, text), (0.0, 1.0, "")):
        task = episodes_of(text, reward=LinearReward(similarity, ratio))
        (found,) = search(task.scorer, task.episodes[:], budget=60)
        kept = task.episodes[0].compress(found.mask)
        assert kept == f"Instruction: {left}\nOutput: \n" or found.reward == 1.0


def test_a_prompt_is_searched_alike_in_every_company() -> None:
    texts = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(4)]
    episodes = episodes_of(*texts).episodes[:]
    together = search(LookupScorer(), [*episodes, episodes[0]], budget=40, seed=3)
    for episode, expected in zip(reversed(episodes), reversed(together[:4]), strict=True):
        (alone,) = search(LookupScorer(), [episode], budget=40, seed=3)
        np.testing.assert_array_equal(alone.mask, expected.mask)
        assert alone.reward == expected.reward
    np.testing.assert_array_equal(together[0].mask, together[4].mask)


def test_all_prompts_are_scored_in_one_call_per_round() -> None:
    texts = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(4)]
    scorer = LookupScorer()
    search(scorer, episodes_of(*texts).episodes[:], budget=10)
    assert scorer.calls == [4] * 10


def test_nothing_to_do() -> None:
    assert search(LookupScorer(), []) == []


def test_units_past_the_window_and_protected_ones_stay() -> None:
    task = episodes_of(" ".join(WORDS), force_keep=("beta",))
    (episode,) = task.episodes[:]
    (found,) = search(KeyWordScorer(), [episode], budget=200, max_units=8)
    assert found.mask[8:].all()
    assert "beta" in episode.compress(found.mask)
    assert not found.mask.all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, "budget to be an integer >= 1, got 0"),
        ({"budget": 2.5}, "budget"),
        ({"seed": -1}, "seed"),
        ({"max_units": -1}, "max_units"),
        ({"exhaustive_units": -1}, "exhaustive_units"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search(LookupScorer(), [], **options)


def batch_of(task: Task, rows: list[int]):
    episodes = task.episodes.take(rows)
    return task.begin(episodes)


def test_the_agent_acts_as_the_search_found() -> None:
    task = episodes_of(" ".join(WORDS), "not now", " ".join(WORDS[::-1]), max_units=12)
    agent = SearchAgent(budget=30, seed=2)
    agent.attach(task)
    masks = agent.act(*batch_of(task, [2, 0, 1]))
    expected = search(task.scorer, task.episodes.take([2, 0, 1]), budget=30, seed=2, max_units=12)
    assert masks.dtype == np.int8
    for mask, result in zip(masks, expected, strict=True):
        n = min(12, len(result.mask))
        np.testing.assert_array_equal(mask[:n], result.mask[:n])
        assert result.reward > 0
        assert not mask[n:].any()


def test_masks_are_kept_on_disk(tmp_path: Path) -> None:
    texts = " ".join(WORDS), "not now"
    cache = tmp_path / "answers.db"
    first, more = episodes_of(*texts, cache=cache), episodes_of(*texts, "now", cache=cache)
    agent, again, other = SearchAgent(budget=9), SearchAgent(budget=9), SearchAgent(budget=10)
    for one, task in ((agent, first), (again, more), (other, more)):
        one.attach(task)
    expected = agent.act(*batch_of(first, [0, 1]))
    calls = more.scorer.generator.generate_calls
    np.testing.assert_array_equal(again.act(*batch_of(more, [1, 0])), expected[::-1])
    assert not calls
    again.act(*batch_of(more, [0, 2]))
    asked = len(calls)
    assert asked  # for the new prompt
    other.act(*batch_of(more, [0]))
    assert len(calls) > asked


@pytest.mark.parametrize(
    "change", [{"reward": LinearReward(0.9, 0.1)}, {"force_keep": ["beta"]}, {"max_units": 5}]
)
def test_masks_are_kept_for_one_task(change: dict, tmp_path: Path) -> None:
    for options in ({}, change):
        task = episodes_of(" ".join(WORDS), cache=tmp_path / "answers.db", **options)
        agent = SearchAgent(budget=9)
        agent.attach(task)
        agent.act(*batch_of(task, [0]))
        assert task.scorer.generator.generate_calls


def test_masks_for_the_users_own_reward_are_not_kept(tmp_path: Path) -> None:
    """Nothing tells two objects of the same class apart."""

    class Paid(LinearReward):
        sign = 1.0

        def __call__(self, x):
            return self.sign * x.drop_rate

    kept = []
    for sign in (1.0, -1.0):
        reward = Paid()
        object.__setattr__(reward, "sign", sign)
        task = episodes_of("not before", reward=reward, cache=tmp_path / "answers.db")
        agent = SearchAgent()
        agent.attach(task)
        observations, infos = batch_of(task, [0])
        mask = agent.act(observations, infos).astype(bool)
        kept.append(int((mask & observations["droppable"].astype(bool)).sum()))
    assert kept == [0, 2]


def test_the_agent_needs_its_task() -> None:
    task, other = episodes_of("not before"), episodes_of("another prompt")
    agent = SearchAgent()
    with pytest.raises(RuntimeError, match=r"call attach\(task\)"):
        agent.act(*batch_of(task, [0]))
    agent.attach(other)
    with pytest.raises(ValueError, match="prompt '0' is not in the attached task"):
        agent.act(*batch_of(task, [0]))
    agent.attach(task)
    agent.act(*batch_of(task, [0]))


def test_the_agents_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="budget to be an integer >= 1"):
        SearchAgent(budget=0)
    with pytest.raises(ValueError, match="seed to be an integer >= 0"):
        SearchAgent(seed=-1)
