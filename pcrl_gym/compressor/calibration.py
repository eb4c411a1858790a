"""Certify a compressor, given prompts and a generator."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date as calendar_date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pcrl_gym import __version__
from pcrl_gym.compressor.certificate import Certificate, check_inner_share
from pcrl_gym.compressor.expected_loss import LossModel
from pcrl_gym.compressor.lost_answers import TOLERANCE, LostBy, LostRule, has_check
from pcrl_gym.compressor.risk import prompts_needed, strongest_safe
from pcrl_gym.errors import DatasetError
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.progress import progress_bar
from pcrl_gym.prompts.datasets import dataset_checksum
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.scoring.checks import passes
from pcrl_gym.scoring.rewards import FloatArray
from pcrl_gym.scoring.scorer import Scorer

if TYPE_CHECKING:
    from typing_extensions import TypedDict

    from pcrl_gym.compressor.compression import Compression
    from pcrl_gym.generators.base import Generator

    class CalibrationOptions(TypedDict, total=False):
        """Options of `certify`."""

        risk: float
        confidence: float
        split: str
        rates: Sequence[float]
        lost_by: Sequence[LostBy] | None
        tolerance: float
        max_new_tokens: int
        progress: bool
        date: str | None


Prompts = str | os.PathLike[str] | Sequence[Prompt | str]

RATES = tuple(round(0.05 * step, 2) for step in range(1, 19))
"""The rates to try: 0.05, 0.1, ... 0.9."""
LOSS_RATES = (0.1, 0.25, 0.4)
"""Rates at which the cost of dropping units is measured."""


class Measured(NamedTuple):
    """Results of compressing prompts at one rate."""

    rate: float
    done: list[Compression]
    lost: NDArray[np.bool_]  # (prompts,)
    compression_ratio: FloatArray  # (prompts,)
    likelihood_loss: FloatArray  # (prompts,), NaN where the rule does not need it


def measure_rates(
    compress: Callable[..., list[Compression]],
    prompts: Sequence[Prompt],
    rates: Sequence[float],
    generator: Generator,
    rule: LostRule,
    max_new_tokens: int = 30,
) -> Iterator[Measured]:
    """Yield, for one rate after the other, which prompts lose their answer.

    The generator only answers prompts whose keep mask differs from that at the previous rate.
    Prompts of which nothing is dropped lose nothing.

    Args:
        compress: The compressor, called with `instruction`, `input`, and `rate`.
        prompts: The prompts, as instruction and input.
        rates: Shares of the droppable units to drop, in any order.
        generator: The model that answers.
        rule: Decides which answers are lost.
        max_new_tokens: Maximum length of each answer in generator tokens.

    Raises:
        ValueError: If the rule needs log-likelihoods and the generator provides none.
        PromptTooLongError: If a prompt and its answer do not fit the generator's context.
        GeneratorError: If the generator fails.
    """
    scorer = Scorer(generator, rule, max_new_tokens)
    texts = {"instruction": [p.instruction for p in prompts], "input": [p.input for p in prompts]}
    lost = np.zeros(len(prompts), np.bool_)
    ratio, loss = np.zeros((2, len(prompts)))
    latest: dict[int, tuple[bool, ...]] = {}
    for rate in rates:
        done = compress(**texts, rate=rate)
        changed = [
            i for i, one in enumerate(done) if one.kept != latest.get(i, (True,) * len(one.kept))
        ]
        if changed:
            episodes = [
                replace(episode, prompt=prompts[i])
                for i in changed
                if (episode := done[i].episode) is not None  # always set by a compressor
            ]
            scores = scorer(episodes, [done[i].kept for i in changed])
            lost[changed] = rule.lost(scores, [prompts[i] for i in changed])
            ratio[changed] = scores.compression_ratio
            loss[changed] = scores.likelihood_loss
        latest.update((i, done[i].kept) for i in changed)
        yield Measured(rate, done, lost.copy(), ratio.copy(), loss.copy())


def certify(
    compress: Callable[..., list[Compression]],
    prompts: Prompts,
    generator: str | Path | Generator,
    *,
    risk: float = 0.05,
    confidence: float = 0.95,
    split: str = "validation_seen",
    rates: Sequence[float] = RATES,
    lost_by: Sequence[LostBy] | None = None,
    tolerance: float = TOLERANCE,
    max_new_tokens: int = 30,
    progress: bool = False,
    date: str | None = None,
    device: str = "auto",
) -> tuple[Certificate, LossModel | None]:
    """Find the highest rate that loses few enough answers, with `risk.strongest_safe`.

    It also fits the expected cost of dropping units, measured at `LOSS_RATES`.

    Args:
        compress: The compressor, called with `instruction`, `input`, and `rate`.
        prompts: Texts, `Prompt` objects, or a dataset as in `load_prompts`. They must be drawn
            independently from the distribution of the texts to compress later, and the policy must
            not have been trained on them.
        generator: The model that answers, as in `load_generator`.
        risk: Largest accepted share of lost answers, above 0 and below 1.
        confidence: Confidence of the certificate, above 0 and below 1.
        split: Split to use of a dataset.
        rates: Shares of the droppable units to try, above 0 and at most 1, from low to high. They
            must be chosen without looking at these prompts.
        lost_by: Criteria for lost answers, see `LostRule`. If None, `"likelihood"`, or `"answer"`
            if the generator provides no likelihoods, plus `"check"` if any prompt has a check.
        tolerance: Accepted likelihood loss in nats per token, at least 0.
        max_new_tokens: Maximum length of each answer in generator tokens.
        progress: Whether to show a progress bar over the rates on stderr.
        date: Date of the calibration, such as "2025-01-31". If None, today.
        device: Device for a generator that is loaded here.

    Returns:
        The certificate, with rate 0.0 if even the lowest rate loses too many answers, and the loss
        model, or None if the generator provides no likelihoods or nothing was lost.

    Raises:
        ValueError: If an argument is out of range, or there are too few prompts to show this risk
            with this confidence. It is raised before any prompt is answered.
        DatasetError: If the dataset does not exist, or a prompt's check cannot be run.
        PromptTooLongError: If a prompt and its answer do not fit the generator's context.
        GeneratorError: If the generator fails.
    """
    check_inner_share("risk", risk)
    check_inner_share("confidence", confidence)
    if not rates or not all(0.0 < rate <= 1.0 for rate in rates):
        raise ValueError(f"rates must be above 0 and at most 1, got {list(rates)}")
    LostRule(("likelihood",) if lost_by is None else lost_by, tolerance)
    day = calendar_date.today() if date is None else calendar_date.fromisoformat(date)
    chosen, origin = _read(prompts, split)
    if len(chosen) < (needed := prompts_needed(risk, confidence)):
        raise ValueError(
            f"{len(chosen)} prompts are too few to show a risk of {risk:g} with confidence "
            f"{confidence:g}: pass at least {needed}, or several times as many to allow for some "
            "lost answers"
        )
    _check_checks(chosen, lost_by)
    generator = load_generator(generator, device=device)
    if lost_by is None:
        lost_by = ["likelihood" if generator.gives_likelihoods else "answer"]
        lost_by += ["check"] if any(map(has_check, chosen)) else []
    rule = LostRule(lost_by, tolerance)
    ratios = {0.0: 0.0}

    def losses() -> Iterator[tuple[float, int]]:
        order = sorted(set(rates))
        measured = measure_rates(compress, chosen, order, generator, rule, max_new_tokens)
        with progress_bar(
            total=len(order), desc="calibrate", unit="rate", disable=not progress
        ) as bar:
            for one in measured:
                ratios[one.rate] = float(one.compression_ratio.mean())
                bar.update()
                yield one.rate, int(one.lost.sum())

    rate, lost = strongest_safe(losses(), len(chosen), risk, confidence) or (0.0, 0)
    certificate = Certificate(
        rate=rate,
        risk=risk,
        confidence=confidence,
        prompts=len(chosen),
        lost=lost,
        compression_ratio=ratios[rate],
        lost_by=rule.lost_by,
        tolerance=tolerance if rule.needs_likelihood else None,
        max_new_tokens=max_new_tokens,
        data=origin,
        data_sha256=dataset_checksum(chosen),
        generator=generator.name,
        generator_fingerprint=generator.fingerprint,
        date=day.isoformat(),
        version=__version__,
    )
    return certificate, _fit_losses(compress, chosen, generator, max_new_tokens)


def _fit_losses(
    compress: Callable[..., list[Compression]],
    prompts: Sequence[Prompt],
    generator: Generator,
    max_new_tokens: int,
) -> LossModel | None:
    """Return the fitted cost of dropping units, or None if the generator has no likelihoods."""
    if not generator.gives_likelihoods:
        return None
    rule = LostRule(("likelihood",))
    found = list(measure_rates(compress, prompts, LOSS_RATES, generator, rule, max_new_tokens))
    return LossModel.fit(
        [one.keep_logits for one in found[0].done],
        [np.array(one.droppable, np.bool_) for one in found[0].done],
        [([~np.array(one.kept, np.bool_) for one in r.done], r.likelihood_loss) for r in found],
    )


def _read(prompts: Prompts, split: str) -> tuple[list[Prompt], str]:
    """Return the prompts and their description for a certificate."""
    if isinstance(prompts, (str, os.PathLike)):
        file = Path(prompts).is_file()
        origin = f"{os.fspath(prompts)}" if file else f"{os.fspath(prompts)}, split {split}"
        return load_prompts(prompts, split), origin
    texts = enumerate(prompts)
    given = [Prompt(str(i), one) if isinstance(one, str) else one for i, one in texts]
    return load_prompts(given, split), "prompts given as a list"


def _check_checks(prompts: Sequence[Prompt], lost_by: Sequence[str] | None) -> None:
    """Check that the prompts' checks can be run if they count."""
    if lost_by is not None and "check" not in lost_by:
        return
    with_checks = [prompt for prompt in prompts if has_check(prompt)]
    if lost_by is not None and set(lost_by) == {"check"} and len(with_checks) < len(prompts):
        raise ValueError(
            f"{len(prompts) - len(with_checks)} of {len(prompts)} prompts lack a check or a gold "
            "answer, so their answers would never count as lost: leave them out, or add a "
            "criterion to lost_by=['check']"
        )
    for prompt in with_checks:
        try:
            passes(prompt.check, "", prompt.output)
        except ValueError as error:
            raise DatasetError(
                f"prompt {prompt.id!r}: {error}; fix its check, or remove 'check' from lost_by"
            ) from error
