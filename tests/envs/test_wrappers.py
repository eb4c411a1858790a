from __future__ import annotations

import itertools
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3 import SAC

from env_fixtures import ID, PROMPTS, options
from fakes import CountingGenerator
from pcrl_gym.envs.wrappers import KeepLogits, VectorAutoreset, VectorKeepLogits, keep_above_zero

MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED]


@pytest.fixture
def make(gpt2_tokenizer):
    def _make(**changes: Any) -> gym.Env:
        return gym.make(ID, **options(gpt2_tokenizer, **changes))

    return _make


@pytest.fixture
def make_vec(gpt2_tokenizer):
    def _make_vec(num_envs: int = 4, **changes: Any) -> gym.vector.VectorEnv:
        return gym.make_vec(ID, num_envs=num_envs, **options(gpt2_tokenizer, **changes))

    return _make_vec


def cart_poles(mode: AutoresetMode) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 3, autoreset_mode=mode)


# ---- logits as actions


@given(st.lists(st.floats(allow_nan=False, width=32), min_size=1))
def test_what_is_above_zero_stays(logits: list[float]):
    mask = keep_above_zero(np.array(logits, np.float32))
    assert mask.dtype == np.int8
    assert mask.tolist() == [int(logit > 0) for logit in logits]


def test_a_logit_that_is_no_number_is_refused(make):
    env = KeepLogits(make())
    env.reset(seed=0)
    logits = np.zeros(64, np.float32)
    logits[3] = np.nan
    with pytest.raises(ValueError, match="got NaN"):
        env.step(logits)


@pytest.mark.parametrize("max_steps", [1, 3])
@pytest.mark.parametrize(
    "wrap",
    [
        KeepLogits,
        wrappers.FlattenObservation,
        lambda env: KeepLogits(wrappers.FlattenObservation(env)),
        lambda env: wrappers.FlattenObservation(KeepLogits(wrappers.TimeLimit(env, 2))),
    ],
    ids=["logits", "flat", "both", "limit"],
)
def test_the_checker_has_nothing_to_say(make, max_steps: int, wrap):
    env = wrap(make(max_steps=max_steps))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # It warns about every wrapper, whatever that does.
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        warnings.filterwarnings("ignore", message="Token ids are flattened")
        check_env(env, skip_render_check=True)


def test_logits_do_what_their_mask_does(make):
    plain, wrapped = make(), KeepLogits(make())
    rng = np.random.default_rng(0)
    plain.reset(seed=0), wrapped.reset(seed=0)
    for _ in PROMPTS:
        logits = rng.normal(size=64).astype(np.float32)
        expected = plain.step((logits > 0).astype(np.int8))
        assert data_equivalence(wrapped.step(logits), expected, exact=True)
        plain.reset(), wrapped.reset()


def test_batches_of_logits_do_what_their_masks_do(make_vec):
    plain, wrapped = make_vec(), VectorKeepLogits(make_vec())
    assert wrapped.action_space == gym.spaces.Box(-1, 1, (4, 64), np.float32)
    logits = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    plain.reset(seed=0), wrapped.reset(seed=0)
    expected = plain.step((logits > 0).astype(np.int8))
    assert data_equivalence(wrapped.step(logits)[:4], expected[:4], exact=True)
    logits[2, 5] = np.nan
    with pytest.raises(ValueError, match="got NaN"):
        wrapped.step(logits)


def test_other_actions_are_refused():
    with pytest.raises(ValueError, match=r"expected .* MultiBinary .*got Discrete\(2\)"):
        KeepLogits(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match=r"expected .* MultiBinary .*got Discrete\(2\)"):
        VectorKeepLogits(cart_poles(AutoresetMode.SAME_STEP))


def test_a_wrapped_environment_can_be_made_again_from_its_spec(make):
    env = gym.make(KeepLogits(make()).spec)
    assert isinstance(env, KeepLogits)
    assert env.action_space.shape == (64,)


def test_an_algorithm_for_continuous_actions_trains(make):
    """SAC of Stable-Baselines3 takes Box alone."""
    env = KeepLogits(wrappers.FlattenObservation(make(unit="word", max_units=8)))
    model = SAC("MlpPolicy", env, learning_starts=4, batch_size=4, buffer_size=32, seed=0)
    model.learn(8)
    assert model.num_timesteps == 8


# ---- autoreset


@pytest.mark.parametrize("max_steps", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_equal_to_gymnasiums_own_vector_environment(
    make, make_vec, mode: AutoresetMode, max_steps: int
):
    """Transition for transition; of one environment, as several share a walk over the split."""
    ours = VectorAutoreset(make_vec(1, max_steps=max_steps), mode)
    theirs = SyncVectorEnv([lambda: make(max_steps=max_steps)], autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"] is mode
    assert data_equivalence(ours.reset(seed=3), theirs.reset(seed=3), exact=True)
    rng = np.random.default_rng(0)
    ends = 0
    for _ in range(20):
        actions = rng.integers(0, 2, (1, 64), np.int8)
        one, two = ours.step(actions), theirs.step(actions)
        assert data_equivalence(one, two, exact=True)
        if one[2].all():
            ends += 1
            if mode is AutoresetMode.DISABLED:
                one, two = (
                    envs.reset(options={"reset_mask": np.array([True])}) for envs in (ours, theirs)
                )
                assert data_equivalence(one, two, exact=True)
    assert ends >= 5


def prompts(envs: gym.vector.VectorEnv, infos: dict[str, Any]) -> list[str]:
    """Ids of the prompts of eight steps in a row."""
    seen = [infos["prompt_id"].tolist()]
    for _ in range(7):
        _, _, over, _, infos = envs.step(np.ones((envs.num_envs, 64), np.int8))
        if envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED and over.all():
            _, infos = envs.reset()
        seen.append(infos["prompt_id"].tolist())
    # Steps without a change of prompt tell nothing of the order.
    return [ids for ids, _ in itertools.groupby(seen)]


@pytest.mark.parametrize("mode", MODES)
def test_the_prompts_come_in_the_same_order(make_vec, mode: AutoresetMode):
    plain, wrapped = make_vec(2), VectorAutoreset(make_vec(2), mode)
    order = prompts(plain, plain.reset(seed=1)[1])
    again = prompts(wrapped, wrapped.reset(seed=1)[1])
    assert len(again) >= 4
    assert again == order[: len(again)]


def test_the_step_that_resets_asks_no_generator(make_vec):
    generator = CountingGenerator()
    envs = VectorAutoreset(make_vec(generator=generator))
    first, _ = envs.reset(seed=0)
    last, _, over, _, infos = envs.step(np.ones((4, 64), np.int8))
    assert over.all()
    assert infos["_similarity"].all()
    np.testing.assert_array_equal(last["input_ids"], first["input_ids"])
    calls = len(generator.generate_calls)
    following, rewards, over, cut, infos = envs.step(np.zeros((4, 64), np.int8))
    assert len(generator.generate_calls) == calls
    assert not rewards.any()
    assert not (over | cut).any()
    assert "similarity" not in infos
    assert (following["input_ids"] != first["input_ids"]).any()
    assert following["droppable"].any()  # the actions of this step dropped nothing


@pytest.mark.parametrize("mode", MODES)
def test_a_seed_or_an_index_starts_anew(make_vec, mode: AutoresetMode):
    envs, fresh = VectorAutoreset(make_vec(), mode), make_vec()
    envs.reset(seed=0)
    for arguments in ({"seed": 5}, {"options": {"index": [3, 0, 4, 0]}}):
        envs.step(np.ones((4, 64), np.int8))
        assert data_equivalence(envs.reset(**arguments), fresh.reset(**arguments), exact=True)
    _, _, over, _, _ = envs.step(np.ones((4, 64), np.int8))
    assert over.all()


def test_without_autoreset_a_step_after_the_end_is_refused(make_vec):
    envs = VectorAutoreset(make_vec(), AutoresetMode.DISABLED)
    envs.reset(seed=0)
    envs.step(np.ones((4, 64), np.int8))
    with pytest.raises(ResetNeeded, match="reset"):
        envs.step(np.ones((4, 64), np.int8))


@pytest.mark.parametrize("mask", [[True, False, True, True], [True], [False] * 4])
def test_a_part_cannot_be_reset(make_vec, mask: list[bool]):
    envs = VectorAutoreset(make_vec(), AutoresetMode.DISABLED)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="expected reset_mask to be True for all num_envs=4"):
        envs.reset(options={"reset_mask": np.array(mask)})


def test_other_environments_and_modes_are_refused(make_vec):
    with pytest.raises(ValueError, match=r"expected .* SAME_STEP autoreset, got .*NEXT_STEP"):
        VectorAutoreset(cart_poles(AutoresetMode.NEXT_STEP))
    with pytest.raises(ValueError, match=r"expected .*DISABLED, got .*SAME_STEP"):
        VectorAutoreset(make_vec(), AutoresetMode.SAME_STEP)
    envs = VectorAutoreset(cart_poles(AutoresetMode.SAME_STEP))
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"end together, but only \d of 3"):  # noqa: PT012
        for _ in range(500):
            envs.step(np.zeros(3, np.int64))


def test_gymnasiums_vector_wrappers_on_it(make_vec):
    plain = make_vec()
    # The reason for this wrapper; which error it is depends on Gymnasium's version.
    with pytest.raises((AssertionError, ValueError)):
        wrappers.vector.FlattenObservation(plain)
    envs = wrappers.vector.RecordEpisodeStatistics(VectorAutoreset(plain))
    envs = wrappers.vector.FlattenObservation(envs)
    envs = VectorKeepLogits(wrappers.vector.NormalizeReward(envs))
    observations, _ = envs.reset(seed=0)
    assert envs.observation_space.contains(observations)
    lengths = []
    for _ in range(6):
        observations, _, _, _, infos = envs.step(envs.action_space.sample())
        assert observations.shape == (4, 192)
        lengths += infos["episode"]["l"].tolist() if "episode" in infos else []
    assert lengths == [1] * 12


# ---- TorchRL


def test_torchrl_takes_the_single_environment_as_it_is(gpt2_tokenizer, make):
    pytest.importorskip("torchrl")
    from torchrl.envs import GymEnv
    from torchrl.envs.utils import check_env_specs

    env = GymEnv(ID, **options(gpt2_tokenizer))
    check_env_specs(env)
    env.set_seed(0)
    steps = env.rollout(4, break_when_any_done=False)
    plain = make()
    plain.reset(seed=0)  # which is how TorchRL sets a seed; the roll-out resets again
    for step in steps:
        observation, _ = plain.reset()
        np.testing.assert_array_equal(step["input_ids"], observation["input_ids"])
        _, reward, *_ = plain.step(step["action"].numpy())
        assert step["next", "reward"].item() == np.float32(reward)
        assert step["next", "done"].item()


def test_torchrl_takes_the_vector_environment_without_autoreset(make_vec):
    pytest.importorskip("torchrl")
    from torchrl.envs import GymWrapper
    from torchrl.envs.utils import check_env_specs

    env = GymWrapper(VectorAutoreset(make_vec(3), AutoresetMode.DISABLED))
    check_env_specs(env)
    env.set_seed(0)
    steps = env.rollout(4, break_when_any_done=False)
    plain = make_vec(3)
    plain.reset(seed=0)
    observations, _ = plain.reset()
    for step in steps.unbind(1):
        np.testing.assert_array_equal(step["input_ids"], observations["input_ids"])
        observations, rewards, _, _, infos = plain.step(step["action"].numpy())
        np.testing.assert_array_equal(step["next", "reward"][:, 0], rewards.astype(np.float32))
        for row, final in zip(step["next"], infos["final_obs"], strict=True):
            np.testing.assert_array_equal(row["input_ids"], final["input_ids"])
        assert step["next", "done"].all()
