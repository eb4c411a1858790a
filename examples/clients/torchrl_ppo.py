"""TorchRL's PPO: `GymEnv`, a collector, the PPO loss and a few updates.

Run it with `python examples/clients/torchrl_ppo.py`; it needs `pip install 'pcrl-gym[torchrl]'`.
TorchRL supports the spaces as they are. `GymEnv` answers one prompt at a time. To step many
environments with one call of the generator, replace it with:

    envs = gym.make_vec("pcrl_gym:PromptCompression-v0", num_envs=64)
    env = GymWrapper(pcrl_gym.envs.wrappers.VectorAutoreset(envs, AutoresetMode.DISABLED))
"""

from __future__ import annotations

import torch
from tensordict.nn import ProbabilisticTensorDictModule, ProbabilisticTensorDictSequential
from tensordict.nn import TensorDictModule as Module
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent
from torchrl.collectors import Collector
from torchrl.envs import GymEnv
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from pcrl_gym.compressor.network import KeepNetwork, small_encoder

SEED = 0
FRAMES = 64  # per update
UPDATES = 4
EPOCHS = 4
CERTAIN = 1e8  # logit of what has to stay
KEYS = ["input_ids", "attention_mask", "droppable"]


class KeepLogits(nn.Module):
    """A keep logit per unit; units without a choice are certain to stay."""

    def __init__(self, network: KeepNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor, droppable: Tensor) -> Tensor:
        """Return logits, shaped as `input_ids`: (..., max_units)."""
        rows = (x.reshape(-1, x.shape[-1]) for x in (input_ids, attention_mask, droppable))
        logits = self.network(*rows)[0].reshape(input_ids.shape)
        return logits.masked_fill(droppable == 0, CERTAIN)


class Value(nn.Module):
    """A value per prompt."""

    def __init__(self, network: KeepNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor, droppable: Tensor) -> Tensor:
        """Return values (..., 1)."""
        rows = (x.reshape(-1, x.shape[-1]) for x in (input_ids, attention_mask, droppable))
        return self.network(*rows)[1].reshape(*input_ids.shape[:-1], 1)


def keep_masks(logits: Tensor) -> Independent:
    """Independent coins, one per unit."""
    return Independent(Bernoulli(logits=logits), 1)


env = GymEnv("pcrl_gym:PromptCompression-v0")
env.set_seed(SEED)
torch.manual_seed(SEED)
vocabulary_size = int(env.observation_spec["input_ids"].space.high.max()) + 1


def network() -> KeepNetwork:
    """Return an untrained network for this environment's prompts."""
    return KeepNetwork(small_encoder(vocabulary_size, hidden_size=64, num_layers=2))


actor = ProbabilisticTensorDictSequential(
    Module(KeepLogits(network()), in_keys=KEYS, out_keys=["logits"]),
    ProbabilisticTensorDictModule(
        in_keys=["logits"],
        out_keys=["action"],
        distribution_class=keep_masks,
        default_interaction_type="random",
        return_log_prob=True,
    ),
)
critic = Module(Value(network()), in_keys=KEYS, out_keys=["state_value"])
advantage = GAE(gamma=1.0, lmbda=0.95, value_network=critic, deactivate_vmap=True)
loss_module = ClipPPOLoss(actor, critic, entropy_coeff=1e-3, normalize_advantage=True)
optimizer = torch.optim.Adam(loss_module.parameters(), lr=1e-3)
collector = Collector(
    env,
    actor,
    frames_per_batch=FRAMES,
    total_frames=FRAMES * UPDATES,
    auto_register_policy_transforms=False,  # the policy has no state, it needs none
)

for update, batch in enumerate(collector):
    advantage(batch)
    steps = batch.reshape(-1)
    for _ in range(EPOCHS):
        losses = loss_module(steps)
        loss = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(loss_module.parameters(), 0.5)
        optimizer.step()
    reward = batch["next", "reward"].mean().item()
    print(f"update {update + 1}: mean reward of {batch.numel()} prompts {reward:6.3f}")

collector.shutdown()
