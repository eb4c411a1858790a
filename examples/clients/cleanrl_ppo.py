"""PPO in one file, in the style of CleanRL: plain torch with `gym.make_vec`.

Run it with `python examples/clients/cleanrl_ppo.py`. It trains for a few seconds. To train longer,
raise `UPDATES`. From the observation, it uses only `input_ids`, `attention_mask` and `droppable`.
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent

SEED = 1
NUM_ENVS = 64
MAX_UNITS = 64  # of the 2% of longer prompts the last units always stay
NUM_STEPS = 2  # steps of every environment per update
UPDATES = 8
EPOCHS = 4
MINIBATCHES = 4
LEARNING_RATE = 3e-3
GAMMA = 1.0
GAE_LAMBDA = 0.95
CLIP = 0.2
ENTROPY_WEIGHT = 1e-3
VALUE_WEIGHT = 0.5
MAX_GRADIENT_NORM = 0.5
CERTAIN = 1e8  # logit of what has to stay


class Agent(nn.Module):
    """A small transformer over the units: a keep logit for each, a value for the whole prompt."""

    def __init__(self, envs: gym.vector.VectorEnv, width: int = 64) -> None:
        super().__init__()
        space = envs.single_observation_space["input_ids"]
        self.tokens = nn.Embedding(int(space.high.max()) + 1, width)
        self.places = nn.Embedding(space.shape[0], width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.actor = nn.Linear(width, 1)
        self.critic = nn.Linear(width, 1)
        nn.init.constant_(self.actor.bias, 2.0)  # at first most units stay, most answers survive

    def forward(self, observation: dict[str, Tensor]) -> tuple[Independent, Tensor]:
        """Return the distribution of keep masks (batch, max_units) and the values (batch,)."""
        present = observation["attention_mask"].bool()
        hidden = self.tokens(observation["input_ids"]) + self.places.weight
        hidden = self.encoder(hidden, src_key_padding_mask=~present)
        logits = self.actor(hidden).squeeze(-1)
        # Units without a choice are certain: they add 0 to log-probability and entropy.
        logits = logits.masked_fill(observation["droppable"] == 0, CERTAIN)
        weights = present.unsqueeze(-1).float()
        values = self.critic((hidden * weights).sum(1) / weights.sum(1)).squeeze(-1)
        return Independent(Bernoulli(logits=logits), 1), values


def tensors(observation: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Return the observation as tensors."""
    return {key: torch.as_tensor(array) for key, array in observation.items()}


envs = gym.make_vec(
    "pcrl_gym:PromptCompression-v0", num_envs=NUM_ENVS, max_units=MAX_UNITS, early_stopping=True
)
envs = gym.wrappers.vector.RecordEpisodeStatistics(envs)
torch.manual_seed(SEED)
agent = Agent(envs)
optimizer = torch.optim.Adam(agent.parameters(), lr=LEARNING_RATE, eps=1e-5)

observation, _ = envs.reset(seed=SEED)
observation, done = tensors(observation), torch.zeros(NUM_ENVS)
for update in range(UPDATES):
    # Roll-out. An environment whose episode ends shows the next prompt in the same step.
    observations, actions, log_probs, values, rewards, dones = [], [], [], [], [], []
    returns = []
    for _ in range(NUM_STEPS):
        with torch.no_grad():
            policy, value = agent(observation)
        action = policy.sample()
        observations.append(observation)
        dones.append(done)
        actions.append(action)
        log_probs.append(policy.log_prob(action))
        values.append(value)
        observation, reward, terminated, truncated, info = envs.step(action.numpy())
        rewards.append(torch.as_tensor(reward, dtype=torch.float32))
        observation, done = tensors(observation), torch.as_tensor(terminated | truncated).float()
        if "episode" in info:
            returns.extend(info["episode"]["r"][info["_episode"]])
    with torch.no_grad():
        values.append(agent(observation)[1])
    dones.append(done)

    # Generalised advantage estimation. Episodes of one step have nothing to look ahead to, but the
    # same lines hold for `max_steps` > 1.
    advantages, advantage = [], torch.zeros(NUM_ENVS)
    for t in reversed(range(NUM_STEPS)):
        goes_on = 1.0 - dones[t + 1]
        delta = rewards[t] + GAMMA * goes_on * values[t + 1] - values[t]
        advantage = delta + GAMMA * GAE_LAMBDA * goes_on * advantage
        advantages.insert(0, advantage)

    # The batch: (steps, environments) becomes one axis.
    seen = {key: torch.cat([o[key] for o in observations]) for key in observations[0]}
    acted, old_log_probs = torch.cat(actions), torch.cat(log_probs)
    gains = torch.cat(advantages)
    targets = gains + torch.cat(values[:-1])

    for _ in range(EPOCHS):
        for rows in torch.randperm(len(gains)).chunk(MINIBATCHES):
            policy, value = agent({key: tensor[rows] for key, tensor in seen.items()})
            ratio = (policy.log_prob(acted[rows]) - old_log_probs[rows]).exp()
            gain = gains[rows]
            gain = (gain - gain.mean()) / (gain.std() + 1e-8)
            policy_loss = -torch.min(gain * ratio, gain * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
            value_loss = 0.5 * (value - targets[rows]).square().mean()
            entropy = policy.entropy().mean()
            loss = policy_loss + VALUE_WEIGHT * value_loss - ENTROPY_WEIGHT * entropy
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), MAX_GRADIENT_NORM)
            optimizer.step()

    print(f"update {update + 1:2}: mean return of {len(returns)} episodes {np.mean(returns):6.3f}")

envs.close()
