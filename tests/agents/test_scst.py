"""SCST learns where the best mask is known; its groups, baselines and repeats are exact."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from agent_fixtures import check_take_over, colour_prompts, named_colours, weights
from agents.adamw_learner import prompts_of_update
from agents.base import TrainableAgent
from agents.entropy import EntropySteering
from agents.scst import SCSTAgent
from agents.scst_training import advantages
from fakes import CountingGenerator
from keyword_env import KeywordVectorEnv
from pcrl_gym.compressor.network import pretrained_encoder
from pcrl_gym.errors import TrainingDivergedError
from pcrl_gym.scoring.rewards import Reward


def make_env(num_envs: int, **options) -> gym.vector.VectorEnv:
    settings = {
        "dataset": colour_prompts(),
        "generator": CountingGenerator(named_colours),
        "unit": "word",
        "max_units": 16,
    }
    return gym.make_vec("pcrl_gym:PromptCompression-v0", num_envs=num_envs, **(settings | options))


SMALL = {
    "encoder": "small",
    "hidden_size": 16,
    "num_layers": 1,
    "batch_size": 8,
    "samples": 4,
    "lr": 1e-2,
}


def trained(updates: int = 3, seed: int = 0, **settings) -> SCSTAgent:
    agent = SCSTAgent(seed=seed, device="cpu", **(SMALL | settings))
    masks = agent.config.batch_size * (agent.config.samples + (agent.config.baseline == "greedy"))
    agent.history = agent.train(make_env, episodes=updates * masks, progress=False)
    return agent


@pytest.mark.parametrize("baseline", ["greedy", "leave_one_out"])
def test_scst_learns_what_can_be_dropped(baseline: str) -> None:
    agent = trained(updates=150, baseline=baseline)
    assert isinstance(agent, TrainableAgent)
    env = make_env(40)
    observations, _ = env.reset(options={"index": list(range(40))})
    rewards = env.step(agent.act(observations, [{}] * 40))[1]
    # Six of eight words are filler.
    assert rewards.mean() > 0.6
    assert agent.history[0]["reward"] < 0.1


@pytest.mark.parametrize("baseline", ["greedy", "leave_one_out"])
def test_rewards_are_grouped_by_prompt(baseline: str) -> None:
    """A reward that depends on the prompt alone gives no advantage, whatever the order."""
    lengths = CountingGenerator(lambda text: str(len(text)))

    class ByPrompt(Reward):
        name, needs_answers, needs_likelihood = "by prompt", False, False

        def __call__(self, x):
            return self.values[: len(x.drop_rate)]

    reward = ByPrompt()
    learner = SCSTAgent(device="cpu", **(SMALL | {"baseline": baseline})).start(
        lambda n: make_env(n, generator=lengths, reward=reward)
    )
    asked = []
    score = learner._task.scorer

    def remembering(episodes, masks):
        asked.append([episode.prompt.id for episode in episodes])
        reward.values = np.array([float(episode.prompt.id) for episode in episodes])
        return score(episodes, masks)

    object.__setattr__(learner._task, "scorer", remembering)
    before = weights_of_head(learner)
    config = learner._config
    learner._steering.coefficient = learner._steering.lowest = learner._steering.highest = 0.0
    for group in learner._optimizer.param_groups:
        group["weight_decay"] = 0.0
    learner.update(0.0)
    extra = 1 if baseline == "greedy" else 0
    assert len(asked[0]) == config.batch_size * (config.samples + extra)
    assert len(set(asked[0])) == config.batch_size
    torch.testing.assert_close(weights_of_head(learner), before, atol=0, rtol=0)


def weights_of_head(learner) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in learner.network.parameters()])


def test_advantages_by_hand() -> None:
    rewards = np.array([[1.0, 0.0, 0.5, 0.5], [0.2, 0.2, 0.2, 0.2]])
    np.testing.assert_allclose(
        advantages(rewards, None), [[2 / 3, -2 / 3, 0, 0], [0, 0, 0, 0]], atol=1e-12
    )
    np.testing.assert_allclose(
        advantages(rewards, np.array([0.5, 0.1])), [[0.5, -0.5, 0, 0], [0.1] * 4]
    )


def test_the_gradient_is_that_of_the_formula() -> None:
    """One step of plain gradient descent on a head bias, against the formula by hand."""
    agent = SCSTAgent(device="cpu", **(SMALL | {"max_grad_norm": 1e9, "final_entropy": None}))
    learner = agent.start(make_env)
    bias = learner.network.keep_head[-1].bias
    asked: list[np.ndarray] = []
    score = learner._task.scorer

    def remembering(episodes, masks):
        scores = score(episodes, masks)
        asked.append((episodes, np.array(masks), scores.reward))
        return scores

    object.__setattr__(learner._task, "scorer", remembering)
    logits = {}
    forward = learner.network.forward

    def keeping(*inputs):
        logits["value"], values = forward(*inputs)
        logits["droppable"] = inputs[2].bool()
        return logits["value"], values

    learner.network.forward = keeping
    learner._optimizer.step = lambda: None
    learner.update(0.0)
    _, masks, rewards = asked[0]
    samples, prompts = agent.config.samples, agent.config.batch_size
    masks, rewards = masks.reshape(samples, prompts, -1), rewards.reshape(samples, prompts)
    probabilities = torch.sigmoid(logits["value"]).detach().numpy()
    droppable = logits["droppable"].numpy()
    loo = rewards - (rewards.sum(0) - rewards) / (samples - 1)
    # d log p / d logit = mask - p; the bias of the "keep" output is in the logit of every unit.
    score_function = ((masks - probabilities) * droppable).sum(-1)
    expected = -(loo * score_function).mean()
    # d entropy / d logit = -logit p (1 - p)
    raw = logits["value"].detach().numpy()
    entropy = -(raw * probabilities * (1 - probabilities) * droppable).sum(-1).mean()
    expected -= agent.config.entropy_coefficient * entropy
    assert bias.grad[1].item() == pytest.approx(expected, rel=1e-4)


def test_every_prompt_comes_once_per_pass() -> None:
    walks = [i for update in range(10) for i in prompts_of_update(7, update, 4, 10)]
    for start in range(0, 40, 10):
        assert sorted(walks[start : start + 10]) == list(range(10))
    assert walks[:10] != walks[10:20]
    assert prompts_of_update(8, 0, 4, 10) != prompts_of_update(7, 0, 4, 10)
    assert sorted(prompts_of_update(0, 0, 5, 2))[0] == 0  # more prompts per update than there are


def test_same_seed_same_weights() -> None:
    first, second, other = trained(seed=1), trained(seed=1), trained(seed=2)
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))


def test_a_learner_that_takes_over_goes_on_as_the_first_one_would_have() -> None:
    check_take_over(lambda: SCSTAgent(seed=3, device="cpu", **SMALL), make_env, updates=6)


def test_training_leaves_global_state_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    trained()
    assert torch.equal(torch.rand(1), expected)


def test_history_tells_what_happened() -> None:
    history = trained(updates=3).history
    assert [row["episodes"] for row in history] == [32, 64, 96]
    assert {
        "updates", "seconds", "reward", "compression_ratio", "drop_rate", "survived", "entropy",
        "entropy_coefficient", "loss",
    } <= set(history[0])  # fmt: skip
    assert "similarity" not in history[0]


@pytest.mark.parametrize("kind", ["bert", "roberta", "t5"])
def test_a_frozen_encoder_stays_as_it_is(kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(f"{kind}_folder")
    agent = SCSTAgent(
        device="cpu", encoder=str(folder), freeze_encoder=True, head_size=48, batch_size=8
    )
    learner = agent.start(lambda n: make_env(n, tokenizer=str(folder)))
    frozen = {k: v.clone() for k, v in learner.network.encoder.state_dict().items()}
    head = learner.network.keep_head[0].weight.clone()
    for update in range(3):
        learner.update(update / 3)
    assert head.shape[0] == 48
    assert not torch.equal(head, learner.network.keep_head[0].weight)
    for key, value in learner.network.encoder.state_dict().items():
        assert torch.equal(value, frozen[key])


def test_save_and_load(tmp_path: Path) -> None:
    agent = trained()
    agent.save(tmp_path / "agent")
    loaded = SCSTAgent.load(tmp_path / "agent", device="cpu")
    assert (loaded.seed, loaded.config) == (agent.seed, agent.config)
    observations, _ = make_env(8).reset(seed=5)
    np.testing.assert_array_equal(loaded.act(observations, []), agent.act(observations, []))


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 1.0])
def test_a_rate_is_met_exactly(rate: float, tmp_path: Path) -> None:
    agent = trained()
    agent.save(tmp_path)
    at_rate = SCSTAgent.load(tmp_path, device="cpu", rate=rate)
    observations, _ = make_env(8).reset(seed=5)
    droppable = observations["droppable"].astype(bool)
    dropped = droppable & (at_rate.act(observations, []) == 0)
    np.testing.assert_array_equal(
        dropped.sum(1), np.floor(rate * droppable.sum(1) + 1e-9).astype(int)
    )


@pytest.mark.parametrize("broken", ["weights", "logits"])
def test_numbers_that_are_not_finite_stop_the_training(broken: str) -> None:
    agent = SCSTAgent(device="cpu", **SMALL)
    learner = agent.start(make_env)
    if broken == "weights":
        learner._optimizer.step = lambda: learner.network.value_head[-1].bias.data.fill_(torch.nan)
    else:
        learner.network.droppable_embedding.weight.data.fill_(torch.nan)
    with pytest.raises(TrainingDivergedError, match="no longer"):
        learner.update(0.0)
    if broken == "logits":
        with pytest.raises(TrainingDivergedError, match="keep logits: no longer a finite"):
            agent.act(make_env(2).reset()[0], [{}, {}])


def test_a_reward_without_answers_has_no_survival() -> None:
    learner = SCSTAgent(device="cpu", **SMALL).start(lambda n: make_env(n, reward="likelihood"))
    assert "survived" not in learner.update(0.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, r"scst\.lr: expected greater than 0, got -1\.0"),
        ({"max_grad_norm": 0.0}, "max_grad_norm: expected greater than 0"),
        ({"initial_keep": 2.0}, "initial_keep: expected less than or equal to 1"),
        ({"num_layers": 0}, "num_layers: expected greater than 0"),
        ({"batch_size": 0}, "batch_size: expected greater than 0"),
        ({"entropy_coefficient": -0.1}, "entropy_coefficient: expected greater than or equal to 0"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
        ({"encoder": "no-such/model"}, "cannot load the encoder 'no-such/model'"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SCSTAgent(device="cpu", **settings).start(make_env)


@pytest.mark.parametrize("start", [0.0, 0.1])
def test_an_entropy_coefficient_starts_where_it_is_told(start: float) -> None:
    steering = EntropySteering(start, final_share=0.5)
    steering.update(entropy=0.0, used=0.0)  # a batch of prompts that leave no choice
    steering.update(entropy=4.0, used=0.0)
    assert steering.coefficient == start
    steering.update(entropy=5.0, used=0.5)
    assert steering.coefficient == pytest.approx(start * np.exp((3.0 - 5.0) / 4.0))


def test_bad_use_is_said_so() -> None:
    with pytest.raises(ValueError, match=r"scst\.baseline: expected 'greedy' or 'leave_one_out'"):
        SCSTAgent(baseline="none")
    with pytest.raises(ValueError, match="needs samples >= 2, got 1"):
        SCSTAgent(samples=1)
    with pytest.raises(ValueError, match="needs a vector environment of PromptCompression-v0"):
        SCSTAgent(device="cpu").train(KeywordVectorEnv, episodes=1)
    with pytest.raises(ValueError, match="rate must be a share"):
        SCSTAgent(rate=1.5)


def test_auto_is_the_encoder_that_knows_the_tokenizer(gpt2_folder: Path) -> None:
    def layers(**options) -> int:
        agent = SCSTAgent(device="cpu", **(SMALL | {"encoder": "auto"}))
        learner = agent.start(lambda n: make_env(n, **options))
        return learner.network.encoder.config.num_layers

    micro = pretrained_encoder("micro-seq2seq").config.num_layers
    assert micro != SMALL["num_layers"]
    assert layers(tokenizer="micro") == micro
    assert layers(tokenizer=str(gpt2_folder)) == SMALL["num_layers"]
