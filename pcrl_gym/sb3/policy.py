"""The policy network in the form that Stable-Baselines3 and sb3-contrib train."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from pcrl_gym.compressor.network import (
    KeepNetwork,
    check_fits,
    check_logits,
    pretrained_encoder,
    small_encoder,
)
from pcrl_gym.sb3.distribution import CERTAIN, MaskedBernoulli


class KeepFeaturesExtractor(BaseFeaturesExtractor):
    """A `KeepNetwork` as a features extractor.

    Its features, float32 (batch, max_units + 1), are the log-odds with which each unit is kept, 1e8
    for units that cannot be dropped, and in the last column the value of the prompt. They need no
    further layer, so that only the policies of this module can use them.

    Args:
        observation_space: That of `PromptCompression-v0`.
        network: What rates units and prompts.
    """

    def __init__(self, observation_space: spaces.Dict, network: KeepNetwork) -> None:
        ids = cast("spaces.Box", observation_space["input_ids"])
        super().__init__(observation_space, ids.shape[0] + 1)
        self.network = network

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Return the features of observations, each (batch, max_units)."""
        droppable = observations["droppable"]
        # Stable-Baselines3 hands over floats, exact for ids below 2**24.
        logits, values = self.network(
            observations["input_ids"].long(), observations["attention_mask"], droppable
        )
        logits = check_logits(logits).masked_fill(~droppable.bool(), CERTAIN)
        return torch.cat([logits, values.unsqueeze(1)], dim=1)


class KeepPolicy(ActorCriticPolicy):
    """Policy for `PPO` and `A2C` of Stable-Baselines3: one independent coin per unit.

    Units that cannot be dropped are kept for certain: they add nothing to log-probabilities and
    entropies, so that no action masks are needed. There is no layer beyond the network, whose
    weights start as they are.

    Args:
        observation_space, action_space, lr_schedule: Given by the algorithm.
        encoder: In `policy_kwargs`: a text encoder from which the network starts, "micro-seq2seq"
            for micro's prompts, or a Hugging Face id or folder; its token ids must be those of the
            environment's policy tokenizer. "small": a new one, of two layers.
        network: In `policy_kwargs`: a network in place of a new head on `encoder`.
        **kwargs: Others of `ActorCriticPolicy`, such as `optimizer_class`.

    Raises:
        ValueError: If encoder or network cannot be loaded or does not fit the observations.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.MultiBinary,
        lr_schedule: Schedule,
        *,
        encoder: str | Path = "small",
        network: KeepNetwork | None = None,
        **kwargs: Any,
    ) -> None:
        layers = _layers(observation_space, encoder, network)
        super().__init__(observation_space, action_space, lr_schedule, **layers, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        _build(self, lr_schedule)


class MaskableKeepPolicy(MaskableActorCriticPolicy):
    """The same as `KeepPolicy`, for `MaskablePPO` of sb3-contrib, with `MaskedBernoulli`."""

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.MultiBinary,
        lr_schedule: Schedule,
        *,
        encoder: str | Path = "small",
        network: KeepNetwork | None = None,
        **kwargs: Any,
    ) -> None:
        layers = _layers(observation_space, encoder, network)
        super().__init__(observation_space, action_space, lr_schedule, **layers, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        self.action_dist = MaskedBernoulli()  # type: ignore[no-untyped-call]
        _build(self, lr_schedule)


def _layers(space: spaces.Dict, encoder: str | Path, network: KeepNetwork | None) -> dict[str, Any]:
    """Return the arguments of a policy that has no layer beyond the network."""
    ids = cast("spaces.Box", space["input_ids"])
    if network is None:
        network = KeepNetwork(
            small_encoder(int(ids.high.max()) + 1, hidden_size=64, num_layers=2)
            if encoder == "small"
            else pretrained_encoder(encoder)
        )
    check_fits(network, ids, encoder)
    return {
        "net_arch": [],
        "ortho_init": False,  # it would overwrite a pretrained encoder
        "features_extractor_class": KeepFeaturesExtractor,
        "features_extractor_kwargs": {"network": network},
    }


def _build(policy: ActorCriticPolicy | MaskableActorCriticPolicy, lr_schedule: Schedule) -> None:
    layers: dict[str, nn.Module] = {
        "mlp_extractor": _SplitValue(),
        "action_net": nn.Identity(),
        "value_net": nn.Identity(),
    }
    for name, layer in layers.items():
        setattr(policy, name, layer)
    options: dict[str, Any] = {"lr": lr_schedule(1.0), **policy.optimizer_kwargs}
    policy.optimizer = policy.optimizer_class(policy.parameters(), **options)


class _SplitValue(nn.Module):
    """Splits the features into logits and value: Stable-Baselines3 expects two networks."""

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        return features[:, :-1]

    def forward_critic(self, features: Tensor) -> Tensor:
        return features[:, -1:]
