"""PPO learns where the best mask is known, and its runs can be repeated."""

from __future__ import annotations

import random
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.wrappers.vector import DictInfoToList

from agent_fixtures import check_take_over, weights
from agents import AGENTS, agent_class, make_agent
from agents.base import TrainableAgent, optional
from agents.budget import Budget
from agents.distill import DistillAgent
from agents.ppo import PPOAgent
from agents.scst import SCSTAgent
from agents.surprisal import MICRO_PROMPTS, SurprisalRanker
from fakes import CountingGenerator
from keyword_env import Best, KeywordVectorEnv, rewards_of
from pcrl_gym.errors import TrainingDivergedError
from pcrl_gym.prompts.prompt import Prompt

# A fake generator has no gradients; two agents return texts, one needs a model, one a file.
UNTRIED = {
    "integrated_gradients", "diffmask", "compressor", "recorded", "rewriting", "token_classifier",
}  # fmt: skip
SMALL = {
    "hidden_size": 32,
    "num_layers": 1,
    "num_envs": 128,
    "batch_size": 64,
    "lr": 3e-3,
}


def trained(episodes: int = 256, seed: int = 0, **settings) -> PPOAgent:
    agent = PPOAgent(seed=seed, device="cpu", **(SMALL | settings))
    agent.history = agent.train(KeywordVectorEnv, episodes=episodes, progress=False)
    return agent


@pytest.fixture(scope="module")
def learned() -> PPOAgent:
    return trained(episodes=6000)


def test_ppo_learns_what_can_be_dropped(learned: PPOAgent) -> None:
    assert isinstance(learned, TrainableAgent)
    assert rewards_of(Best()) == pytest.approx(0.83, abs=0.02)
    assert learned.history[0]["reward"] < 0.12
    assert rewards_of(learned) > 0.55


def test_history_tells_what_happened(learned: PPOAgent) -> None:
    assert [row["episodes"] for row in learned.history] == list(range(128, 6017, 128))
    assert set(learned.history[0]) == {
        "updates", "episodes", "seconds", "reward", "drop_rate", "entropy", "entropy_coefficient",
    }  # fmt: skip


def test_log_probabilities_are_equal_at_roll_out_and_update() -> None:
    learner = PPOAgent(device="cpu", **SMALL).start(KeywordVectorEnv)
    model = learner.model
    model.train = lambda: None  # the roll-out alone
    learner.update(0.0)
    model.policy.set_training_mode(True)
    for part in model.rollout_buffer.get(17):
        _, log_prob, _ = model.policy.evaluate_actions(
            part.observations, part.actions, part.action_masks
        )
        torch.testing.assert_close(log_prob, part.old_log_prob, atol=1e-5, rtol=1e-5)


def test_a_learner_that_takes_over_goes_on_as_the_first_one_would_have() -> None:
    check_take_over(lambda: PPOAgent(seed=3, device="cpu", **SMALL), KeywordVectorEnv, updates=4)


def test_a_reward_that_is_no_number_stops_the_training() -> None:
    class Broken(KeywordVectorEnv):
        def step(self, actions):
            observations, rewards, *rest = super().step(actions)
            return observations, rewards * np.nan, *rest

    with pytest.raises(TrainingDivergedError, match="no longer a finite number"):
        PPOAgent(device="cpu", **SMALL).train(Broken, episodes=256, progress=False)


def test_padding_is_never_kept_and_protected_units_always_are(learned: PPOAgent) -> None:
    observations, _ = KeywordVectorEnv(64).reset(seed=5)
    masks = learned.act(observations, [])
    assert masks.dtype == np.int8
    attended, droppable = (
        observations[key].astype(bool) for key in ("attention_mask", "droppable")
    )
    assert not masks[~attended].any()
    assert masks[attended & ~droppable].all()


def test_same_seed_same_weights() -> None:
    first, second, other = trained(seed=1), trained(seed=1), trained(seed=2)
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))


def test_training_leaves_global_state_alone() -> None:
    def draws() -> tuple:
        return random.random(), np.random.rand(), torch.rand(1).item()

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = draws()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    trained(episodes=128)
    assert draws() == expected
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)


def test_save_and_load_without_pickle(learned: PPOAgent, tmp_path: Path) -> None:
    learned.save(tmp_path / "agent")
    assert {path.suffix for path in (tmp_path / "agent").iterdir()} == {".json", ".safetensors"}
    loaded = PPOAgent.load(tmp_path / "agent", device="cpu")
    assert (loaded.seed, loaded.config) == (learned.seed, learned.config)
    observations, _ = KeywordVectorEnv(64).reset(seed=5)
    np.testing.assert_array_equal(loaded.act(observations, []), learned.act(observations, []))


def test_loading_leaves_global_state_alone(learned: PPOAgent, tmp_path: Path) -> None:
    learned.save(tmp_path)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    PPOAgent.load(tmp_path, device="cpu")
    assert torch.equal(torch.rand(1), expected)


def test_training_goes_on_from_loaded_weights(learned: PPOAgent, tmp_path: Path) -> None:
    learned.save(tmp_path)
    loaded = PPOAgent.load(tmp_path, device="cpu")
    assert loaded.train(KeywordVectorEnv, episodes=128, progress=False)[0]["reward"] > 0.5


def test_every_agent_acts_in_the_real_environment(gpt2_tokenizer) -> None:
    texts = ["", "one two", "please say the \N{GRINNING FACE} first and the last word \u05e9\u05dc"]

    def make_env(num_envs: int) -> gym.vector.VectorEnv:
        return gym.make_vec(
            "pcrl_gym:PromptCompression-v0",
            num_envs=num_envs,
            dataset=[Prompt(str(i), text, "red, blue") for i, text in enumerate(texts)],
            generator=CountingGenerator(),
            tokenizer=gpt2_tokenizer,
            max_units=32,
        )

    learned = {
        "ppo": PPOAgent(device="cpu", **(SMALL | {"num_envs": 12, "batch_size": 6})),
        "scst": SCSTAgent(device="cpu", hidden_size=32, num_layers=1, batch_size=3, samples=4),
    }
    for agent in learned.values():
        history = agent.train(make_env, episodes=24, progress=False)
        assert {"reward", "survived", "compression_ratio", "drop_rate"} <= set(history[-1])
        assert "similarity" not in history[-1]
    learned["distill"] = DistillAgent(device="cpu", hidden_size=32, num_layers=1, batch_size=3)
    learned["distill"].train(make_env, episodes=24, progress=False)
    env = DictInfoToList(make_env(3))
    for name in set(AGENTS) - UNTRIED:
        ranks = issubclass(agent_class(name), SurprisalRanker)  # a fake has no probabilities
        settings = {"model": MICRO_PROMPTS} if ranks else {}
        agent = learned.get(name) or make_agent(name, seed=1, **settings)
        optional(agent, "attach")(env.unwrapped.task)
        observations, infos = env.reset(seed=0)
        masks = agent.act(observations, infos)
        assert env.action_space.contains(masks)
        forced = np.stack([info["action_mask"] for info in infos])
        assert (masks[forced == 1] == 1).all()
        assert (masks[forced == 0] == 0).all()
        env.step(masks)


def test_progress_bar_shows_reward_and_entropy(capsys: pytest.CaptureFixture[str]) -> None:
    agent = PPOAgent(device="cpu", **SMALL)
    agent.train(KeywordVectorEnv, episodes=128)
    shown = capsys.readouterr().err
    assert "train ppo: 100%" in shown
    assert "reward=" in shown
    assert "entropy=" in shown


def test_environment_is_closed_even_after_an_error() -> None:
    closed = []

    class Broken(KeywordVectorEnv):
        def step(self, actions):
            raise RuntimeError("generator is gone")

        def close(self) -> None:
            closed.append(True)

    with pytest.raises(RuntimeError, match="generator is gone"):
        PPOAgent(device="cpu", **SMALL).train(Broken, episodes=10, progress=False)
    assert closed


def test_an_encoder_with_too_few_ids_is_refused(t5_folder: Path) -> None:
    class Large(KeywordVectorEnv):
        def __init__(self, num_envs: int) -> None:
            super().__init__(num_envs)
            self.single_observation_space["input_ids"].high[:] = 10_000

    with pytest.raises(ValueError, match="token ids, but the environment's policy tokenizer"):
        PPOAgent(device="cpu", encoder=str(t5_folder)).train(Large, episodes=10, progress=False)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((129, 1, 128), "num_envs=129 times n_steps=1 leaves a batch of one prompt"),
        ((1, 1, 128), "batch of one prompt with batch_size=128"),
        ((8, 2, 1), "batch of one prompt with batch_size=1"),
        ((8, 1, 0), "batch_size: expected greater than 0, got 0"),
    ],
)
def test_batches_need_two_prompts(sizes: tuple[int, int, int], message: str) -> None:
    settings = dict(zip(("num_envs", "n_steps", "batch_size"), sizes, strict=True))
    with pytest.raises(ValueError, match=message):
        PPOAgent(device="cpu", **settings)


def test_bad_use_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ppo has no setting 'speed'; known: encoder"):
        PPOAgent(speed=1e-3)
    with pytest.raises(ValueError, match="needs a positive budget"):
        PPOAgent(device="cpu").train(KeywordVectorEnv)
    with pytest.raises(ValueError, match=r"positive budget.*episodes': 0"):
        PPOAgent(device="cpu").train(KeywordVectorEnv, episodes=0)
    with pytest.raises(RuntimeError, match=r"PPOAgent\.load"):
        PPOAgent(device="cpu").act(KeywordVectorEnv(1).reset()[0], [])
    with pytest.raises(RuntimeError, match="nothing to save yet"):
        PPOAgent(device="cpu").save(tmp_path)
    with pytest.raises(ValueError, match="contains no saved ppo agent"):
        PPOAgent.load(tmp_path)


def test_budget_takes_whichever_is_used_up_first() -> None:
    now = [100.0]
    budget = Budget(episodes=10, seconds=50, clock=lambda: now[0])
    budget.add(2)
    assert budget.used == pytest.approx(0.2)
    now[0] += 25
    assert budget.used == pytest.approx(0.5)
    now[0] += 1000
    assert budget.used == 1.0
    budget.restart()
    assert budget.used == pytest.approx(0.2)


def test_ppo_trains_the_head_of_a_frozen_encoder(t5_folder: Path) -> None:
    agent = PPOAgent(
        device="cpu", encoder=str(t5_folder), freeze_encoder=True, head_size=24, **SMALL
    )
    learner = agent.start(KeywordVectorEnv)
    encoder = {k: v.clone() for k, v in learner.network.encoder.state_dict().items()}
    head = learner.network.keep_head[0].weight.clone()
    learner.update(0.0)
    assert not torch.equal(head, learner.network.keep_head[0].weight)
    for key, value in learner.network.encoder.state_dict().items():
        assert torch.equal(value, encoder[key])
