from __future__ import annotations

import copy
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.monitor import Monitor

from env_fixtures import ID, PROMPTS, SCORE_KEYS, options
from fakes import CountingGenerator
from pcrl_gym.envs.env import PromptCompressionEnv
from pcrl_gym.envs.task import make_task
from pcrl_gym.errors import DatasetError, GeneratorError
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.prompts.prompt import Prompt

RESET_KEYS = {
    "prompt",
    "prompt_id",
    "instruction",
    "input",
    "spans",
    "action_mask",
    "units_beyond_window",
}


@pytest.fixture
def make(gpt2_tokenizer):
    def _make(**changes: Any) -> PromptCompressionEnv:
        return PromptCompressionEnv(**options(gpt2_tokenizer, **changes))

    return _make


def walk(env: PromptCompressionEnv, n: int, seed: int | None = None) -> list[str]:
    """Ids of the next n prompts."""
    ids = [env.reset(seed=seed)[1]["prompt_id"]]
    return ids + [env.reset()[1]["prompt_id"] for _ in range(n - 1)]


@pytest.mark.parametrize("changes", [{}, {"max_steps": 3}, {"unit": "word", "max_units": 5}])
def test_checkers_have_nothing_to_say(gpt2_folder: Path, changes: dict[str, Any]):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(ID, dataset=PROMPTS, generator=str(gpt2_folder), **changes)
        check_env(env.unwrapped)
        sb3_check_env(env.unwrapped)


def test_t5_generator_plays_along(t5_folder: Path):
    env = gym.make(ID, dataset=PROMPTS, generator=t5_folder, template="alpaca")
    env.reset(seed=0)
    _, reward, terminated, _, _ = env.step(env.action_space.sample())
    assert np.isfinite(reward)
    assert terminated


def test_observation_shows_the_units(make):
    env = make()
    obs, info = env.reset(options={"index": 0})
    episode = env.task.episodes[0]
    n = len(episode)
    assert {key: (a.dtype.name, a.shape) for key, a in obs.items()} == {
        "input_ids": ("int64", (64,)),
        "attention_mask": ("int8", (64,)),
        "droppable": ("int8", (64,)),
    }
    np.testing.assert_array_equal(obs["input_ids"][:n], episode.unit_ids)
    assert not obs["input_ids"][n:].any()
    assert obs["attention_mask"].sum() == n
    np.testing.assert_array_equal(obs["droppable"][:n], episode.droppable)
    assert info.keys() == RESET_KEYS
    assert "".join(info["prompt"][a:b] for a, b in info["spans"]) == info["prompt"]
    assert info["spans"].shape == (64, 2)


def test_both_masks_tell_the_same(make):
    env = make()
    _, info = env.reset(options={"index": 0})
    flat = env.action_masks().reshape(64, 2)
    assert set(info["action_mask"]) == {0, 1, 2}
    for gymnasium_form, (zero, one) in zip(info["action_mask"], flat, strict=True):
        assert (zero, one) == {2: (True, True), 1: (False, True), 0: (True, False)}[gymnasium_form]
    sample = env.action_space.sample(mask=info["action_mask"])
    assert flat[np.arange(64), sample].all()


def test_keeping_all_changes_nothing(make):
    env = make()
    for index, prompt in enumerate(PROMPTS):
        env.reset(options={"index": index})
        _, reward, terminated, truncated, info = env.step(np.ones(64, np.int8))
        assert info.keys() == RESET_KEYS | SCORE_KEYS
        assert info["prompt_id"] == prompt.id
        assert info["compressed_prompt"] == info["prompt"]
        assert (reward, info["similarity"], info["drop_rate"]) == (0.0, 1.0, 0.0)
        assert (terminated, truncated) == (True, False)


def test_dropping_all_leaves_the_template_and_what_is_past_the_window(make):
    env = make(max_units=24)
    for index in range(len(PROMPTS)):
        _, before = env.reset(options={"index": index})
        episode = env.task.episodes[index]
        _, _, _, _, info = env.step(np.zeros(24, np.int8))
        end = episode.spans[23][1] if len(episode) > 24 else len(episode.text)
        protected = zip(episode.spans[:24], episode.droppable[:24], strict=False)
        kept = "".join(episode.text[a:b] for (a, b), droppable in protected if not droppable)
        assert info["compressed_prompt"] == kept + episode.text[end:]
        assert before["units_beyond_window"] == max(0, len(episode) - 24)
    assert before["units_beyond_window"] > 0


@pytest.mark.parametrize("dtype", [np.int8, np.int64, bool, np.float32])
def test_any_number_type_will_do_as_an_action(make, dtype: type):
    env = make()
    env.reset(options={"index": 0})
    mask = np.arange(64) % 2
    expected = env.step(mask.astype(np.int8))[4]["compressed_prompt"]
    env.reset(options={"index": 0})
    assert env.step(mask.astype(dtype))[4]["compressed_prompt"] == expected


@pytest.mark.parametrize(
    ("action", "complaint"),
    [
        (np.ones(63), r"shape \(64,\).*got shape \(63,\)"),
        (np.ones((1, 64)), r"got shape \(1, 64\)"),
        (np.full(64, 0.5), r"zeros and ones.*0\.5"),
        (np.full(64, 2), "zeros and ones"),
        (np.full(64, np.nan), "zeros and ones"),
    ],
)
def test_wrong_actions_are_refused(make, action: np.ndarray, complaint: str):
    env = make()
    env.reset()
    with pytest.raises(ValueError, match=complaint):
        env.step(action)
    env.step(np.ones(64))  # the episode goes on


def test_steps_out_of_order_are_refused(make):
    env = make()
    for call in (lambda: env.step(np.ones(64)), env.render, env.action_masks):
        with pytest.raises(ResetNeeded, match="No episode has started"):
            call()
    env.reset()
    env.step(np.ones(64))
    with pytest.raises(ResetNeeded, match="over"):
        env.step(np.ones(64))


def test_every_prompt_once_per_pass(make):
    env, n = make(), len(PROMPTS)
    ids = walk(env, 3 * n, seed=1)
    passes = [ids[i : i + n] for i in range(0, 3 * n, n)]
    assert all(sorted(p) == sorted(prompt.id for prompt in PROMPTS) for p in passes)
    assert not passes[0] == passes[1] == passes[2]


def test_a_seed_starts_the_walk_anew(make):
    env, other = make(), make()
    first = walk(env, 12, seed=5)
    walk(other, 3, seed=8)
    assert walk(other, 12, seed=5) == first
    assert walk(env, 12, seed=5) == first
    assert walk(env, 12, seed=6) != first


def test_picking_a_prompt_leaves_the_walk_alone(make):
    env, other = make(), make()
    expected = walk(other, 5, seed=3)
    got = [env.reset(seed=3)[1]["prompt_id"]]
    for i in range(4):
        assert env.reset(options={"index": i})[1]["prompt_id"] == PROMPTS[i].id
        got.append(env.reset()[1]["prompt_id"])
    assert got == expected


@pytest.mark.parametrize(
    "bad", [{"index": 5}, {"index": -1}, {"index": 1.5}, {"index": [0, 1]}, {"indx": 0}]
)
def test_wrong_reset_options_are_refused(make, bad: dict[str, Any]):
    with pytest.raises(ValueError, match=r"expected .*index"):
        make().reset(options=bad)


def test_two_environments_agree(make):
    one, two = make(max_steps=2), make(max_steps=2)
    rng = np.random.default_rng(0)
    assert data_equivalence(one.reset(seed=4), two.reset(seed=4), exact=True)
    for step in range(12):
        action = rng.integers(0, 2, 64, np.int8)
        assert data_equivalence(one.step(action), two.step(action), exact=True)
        if step % 2:
            assert data_equivalence(one.reset(), two.reset(), exact=True)


def test_global_randomness_is_neither_used_nor_touched(make):
    np.random.seed(0)
    state = np.random.get_state()[1].copy()
    first = walk(make(), 6, seed=2)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    np.random.seed(1)
    assert walk(make(), 6, seed=2) == first


def test_edits_accumulate_over_steps(make):
    env = make(max_steps=3)
    obs, info = env.reset(options={"index": 0})
    free = np.flatnonzero(obs["droppable"])
    for step, unit in enumerate(free[:3]):
        mask = np.ones(64, np.int8)
        mask[unit] = 0
        obs, reward, terminated, _, info = env.step(mask)
        assert terminated == (step == 2)
        for seen in (obs["droppable"], obs["attention_mask"], info["action_mask"]):
            assert not seen[free[: step + 1]].any()
            assert seen[free[step + 1 :]].all()
        assert ("similarity" in info) == terminated
        if not terminated:
            assert reward == 0.0
    spans = env.task.episodes[0].spans
    expected = "".join(info["prompt"][a:b] for i, (a, b) in enumerate(spans) if i not in free[:3])
    assert info["compressed_prompt"] == expected
    once = make()
    once.reset(options={"index": 0})
    mask = np.ones(64, np.int8)
    mask[free[:3]] = 0
    assert once.step(mask)[1] == reward


def test_prompts_that_do_not_fit_are_left_out_and_counted(make):
    with pytest.warns(UserWarning, match="1 of 5 prompts are left out.*'long'"):
        env = make(generator=CountingGenerator(max_prompt_tokens=60), max_new_tokens=20)
    assert env.skipped_prompts == ("long",)
    assert {e.prompt.id for e in env.task.episodes} == {p.id for p in PROMPTS} - {"long"}
    assert make().skipped_prompts == ()


def test_a_prompt_that_grows_when_compressed_fits_if_it_was_let_in(make):
    class Growing(CountingGenerator):
        def count_tokens(self, texts):
            counts = super().count_tokens(texts)
            return [n + 4 * ("first" not in text) for n, text in zip(counts, texts, strict=True)]

    # Of 56 tokens next to an answer an original may use 53, two of them for the template.
    prompts = [Prompt(str(n), "first" + " word" * (n - 1)) for n in (51, 52)]
    generator = Growing(max_prompt_tokens=64)
    with pytest.warns(UserWarning, match=r"1 of 2 .* at most 53 tokens.*'52'"):
        env = make(dataset=prompts, generator=generator, max_new_tokens=8, unit="word")
    env.reset()
    mask = np.ones(64, np.int8)
    mask[1] = 0
    info = env.step(mask)[4]
    assert (info["original_tokens"], info["compressed_tokens"]) == (53, 56)


def test_no_prompt_left_is_an_error(make):
    with (
        pytest.warns(UserWarning, match="5 of 5"),
        pytest.raises(DatasetError, match="no usable prompts: 5 read, 5 too long"),
    ):
        make(generator=CountingGenerator(max_prompt_tokens=5), max_new_tokens=4)


def test_a_limit_of_ones_own_leaves_prompts_out(make):
    # Words, the two of the template counted: 5, 6 and 7.
    prompts = [Prompt(str(n), " ".join(["word"] * n)) for n in (3, 4, 5)]
    with pytest.warns(UserWarning, match=r"1 of 3 .*max_prompt_tokens is 6 \(first: '5'\)"):
        env = make(dataset=prompts, max_prompt_tokens=6)
    assert env.skipped_prompts == ("5",)
    assert [episode.prompt.id for episode in env.task.episodes] == ["3", "4"]
    # The generator's own limit stays: 14 less 9 new ones.
    tight = CountingGenerator(max_prompt_tokens=14)
    with pytest.warns(UserWarning, match=r"2 of 3 .* at most 5 tokens"):
        make(dataset=prompts, generator=tight, max_new_tokens=9, max_prompt_tokens=7)


@pytest.mark.parametrize("name", ["max_units", "max_prompt_tokens", "max_new_tokens", "max_steps"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3"])
def test_numbers_are_checked_before_anything_is_loaded(name: str, value: Any):
    with pytest.raises(ValueError, match=f"expected {name} .*got {re.escape(repr(value))}"):
        make_task(dataset="/nowhere.json", generator="/nowhere", **{name: value})


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("generater", "; did you mean generator?"),
        ("max_unit", "; did you mean max_units"),
        ("templat", "; did you mean template?"),
        ("foo", "; known: dataset, split, columns, .*, render_mode"),
    ],
)
def test_unknown_arguments_are_refused_before_anything_is_loaded(make: Any, name: str, hint: str):
    message = f"PromptCompression-v0 got an unexpected keyword argument '{name}'{hint}"
    with pytest.raises(ValueError, match=message) as caught:
        make(ID, dataset="/nowhere.json", **{name: 3})
    assert isinstance(caught.value, TypeError)  # what TorchRL waits for


def test_a_generator_object_is_shared(make):
    generator = CountingGenerator()
    assert make(generator=generator).task.scorer.generator is generator
    assert make(generator=generator).task.scorer.generator is generator


class Uncopied(CountingGenerator):
    """A generator of a user's own, too large to be copied."""

    def __deepcopy__(self, memo: dict[int, object]) -> None:
        raise AssertionError("copied")


def test_specs_share_the_objects_among_the_arguments(tmp_path: Path, gpt2_tokenizer):
    given = options(gpt2_tokenizer, generator=Uncopied())

    def assert_shared(env: Any) -> None:
        assert env.spec.id == "PromptCompression-v0"
        for name, value in given.items():
            assert env.spec.kwargs[name] is value

    env = gym.make(ID, **given)
    for wrapped in (
        env,
        Monitor(env, str(tmp_path / "monitor")),
        gym.wrappers.TimeLimit(env, 3),
        gym.make(env.spec),
        gym.make(copy.deepcopy(env.spec)),
        gym.make_vec(ID, 2, **given),
        gym.make_vec(gym.make_vec(ID, 2, **given).spec),
        gym.make_vec(ID, 2, "sync", **given),
        gym.make_vec(gym.make_vec(ID, 2, "sync", **given).spec),
        *gym.make_vec(ID, 2, "sync", **given).envs,
    ):
        assert_shared(wrapped)
        assert wrapped.unwrapped.spec.kwargs["generator"] is given["generator"]
    assert PromptCompressionEnv(**given).spec is None


def test_specs_can_be_pickled(gpt2_tokenizer):
    spec = gym.make(ID, **options(gpt2_tokenizer, generator="micro", render_mode="ansi")).spec
    again = pickle.loads(pickle.dumps(spec))
    assert again.kwargs["generator"] == "micro"
    assert again.kwargs["dataset"] == PROMPTS
    env = gym.make(again)
    assert [episode.prompt for episode in env.unwrapped.task.episodes] == PROMPTS
    text = gym.make(ID, split="validation_seen").spec.to_json()
    assert EnvSpec.from_json(text).kwargs == {"split": "validation_seen"}


def test_our_generators_are_their_own_deep_copy(gpt2_folder: Path):
    generator = load_generator(gpt2_folder)
    env = gym.make(ID, dataset=PROMPTS, generator=generator)
    assert copy.deepcopy(generator) is generator
    assert copy.deepcopy(env.unwrapped).task.scorer.generator is generator
    gym.register("Mine-v0", PromptCompressionEnv, kwargs={"generator": generator})
    try:
        mine = gym.make("Mine-v0", dataset=PROMPTS)
    finally:
        del gym.registry["Mine-v0"]
    assert mine.spec.kwargs["generator"] is mine.unwrapped.task.scorer.generator is generator


@pytest.mark.parametrize("seed", [-1, 1.5, 1.0, True, "3", [1], np.float64(2)])
def test_wrong_seeds_are_refused(make, seed: Any):
    with pytest.raises(ValueError, match=r"expected seed to be an integer >= 0 or None, got"):
        make().reset(seed=seed)


def test_a_seed_may_be_numpys(make):
    assert walk(make(), 5, seed=np.int64(3)) == walk(make(), 5, seed=3)


def test_a_failed_generator_is_no_reward_and_the_step_can_be_repeated(make):
    def fail(text: str) -> str:
        raise ConnectionError("gone")

    generator = CountingGenerator(answer=fail)
    env = make(generator=generator)
    env.reset(options={"index": 0})
    with pytest.raises(GeneratorError, match="gone"):
        env.step(np.zeros(64))
    generator.answer = lambda text: "back"
    assert env.step(np.zeros(64))[4]["similarity"] == 1.0


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_pickling_keeps_walk_and_answers(gpt2_folder: Path, pickler: Any):
    env = PromptCompressionEnv(dataset=PROMPTS, generator=gpt2_folder)
    walk(env, 2, seed=0)
    copy = pickler.loads(pickler.dumps(env))
    rng = np.random.default_rng(0)
    for _ in range(6):
        action = rng.integers(0, 2, 128, np.int8)
        assert data_equivalence(env.step(action), copy.step(action), exact=True)
        assert data_equivalence(env.reset(), copy.reset(), exact=True)


def test_gymnasiums_own_vector_environment_takes_it(gpt2_tokenizer):
    envs = gym.make_vec(ID, num_envs=3, vectorization_mode="sync", **options(gpt2_tokenizer))
    _, infos = envs.reset(seed=0)
    assert infos["spans"].shape == (3, 64, 2)
    for _ in range(3):
        _, rewards, *_ = envs.step(envs.action_space.sample())
        assert rewards.shape == (3,)


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt("controls-only", "\x00", "\u200b"),
        Prompt("one", "a"),
        Prompt("controls", "a\x00b\r\n\x07\u202e", "\x1b"),
        Prompt("combining", "e\u0301\u0301 \u200d \U0001f469\u200d\U0001f469\u200d\U0001f467"),
        Prompt("labels", "Input: Output: \nInstruction: ", "\nOutput: \n<|endoftext|></s>"),
    ],
    ids=lambda prompt: prompt.id,
)
@pytest.mark.parametrize("unit", ["token", "word"])
def test_odd_prompts(prompt: Prompt, unit: str, gpt2_folder: Path, any_tokenizer):
    env = PromptCompressionEnv(
        dataset=[prompt], generator=gpt2_folder, tokenizer=any_tokenizer, unit=unit
    )
    for bit in (0, 1):
        env.reset(seed=0)
        _, reward, _, _, info = env.step(np.full(128, bit))
        assert np.isfinite(reward)
        assert not bit or info["compressed_prompt"] == info["prompt"]


@pytest.mark.parametrize("reward", ["linear", "band", "likelihood"])
def test_other_rewards(make, reward: str):
    env = make(reward=reward)
    env.reset(seed=0)
    _, value, _, _, info = env.step(np.zeros(64))
    assert np.isfinite(value)
    assert ("log_likelihood" in info) == (reward == "likelihood")
