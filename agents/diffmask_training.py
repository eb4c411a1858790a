"""Learner for differentiable masking."""

from __future__ import annotations

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from agents.adamw_learner import AdamWLearner, prompts_of_update
from agents.costs import group_spans
from agents.integrated_gradients import local_model
from agents.learner_configs import DiffMaskConfig
from agents.learning import Figures, check_finite
from agents.network_agent import tensors
from agents.seeding import update_seed
from agents.word_masks import grouped_logits
from pcrl_gym.compressor.network import KeepNetwork, check_logits

MIN_GATE = 0.01
"""Gate of a dropped word, as `log 0` has no derivative."""


def relaxed_masks(logits: Tensor, valid: Tensor, temperature: float, rates: Tensor) -> Tensor:
    """Return gates of words that together drop a given share of each prompt.

    Formula: `sigmoid((logit - shift) / temperature)`, a binary Concrete variable (arXiv 1611.00712)
    if the logits include logistic noise. The shift of a prompt makes its gates sum to `(1 - rate) *
    words`; without a rate, it is 0. Gradients also flow through the shift.

    Args:
        logits: Float (batch, words), with noise.
        valid: Bool (batch, words), true for words that may be dropped.
        temperature: Lower values bring the gates closer to 0 and 1.
        rates: Float (batch,), inside 0 to 1; NaN lets the logits decide how many words to drop.

    Returns:
        Float (batch, words), from 0 to 1; 0 for padding.

    Example:
        >>> logits, valid = torch.tensor([[0.0, 1.0, 2.0, 9.0]]), torch.ones(1, 4, dtype=torch.bool)
        >>> relaxed_masks(logits, valid, 0.1, torch.tensor([0.5])).round(decimals=1).tolist()
        [[0.0, 0.0, 1.0, 1.0]]
    """
    if not logits.shape[1]:
        return logits
    inner = (logits / temperature).masked_fill(~valid, -torch.inf)
    with torch.no_grad():
        wanted = (1 - rates) * valid.sum(1)
        ends = inner.where(valid, inner.new_tensor(0.0))
        low, high = ends.amin(1) - 40, ends.amax(1) + 40  # there, sigmoids are 1 and 0
        for _ in range(40):
            middle = (low + high) / 2
            many = torch.sigmoid(inner - middle[:, None]).sum(1) > wanted
            low, high = torch.where(many, middle, low), torch.where(many, high, middle)
        shift = torch.where(rates.isnan(), 0.0, (low + high) / 2)
        slope = torch.sigmoid(inner - shift[:, None])
        slope = slope * (1 - slope)
        share = slope / slope.sum(1, keepdim=True).clamp(min=1e-9)
        share = share.where(~rates.isnan()[:, None], share.new_tensor(0.0))
    finite = inner.where(valid, inner.new_tensor(0.0))
    # Has the value of `shift` and its derivative, which weights the logits by their shares.
    moving = shift + ((finite - finite.detach()) * share).sum(1)
    return torch.sigmoid(inner - moving[:, None])


class DiffMaskLearner(AdamWLearner):
    """Trains a network by gradients through the generator; see `agents.learning.Learner`."""

    _config: DiffMaskConfig

    def __init__(
        self, env: VectorEnv, network: KeepNetwork, config: DiffMaskConfig, seed: int
    ) -> None:
        super().__init__(env, network, config, seed, "diffmask queries the task's generator")
        self._generator = local_model(self._task.scorer)

    def update(self, used: float) -> Figures:
        """Relax a mask for each of the next prompts, and take one gradient step."""
        config, task = self._config, self._task
        count = min(config.batch_size, len(task.episodes))
        places = prompts_of_update(self._seed, self.updates, count, len(task.episodes))
        episodes = task.episodes.take(places)
        observations, infos = task.begin(episodes)
        logits, _ = self.network(*tensors(observations, self._device))
        groups, found, droppable = grouped_logits(
            observations, infos, check_logits(logits), config.whole_words
        )
        valid = torch.from_numpy(droppable).to(self._device)
        draw = torch.Generator(self._device).manual_seed(update_seed(self._seed, self.updates))
        uniform = torch.rand(found.shape, generator=draw, device=self._device)
        chance, rates = torch.rand((2, len(found)), generator=draw, device=self._device)
        rates = torch.where(chance < config.budgeted, rates * config.max_rate, torch.nan)
        noisy = found + torch.logit(uniform, eps=1e-6)
        masks = relaxed_masks(noisy, valid, config.temperature, rates)

        gates = [
            row[own].clamp(min=MIN_GATE).double().cpu().numpy()
            for row, own in zip(masks.detach(), valid, strict=True)
        ]
        slopes = torch.zeros_like(masks)
        helped = self._generator.attributions(
            [episode.text for episode in episodes],
            task.scorer.original_answers(episodes),
            [group_spans(e, own) for e, own in zip(episodes, groups, strict=True)],
            gates,
        )
        for row, own, values in zip(slopes, valid, helped, strict=True):
            row[own] = torch.as_tensor(values, dtype=row.dtype, device=self._device)
        dropped = (valid.sum(1) - masks.sum(1)) / valid.sum(1).clamp(min=1)
        paid = torch.where(rates.isnan(), config.ratio_weight, 0.0) * dropped
        loss = -((slopes * masks).sum(1) + paid).mean()
        self._descend(loss, used)
        figures = {"episodes": float(len(episodes)), "loss": float(loss.detach())}
        if bool(rates.isnan().any()):
            figures["drop_rate"] = float(dropped[rates.isnan()].detach().mean())
        check_finite(figures, self.network)
        return figures
