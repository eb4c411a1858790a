from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, VectorEnv

from env_fixtures import ID, PROMPTS, options
from fakes import CountingGenerator
from pcrl_gym.envs.env import PromptCompressionEnv
from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv, stack_infos
from pcrl_gym.errors import GeneratorError
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import AlpacaTemplate, RenderedPrompt

ORDER = [3, 0, 4, 0]


@pytest.fixture
def make(gpt2_tokenizer):
    def _make(num_envs: int = 4, **changes: Any) -> PromptCompressionVectorEnv:
        return PromptCompressionVectorEnv(num_envs, **options(gpt2_tokenizer, **changes))

    return _make


def row(batch: dict[str, Any], i: int) -> dict[str, Any]:
    """Entry i of a batched info, as the single environment would have given it."""
    return {
        key: row(value, i) if isinstance(value, dict) else value[i]
        for key, value in batch.items()
        if not key.startswith("_") and batch[f"_{key}"][i]
    }


def assert_same_values(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[key], two[key]) for key in one)


def actions(rng: np.random.Generator, num_envs: int = 4) -> np.ndarray:
    return rng.integers(0, 2, (num_envs, 64), np.int8)


def test_make_vec_builds_the_native_one(gpt2_tokenizer):
    envs = gym.make_vec(ID, num_envs=3, **options(gpt2_tokenizer))
    assert isinstance(envs, PromptCompressionVectorEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert envs.single_action_space == gym.spaces.MultiBinary(64)
    obs, _ = envs.reset(seed=0)
    assert envs.observation_space.contains(obs)
    assert obs["droppable"].shape == (3, 64)
    action = envs.action_space.sample()
    assert action.shape == (3, 64)
    obs, rewards, terminated, truncated, _ = envs.step(action)
    assert envs.observation_space.contains(obs)
    assert [(a.dtype.name, a.shape) for a in (rewards, terminated, truncated)] == [
        ("float64", (3,)),
        ("bool", (3,)),
        ("bool", (3,)),
    ]
    envs.close()


@pytest.mark.parametrize("max_steps", [1, 2])
def test_agrees_with_single_environments(make, gpt2_tokenizer, max_steps: int):
    envs = make(max_steps=max_steps)
    singles = [PromptCompressionEnv(**options(gpt2_tokenizer, max_steps=max_steps)) for _ in ORDER]
    obs, infos = envs.reset(options={"index": ORDER})
    rng = np.random.default_rng(0)
    for i, (env, index) in enumerate(zip(singles, ORDER, strict=True)):
        expected = env.reset(options={"index": index})
        assert_same_values({k: v[i] for k, v in obs.items()}, expected[0])
        assert_same_values(row(infos, i), expected[1])
    for step in range(max_steps):
        batch = actions(rng)
        masks = envs.action_masks()
        for i, env in enumerate(singles):
            np.testing.assert_array_equal(masks[i], env.action_masks())
        obs, rewards, terminated, truncated, infos = envs.step(batch)
        last = step == max_steps - 1
        assert terminated.tolist() == [last] * 4
        assert not truncated.any()
        for i, env in enumerate(singles):
            single_obs, reward, _, _, single_info = env.step(batch[i])
            assert rewards[i] == reward
            if last:
                assert_same_values(infos["final_obs"][i], single_obs)
                assert_same_values(row(infos["final_info"], i), single_info)
            else:
                assert_same_values({k: v[i] for k, v in obs.items()}, single_obs)
                assert_same_values(row(infos, i), single_info)


def test_one_generator_call_per_step(make):
    generator = CountingGenerator()
    envs = make(num_envs=16, generator=generator)
    envs.reset(seed=0)
    assert not generator.generate_calls
    rng = np.random.default_rng(0)
    for step in range(1, 4):
        envs.step(actions(rng, 16))
        assert len(generator.generate_calls) == step


def test_steps_before_the_last_ask_no_generator(make):
    generator = CountingGenerator()
    envs = make(generator=generator, max_steps=3)
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(2):
        _, rewards, terminated, _, infos = envs.step(actions(rng))
        assert not rewards.any()
        assert not terminated.any()
        assert "final_obs" not in infos
    assert not generator.generate_calls
    _, _, terminated, _, infos = envs.step(actions(rng))
    assert terminated.all()
    assert len(generator.generate_calls) == 1
    assert infos["_final_obs"].all()
    assert infos["_final_info"].all()


def test_autoreset_shows_the_next_episode(make):
    envs = make()
    before, infos = envs.reset(seed=0)
    ids = infos["prompt_id"].tolist()
    after, _, _, _, infos = envs.step(np.ones((4, 64)))
    assert infos["final_info"]["prompt_id"].tolist() == ids
    assert infos["prompt_id"].tolist() != ids
    assert "similarity" not in infos
    for i in range(4):
        np.testing.assert_array_equal(infos["final_obs"][i]["input_ids"], before["input_ids"][i])
    names = {e.prompt.id: e for e in envs.task.episodes}
    for i, name in enumerate(infos["prompt_id"]):
        n = min(64, len(names[name]))
        np.testing.assert_array_equal(after["input_ids"][i][:n], names[name].unit_ids[:n])
        assert infos["prompt"][i] == names[name].text


def test_together_they_meet_every_prompt_once_per_pass(make):
    envs = make(num_envs=2)
    _, infos = envs.reset(seed=3)
    ids = infos["prompt_id"].tolist()
    for _ in range(4):
        ids += envs.step(np.ones((2, 64)))[4]["prompt_id"].tolist()
    assert sorted(ids[:5]) == sorted(ids[5:]) == sorted(p.id for p in PROMPTS)


def run(envs: PromptCompressionVectorEnv, seed: Any) -> list[str]:
    ids = envs.reset(seed=seed)[1]["prompt_id"].tolist()
    for _ in range(6):
        ids += envs.step(np.ones((4, 64)))[4]["prompt_id"].tolist()
    return ids


@pytest.mark.parametrize(("seed", "other"), [(0, 1), ([1, 2, 3, 4], [1, 2, 3, 5])])
def test_seeds(make, seed: Any, other: Any):
    envs = make()
    first = run(envs, seed)
    assert run(make(), seed) == first
    assert run(envs, other) != first
    assert run(envs, seed) == first


def test_seeds_that_are_none_are_drawn(make):
    envs, other = make(), make()
    seed = [1, None, 3, None]
    # Drawn by the current random numbers: in `SyncVectorEnv` sub-environments go on with theirs.
    for once in (envs, other):
        once.reset(seed=7)
    first = run(envs, seed)
    assert run(other, np.array(seed)) == first
    assert run(envs, seed) != first
    assert run(envs, [2, None, 3, None]) != first


def test_a_list_of_none_goes_on_with_the_walk(make):
    envs, other = make(), make()
    for once in (envs, other):
        once.reset(seed=7)
    assert run(envs, [None] * 4) == run(other, None)


@pytest.mark.parametrize(
    "seed",
    [-1, 1.5, True, "1234", [1, 2, 3, -4], [1, 2, 3, 4.0], [True] * 4, ["1"] * 4, np.array(1.5)],
)
def test_wrong_seeds_are_refused(make, seed: Any):
    with pytest.raises(ValueError, match="expected seed to be an integer >= 0 or None, got"):
        make().reset(seed=seed)


@pytest.mark.parametrize("seed", [[1, 2], [1, None], []])
def test_seed_list_of_wrong_length_is_refused(make, seed: list[int | None]):
    with pytest.raises(ValueError, match=f"num_envs=4 seeds, got {len(seed)}"):
        make().reset(seed=seed)


@pytest.mark.parametrize("bad", [{"index": 0}, {"index": [0, 1]}, {"index": [0, 1, 2, 5]}])
def test_wrong_indices_are_refused(make, bad: dict[str, Any]):
    with pytest.raises(ValueError, match=r"expected options\['index'\]"):
        make().reset(options=bad)


@pytest.mark.parametrize("bad", [np.ones((3, 64)), np.ones(64), np.full((4, 64), 0.5)])
def test_wrong_actions_are_refused(make, bad: np.ndarray):
    envs = make()
    envs.reset()
    with pytest.raises(ValueError, match="expected an action of"):
        envs.step(bad)


def test_steps_before_a_reset_are_refused(make):
    envs = make()
    for call in (lambda: envs.step(np.ones((4, 64))), envs.action_masks, envs.render):
        with pytest.raises(ResetNeeded):
            call()


@pytest.mark.parametrize("num_envs", [0, -1, 1.5, True, "3"])
def test_num_envs_must_be_positive(num_envs: Any):
    message = f"expected num_envs to be an integer >= 1, got {num_envs!r}"
    with pytest.raises(ValueError, match=message):
        PromptCompressionVectorEnv(num_envs)


def test_what_was_returned_belongs_to_the_caller(make):
    envs, other = make(max_steps=2), make(max_steps=2)
    rng = np.random.default_rng(0)
    for returned, expected in (
        (envs.reset(seed=0), other.reset(seed=0)),
        *((envs.step(a), other.step(a)) for a in [actions(rng) for _ in range(4)]),
    ):
        assert data_equivalence(returned[0], expected[0], exact=True)
        for array in (*returned[0].values(), returned[-1]["spans"], returned[-1]["action_mask"]):
            array[:] = 7


def test_a_failed_generator_leaves_the_episodes_as_they_were(make):
    def fail(text: str) -> str:
        raise ConnectionError("gone")

    generator = CountingGenerator(answer=fail)
    envs = make(generator=generator)
    _, infos = envs.reset(seed=0)
    with pytest.raises(GeneratorError, match="gone"):
        envs.step(np.zeros((4, 64)))
    generator.answer = lambda text: "back"
    final = envs.step(np.zeros((4, 64)))[4]["final_info"]
    assert final["prompt_id"].tolist() == infos["prompt_id"].tolist()


def test_pickling_keeps_walk_and_answers(gpt2_folder: Path):
    envs = PromptCompressionVectorEnv(2, dataset=PROMPTS, generator=gpt2_folder, max_units=64)
    envs.reset(seed=0)
    copy = pickle.loads(pickle.dumps(envs))
    rng = np.random.default_rng(0)
    for _ in range(4):
        batch = actions(rng, 2)
        one, two = envs.step(batch), copy.step(batch)
        assert data_equivalence(one[:4], two[:4], exact=True)
        assert one[4]["prompt_id"].tolist() == two[4]["prompt_id"].tolist()


@pytest.mark.parametrize("mode", ["ansi", "rgb_array", "human", None])
def test_rendering_shows_the_finished_step(make, mode: str | None, capsys):
    envs = make(render_mode=mode)
    envs.reset(options={"index": ORDER})
    if mode is not None:
        envs.render()
    envs.step(np.zeros((4, 64)))
    printed = capsys.readouterr().out
    frames = envs.render()
    if mode == "ansi":
        assert [f.splitlines()[0] for f in frames] == [f"[{PROMPTS[i].id}]" for i in ORDER]
        assert all("~~" in f and "compression_ratio" in f for f in frames)
    elif mode == "rgb_array":
        assert {f.shape for f in frames} == {(540, 960, 3)}
    else:
        assert frames is None
        assert printed.count("compression_ratio") == (4 if mode == "human" else 0)


def test_gymnasiums_episode_statistics(make):
    envs = gym.wrappers.vector.RecordEpisodeStatistics(make())
    envs.reset(seed=0)
    _, rewards, _, _, infos = envs.step(np.zeros((4, 64)))
    np.testing.assert_allclose(infos["episode"]["r"], rewards)


def test_stacking_infos_is_what_gymnasium_does():
    infos = [
        {
            "number": i,
            "float": 0.5 * i,
            "flag": bool(i),
            "text": "a" * i,
            "array": np.full((2, 2), i),
            "pair": (i, i),
            "nested": {"x": np.float32(i), "deeper": {"y": i}},
            "final_obs": {"z": np.full(2, i)},
        }
        for i in range(3)
    ]
    envs = VectorEnv()
    envs.num_envs = 3
    expected: dict[str, Any] = {}
    for i, info in enumerate(infos):
        expected = envs._add_info(expected, info, i)
    assert_same_batch(stack_infos(infos), expected)


def assert_same_batch(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert one.keys() == two.keys()
    for key, value in one.items():
        if isinstance(value, dict):
            assert_same_batch(value, two[key])
        else:
            assert (value.dtype, value.shape) == (two[key].dtype, two[key].shape)
            assert data_equivalence(list(value), list(two[key]), exact=True)


def test_a_step_can_be_repeated_if_the_next_episode_could_not_begin(make):
    class Fragile(AlpacaTemplate):
        broken = True

        def render(self, prompt: Prompt) -> RenderedPrompt:
            if self.broken and prompt.id == "1":
                raise RuntimeError("no template")
            return super().render(prompt)

    prompts = [Prompt(str(i), f"Sort the words b a {i}") for i in range(2)]
    envs = make(1, dataset=prompts, template=(template := Fragile()))
    observation, _ = envs.reset(options={"index": [0]})
    with pytest.raises(RuntimeError, match="no template"):
        [envs.step(observation["attention_mask"]) for _ in prompts]  # each comes next once
    template.broken = False
    assert envs.step(observation["attention_mask"])[2].all()
