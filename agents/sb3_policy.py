"""The policy network in the form that Stable-Baselines3 trains."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from agents.distribution import MaskedBernoulli
from agents.learning import check_logits
from pcrl_gym.compressor.network import KeepNetwork


class KeepPolicy(MaskableActorCriticPolicy):
    """sb3-contrib policy around a `KeepNetwork`: no further layer, its weights left as they are."""

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.MultiBinary,
        lr_schedule: Schedule,
        *,
        network: KeepNetwork,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=[],
            # Orthogonal initialisation would overwrite a pretrained encoder.
            ortho_init=False,
            features_extractor_class=_WholeNetwork,
            features_extractor_kwargs={"network": network},
            **kwargs,
        )

    def _build(self, lr_schedule: Schedule) -> None:
        self.action_dist = MaskedBernoulli()
        self.mlp_extractor = _SplitValue()
        self.action_net = nn.Identity()
        self.value_net = nn.Identity()
        self.optimizer = self.optimizer_class(
            self.parameters(), lr=lr_schedule(1.0), **self.optimizer_kwargs
        )


class _WholeNetwork(BaseFeaturesExtractor):
    """Keep logits and, as the last column, the value: float (batch, max_units + 1)."""

    def __init__(self, observation_space: spaces.Dict, network: KeepNetwork) -> None:
        super().__init__(observation_space, observation_space["input_ids"].shape[0] + 1)
        self.network = network

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        # Stable-Baselines3 hands over floats, exact for ids below 2**24.
        logits, values = self.network(
            observations["input_ids"].long(),
            observations["attention_mask"],
            observations["droppable"],
        )
        return torch.cat([check_logits(logits), values.unsqueeze(1)], dim=1)


class _SplitValue(nn.Module):
    """Takes the columns of `_WholeNetwork` apart: Stable-Baselines3 expects two networks."""

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        return features[:, :-1]

    def forward_critic(self, features: Tensor) -> Tensor:
        return features[:, -1:]
