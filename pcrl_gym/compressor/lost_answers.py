"""Criteria for lost answers in a calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pcrl_gym.errors import did_you_mean
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.scoring.checks import passes
from pcrl_gym.scoring.rewards import FaithfulReward, FloatArray, Reward, RewardInputs

if TYPE_CHECKING:
    from pcrl_gym.scoring.scorer import Scores

LostBy = Literal["likelihood", "answer", "check"]

TOLERANCE = FaithfulReward().tolerance
"""Accepted likelihood loss, in nats per token."""


class LostRule(Reward):
    """Decides which answers are lost, and lets a scorer measure what this requires.

    An answer is lost if any of the chosen criteria holds:

    * `"likelihood"`: the answer to the original prompt has become less probable by more than
      `tolerance`, in nats per token, as in `FaithfulReward`;
    * `"answer"`: the similarity of both answers is at most 0.9, as in `ThresholdReward`;
    * `"check"`: the answer to the original prompt passes the prompt's check, but the answer to the
      compressed one does not. It never holds for prompts without a check or a gold answer, or
      if the original prompt is answered incorrectly.

    Args:
        lost_by: Criteria to apply, at least one.
        tolerance: Accepted likelihood loss in nats per token, finite, at least 0.

    Raises:
        ValueError: If no criterion is given, one is unknown, or the tolerance is out of range.
    """

    name = "lost"

    def __init__(self, lost_by: Sequence[LostBy], tolerance: float = TOLERANCE) -> None:
        if not lost_by:
            raise ValueError(f"lost_by must name at least one of {', '.join(get_args(LostBy))}")
        for name in lost_by:
            if name not in get_args(LostBy):
                raise ValueError(f"unknown lost_by {name!r}{did_you_mean(name, get_args(LostBy))}")
        self.lost_by = tuple(dict.fromkeys(lost_by))
        self.tolerance = FaithfulReward(tolerance).tolerance  # validates it
        self.needs_answers = bool({"answer", "check"} & set(lost_by))
        self.needs_likelihood = self.needs_likelihood_loss = "likelihood" in lost_by

    def __call__(self, x: RewardInputs) -> FloatArray:
        """Return the compression ratios, shape (batch,)."""
        return x.compression_ratio

    def lost(self, scores: Scores, prompts: Sequence[Prompt]) -> NDArray[np.bool_]:
        """Return which prompts lose their answer, bool (len(prompts),)."""
        lost = np.zeros(len(prompts), np.bool_)
        if "likelihood" in self.lost_by:
            lost |= scores.likelihood_loss > self.tolerance
        if "answer" in self.lost_by:
            lost |= ~scores.survived
        if "check" in self.lost_by:
            answers = zip(prompts, scores.outputs, scores.compressed_outputs, strict=True)
            lost |= np.array([verdict_lost(*row) for row in answers], np.bool_)
        return lost


def verdict_lost(prompt: Prompt, output: str, compressed_output: str) -> bool:
    """Return whether the answer to the original passes the check, but the other one does not.

    Example:
        >>> prompt = Prompt("0", "Capital of France?", output="Paris", check="contains")
        >>> verdict_lost(prompt, "It is Paris.", "Rome"), verdict_lost(prompt, "Oslo", "Rome")
        (True, False)
    """
    if not has_check(prompt):
        return False
    before, after = (passes(prompt.check, x, prompt.output) for x in (output, compressed_output))
    return before and not after


def has_check(prompt: Prompt) -> bool:
    """Return whether a prompt has a check and a gold answer."""
    return bool(prompt.check and prompt.output)
