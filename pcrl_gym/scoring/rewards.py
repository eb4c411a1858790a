"""Reward functions: pure functions from the measured terms of a batch to its rewards."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pcrl_gym.errors import did_you_mean
from pcrl_gym.scoring.rouge import UNICODE_ROUGE_L, measure_by_name
from pcrl_gym.spec_strings import check_settings, parse_spec

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RewardInputs:
    """Inputs of a reward function, one entry per prompt of the batch.

    Attributes:
        similarity: (batch,) float64 in [0, 1], similarity of the answers to the compressed and the
            original prompt by the reward's measure; NaN if the reward does not need answers. With
            early stopping, the bound that decided `similarity_threshold` for an unfinished answer.
        compression_ratio: (batch,) float64, at most 1, fraction of the user's generator tokens that
            was saved; negative where retokenizing made the prompt longer.
        drop_rate: (batch,) float64 in [0, 1], fraction of the droppable units that was dropped.
        log_likelihood: (batch,) float64, at most 0, mean log-probability in nats per token of the
            generator's original answer given the compressed prompt; NaN if not needed.
        likelihood_loss: (batch,) float64 in nats per token, the log-likelihood given the original
            prompt minus `log_likelihood`: 0 if nothing is lost, negative if the compressed prompt
            makes the answer more probable; NaN if not needed.
    """

    similarity: FloatArray
    compression_ratio: FloatArray
    drop_rate: FloatArray
    log_likelihood: FloatArray
    likelihood_loss: FloatArray


@runtime_checkable
class Reward(Protocol):
    """Base class of reward functions, which map measured terms to rewards.

    Subclasses define the first three attributes and `__call__`; the other attributes have defaults.

    Attributes:
        name: Name of the reward in tables.
        needs_answers: Whether compressed prompts must be answered, so that `similarity` is set.
        needs_likelihood: Whether `log_likelihood` must be set.
        needs_likelihood_loss: Whether `likelihood_loss` must also be set.
        measure: Name of the similarity measure, see `scoring.rouge.MEASURES`.
        similarity_threshold: The t of a reward that uses `similarity` only as `similarity > t`, or
            None. Early stopping ends an answer as soon as this comparison is decided.
    """

    name: str
    needs_answers: bool
    needs_likelihood: bool
    needs_likelihood_loss: bool = False
    measure: str = UNICODE_ROUGE_L.name
    similarity_threshold: float | None = None

    @abstractmethod
    def __call__(self, x: RewardInputs) -> FloatArray:
        """Return one finite float64 reward per prompt, shape (batch,)."""
        ...


@dataclass(frozen=True, slots=True)
class ThresholdReward(Reward):
    r"""The compression achieved if the answer survived, a small penalty otherwise.

    $$
    r = \begin{cases} \text{compression\_ratio} & \text{if similarity} > \tau \\
                      \lambda & \text{otherwise} \end{cases}
    $$

    The comparison is strict. The ratio is negative where retokenizing made the prompt longer.
    Source: Jung and Kim, "Discrete Prompt Compression with Reinforcement Learning" (2023),
    https://arxiv.org/abs/2308.08758, with tau 0.9 and lambda -0.01.

    Attributes:
        threshold: Tau, the similarity that an answer must exceed, in [0, 1).
        penalty: Lambda, the reward of an answer that did not survive; finite.
        measure: Similarity of two answers: "unicode_rouge_l", which compares words of any script
            and signs, or "rouge_l" as used by PCRL, see `pcrl_gym.scoring.rouge`.

    Example:
        >>> x = reward_inputs(similarity=[1.0, 0.9, 0.2], compression_ratio=[0.25, 0.5, 0.75])
        >>> ThresholdReward()(x)
        array([ 0.25, -0.01, -0.01])
    """

    threshold: float = 0.9
    penalty: float = -0.01
    measure: str = UNICODE_ROUGE_L.name
    name, needs_answers, needs_likelihood = "threshold", True, False

    @property
    def similarity_threshold(self) -> float:  # type: ignore[override]
        """The threshold; the reward uses the similarity only to compare it with this."""
        return self.threshold

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold < 1.0:
            raise ValueError(
                f"threshold must be in [0, 1), got {self.threshold}: similarity never exceeds 1"
            )
        _check_finite(penalty=self.penalty)
        measure_by_name(self.measure)

    def __call__(self, x: RewardInputs) -> FloatArray:
        """Return the rewards of a batch, shape (batch,)."""
        return np.where(x.similarity > self.threshold, x.compression_ratio, self.penalty)


@dataclass(frozen=True, slots=True)
class LinearReward(Reward):
    r"""A weighted sum of similarity and compression.

    $$ r = a \cdot \text{similarity} + b \cdot \text{compression\_ratio} $$

    It is dense where `ThresholdReward` is sparse, so it is easier to learn from, but its optimum
    may trade answers for tokens if $b$ is large. If the weights sum to 1, it never exceeds 1.

    Attributes:
        similarity_weight: A, finite.
        ratio_weight: B, finite.
        measure: See `ThresholdReward`.

    Example:
        >>> x = reward_inputs(similarity=[1.0, 0.5], compression_ratio=[0.25, 0.75])
        >>> LinearReward(similarity_weight=0.5, ratio_weight=0.5)(x)
        array([0.625, 0.625])
    """

    similarity_weight: float = 0.5
    ratio_weight: float = 0.5
    measure: str = UNICODE_ROUGE_L.name
    name, needs_answers, needs_likelihood = "linear", True, False

    def __post_init__(self) -> None:
        _check_finite(similarity_weight=self.similarity_weight, ratio_weight=self.ratio_weight)
        measure_by_name(self.measure)

    def __call__(self, x: RewardInputs) -> FloatArray:
        """Return the rewards of a batch, shape (batch,)."""
        return self.similarity_weight * x.similarity + self.ratio_weight * x.compression_ratio


@dataclass(frozen=True, slots=True)
class BandReward(Reward):
    r"""The similarity if the compression ratio is in a target band, penalties otherwise.

    $$
    r = \begin{cases}
        \lambda_0 & \text{if compression\_ratio} \ge \rho_0 \\
        \text{similarity} & \text{if } |\text{compression\_ratio} - \rho| \le \delta \\
        \lambda & \text{otherwise}
    \end{cases}
    $$

    The first matching case applies. Source: Shandilya et al., "TACO-RL: Task Aware Prompt
    Compression Optimization with Reinforcement Learning" (2024), https://arxiv.org/abs/2409.13035.
    The penalties and the target are those of its published training code (microsoft/LLMLingua,
    experiments/taco-rl). There are two differences: TACO-RL gives the band in tokens (30 of a
    meeting transcript), which is meaningless for prompts of 30 tokens, so here it is a fraction;
    and TACO-RL uses BLEU (summaries) or F1 (questions) as similarity, here it is the measure.

    Attributes:
        target_ratio: Rho, the compression ratio at the center of the band, in [0, 1].
        tolerance: Delta, half the width of the band (inclusive), at least 0.
        penalty: Lambda, the reward outside the band; finite.
        collapse_ratio: rho_0, the compression ratio from which a prompt counts as emptied; greater
            than the target.
        collapse_penalty: lambda_0, the reward of an emptied prompt; finite.
        measure: See `ThresholdReward`.

    Example:
        >>> x = reward_inputs(similarity=[0.8, 0.8, 0.8], compression_ratio=[0.5, 0.1, 0.95])
        >>> BandReward(target_ratio=0.5, tolerance=0.1)(x)
        array([ 0.8, -0.1, -0.4])
    """

    target_ratio: float = 0.5
    tolerance: float = 0.1
    penalty: float = -0.1
    collapse_ratio: float = 0.9
    collapse_penalty: float = -0.4
    measure: str = UNICODE_ROUGE_L.name
    name, needs_answers, needs_likelihood = "band", True, False

    def __post_init__(self) -> None:
        if not 0.0 <= self.target_ratio <= 1.0:
            raise ValueError(f"target_ratio must be in [0, 1], got {self.target_ratio}")
        if not self.tolerance >= 0.0:
            raise ValueError(f"tolerance must be at least 0, got {self.tolerance}")
        if not self.collapse_ratio > self.target_ratio:
            raise ValueError(
                f"collapse_ratio must exceed target_ratio {self.target_ratio}, "
                f"got {self.collapse_ratio}"
            )
        _check_finite(penalty=self.penalty, collapse_penalty=self.collapse_penalty)
        measure_by_name(self.measure)

    def __call__(self, x: RewardInputs) -> FloatArray:
        """Return the rewards of a batch, shape (batch,)."""
        ratio = x.compression_ratio
        # The slack keeps edge cases inside: 0.4 - 0.3 is slightly more than 0.1 in binary.
        inside = np.abs(ratio - self.target_ratio) <= self.tolerance + 1e-9
        rewards = np.where(inside, x.similarity, self.penalty)
        return np.where(ratio >= self.collapse_ratio - 1e-9, self.collapse_penalty, rewards)


@dataclass(frozen=True, slots=True)
class LikelihoodReward(Reward):
    r"""How probable the original answer still is after the compressed prompt.

    $$
    r = \frac{1}{|y|} \sum_t \log p(y_t \mid \text{compressed prompt}, y_{<t})
        + b \cdot \text{compression\_ratio}
    $$

    in nats, where $y$ is the generator's answer to the original prompt. It takes one forward pass
    instead of decoding. With $b = 0$, keeping all units is usually optimal, since saved tokens earn
    nothing: use $b = 0$ to measure and $b > 0$ to train. Source: length-normalized sequence
    likelihood (Murray and Chiang 2018, https://arxiv.org/abs/1808.10006) of the generator's answer.

    Attributes:
        ratio_weight: B, finite.

    Example:
        >>> x = reward_inputs(log_likelihood=[-0.25, -2.0], compression_ratio=[0.5, 0.75])
        >>> LikelihoodReward()(x)
        array([-0.25, -2.  ])
        >>> LikelihoodReward(ratio_weight=1.0)(x)
        array([ 0.25, -1.25])
    """

    ratio_weight: float = 0.0
    name, needs_answers, needs_likelihood = "likelihood", False, True

    def __post_init__(self) -> None:
        _check_finite(ratio_weight=self.ratio_weight)

    def __call__(self, x: RewardInputs) -> FloatArray:
        """Return the rewards of a batch, shape (batch,)."""
        return x.log_likelihood + self.ratio_weight * x.compression_ratio


@dataclass(frozen=True, slots=True)
class FaithfulReward(Reward):
    r"""The compression achieved if the original answer stays about as probable, else a penalty.

    $$
    r = \begin{cases} \text{compression\_ratio} & \text{if likelihood\_loss} \le \epsilon \\
                      \lambda & \text{otherwise} \end{cases}
    $$

    It is like `ThresholdReward` but uses the likelihood of the answer instead of its text: free
    text diverges after a few words however little the prompt changes, but its likelihood does not.

    Attributes:
        tolerance: Epsilon, the accepted likelihood loss in nats per token; finite, at least 0.
        penalty: Lambda, the reward of an answer that has become less probable; finite.

    Example:
        >>> x = reward_inputs(likelihood_loss=[-0.02, 0.1, 0.3], compression_ratio=[0.1, 0.2, 0.5])
        >>> FaithfulReward()(x)
        array([ 0.1 ,  0.2 , -0.01])
    """

    tolerance: float = 0.1
    penalty: float = -0.01
    name, needs_answers, needs_likelihood, needs_likelihood_loss = "faithful", False, True, True

    def __post_init__(self) -> None:
        _check_finite(tolerance=self.tolerance, penalty=self.penalty)
        if self.tolerance < 0.0:
            raise ValueError(f"tolerance must be at least 0, got {self.tolerance}")

    def __call__(self, x: RewardInputs) -> FloatArray:
        """Return the rewards of a batch, shape (batch,)."""
        return np.where(x.likelihood_loss <= self.tolerance, x.compression_ratio, self.penalty)


REWARDS = (ThresholdReward, LinearReward, BandReward, LikelihoodReward, FaithfulReward)
"""The built-in rewards, selectable by name."""


def make_reward(spec: str | Reward) -> Reward:
    """Make a reward from its name and settings; a `Reward` object is returned unchanged.

    Args:
        spec: "threshold", "linear", "band", "likelihood", or "faithful", optionally with settings
            such as "threshold:threshold=0.8", or an object that implements `Reward`.

    Raises:
        ValueError: If the name or a setting is unknown, a setting has the wrong type or is out of
            range, or the object lacks a member of `Reward`.

    Example:
        >>> make_reward("threshold:threshold=0.8,measure=rouge_l")
        ThresholdReward(threshold=0.8, penalty=-0.01, measure='rouge_l')
    """
    kinds: dict[str, Callable[..., Reward]] = {kind.name: kind for kind in REWARDS}
    name, settings = parse_spec(spec) if isinstance(spec, str) else ("", {})
    if name in kinds:
        return kinds[name](**check_settings(settings, kinds[name], name))
    if isinstance(spec, str):
        raise ValueError(
            f"unknown reward {spec!r}{did_you_mean(name, list(kinds))} (or pass an instance of a "
            "subclass of pcrl_gym.Reward)"
        )
    members = [*Reward.__annotations__, "__call__"]
    missing = [member for member in members if not hasattr(spec, member)]
    # A class has these members too, but calling it would construct a reward, not compute one.
    if missing or isinstance(spec, type):
        lacks = f"an object without {', '.join(missing)}" if missing else "a class"
        raise ValueError(
            f"unknown reward {spec!r} ({lacks}): expected one of {', '.join(kinds)}, or an "
            "instance of a subclass of pcrl_gym.Reward"
        )
    return spec


def with_measure(reward: Reward, measure: str) -> Reward:
    """Return a copy of a built-in reward with another measure, or the reward if it has none.

    Raises:
        ValueError: If the measure is unknown.
    """
    known = (ThresholdReward, LinearReward, BandReward)
    return dataclasses.replace(reward, measure=measure) if isinstance(reward, known) else reward


def reward_inputs(**terms: list[float] | FloatArray) -> RewardInputs:
    """Make `RewardInputs` from the given terms; the others become NaN.

    Raises:
        ValueError: If no term is given or the lengths differ.
    """
    given = {name: np.asarray(term, np.float64) for name, term in terms.items()}
    shapes = {term.shape for term in given.values()}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 1:
        raise ValueError(f"expected one-dimensional terms of equal length, got {terms}")
    names = [field.name for field in dataclasses.fields(RewardInputs)]
    return RewardInputs(**(dict.fromkeys(names, np.full(shape, np.nan)) | given))


def _check_finite(**values: float) -> None:
    for name, value in values.items():
        if not np.isfinite(value):
            raise ValueError(f"{name} must be a finite number, got {value}")
