"""Test of certificates: calibrate on a part of the prompts, and check on the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.analyses.analysis import Analysis, Table, first_seeds, write_analysis
from benchmarks.records import RunFolder
from benchmarks.tables import TOLERANCE
from pcrl_gym.compressor.certificate import check_inner_share
from pcrl_gym.compressor.risk import prompts_needed, strongest_safe
from pcrl_gym.scoring.scorer import SURVIVAL_THRESHOLD

if TYPE_CHECKING:
    from pandas import DataFrame

_NOTE = (
    "A rate is certified on a random part of the prompts and applied to the others. Exceeded: "
    "share of the splits in which the share of answers lost among the others exceeds the risk. "
    "Saving: mean compression ratio. The oracle is the highest rate that loses no more than the "
    "risk on all prompts. Kept: share of the oracle's saving that is kept."
)


class Resplits(NamedTuple):
    """Results of certificates over many random splits, from `resplit`."""

    exceeded: float  # share of the splits in which the other prompts lost more than the risk
    saving: float  # mean compression ratio of the other prompts
    oracle_rate: float  # highest rate that loses no more than the risk on all prompts
    oracle_saving: float  # its mean compression ratio on all prompts

    @property
    def kept(self) -> float | None:
        """Share of the oracle's saving that certificates keep; None if the oracle saves nothing."""
        return self.saving / self.oracle_saving if self.oracle_saving > 0 else None


def resplit(
    rates: Sequence[float],
    lost: npt.NDArray[np.bool_],
    savings: npt.NDArray[np.float64],
    *,
    risk: float,
    confidence: float = 0.95,
    share: float = 0.5,
    splits: int = 100,
    seed: int = 0,
) -> Resplits:
    """Certify a rate on a part of the prompts and apply it to the others, many times.

    The loss of the other prompts varies randomly like that of the certifying ones, so it may exceed
    the risk more often than `1 - confidence`, although the certificate holds for the expected loss.

    Args:
        rates: Rates in increasing order, at least one.
        lost: Whether a prompt loses its answer, bool (rates, prompts).
        savings: Compression ratios, float64 (rates, prompts).
        risk: Accepted share of lost answers, above 0 and below 1.
        confidence: Confidence level, above 0 and below 1.
        share: Share of the prompts used for certification, above 0 and below 1.
        splits: Number of random splits, at least 1.
        seed: Seed of the splits, which use their own generator.

    Raises:
        ValueError: If there are too few prompts for such a certificate.
    """
    n = lost.shape[1]
    size = round(share * n)
    if size < (needed := prompts_needed(risk, confidence)) or size >= n:
        raise ValueError(
            f"a share of {share:g} of {n} prompts is {size}, but certifying a risk of {risk:g} "
            f"with confidence {confidence:g} takes at least {needed}, and others to apply it to"
        )
    rng = np.random.default_rng(seed)
    exceeded, saved = 0, 0.0
    for _ in range(splits):
        order = rng.permutation(n)
        own, others = order[:size], order[size:]
        counts = enumerate(lost[:, own].sum(axis=1).tolist())
        safe = strongest_safe(counts, size, risk, confidence)
        if safe is not None:
            place = int(safe[0])
            exceeded += bool(lost[place, others].mean() > risk)
            saved += float(savings[place, others].mean())
    within = np.flatnonzero(lost.mean(axis=1) <= risk)
    oracle = (rates[within[-1]], float(savings[within[-1]].mean())) if len(within) else (0.0, 0.0)
    return Resplits(exceeded / splits, saved / splits, *oracle)


def run(
    folder: str | Path,
    /,
    *,
    risk: float = 0.05,
    confidence: float = 0.95,
    tolerance: float = TOLERANCE,
    share: float = 0.5,
    resplits: int = 100,
) -> Analysis:
    """Certify rates on a part of the prompts, apply them to the others, and write the analysis.

    This reads the records of `analyse rates` in `rates/` of the folder and needs no generator. An
    answer is lost if its likelihood loss exceeds the tolerance or, without likelihoods, if its
    similarity is at most 0.9.

    Args:
        folder: Result folder.
        risk: Accepted share of lost answers.
        confidence: Confidence level of the certificate.
        tolerance: Accepted likelihood loss, in nats per token.
        share: Share of the prompts used for certification.
        resplits: Number of random splits.
    """
    check_inner_share("risk", risk)
    check_inner_share("confidence", confidence)
    source = RunFolder(folder)
    frame = RunFolder(source.path / "rates").frame()
    settings = {"risk": risk, "confidence": confidence, "share": share, "splits": resplits}
    return write_analysis(source.path, analyse(frame, tolerance, **settings))


def analyse(frame: DataFrame, tolerance: float = TOLERANCE, **settings: Any) -> Analysis:
    """Return the results of `resplit` for the first seed of agents `<agent>-rate<rate>`.

    `settings` are options of `resplit`.
    """
    import pandas

    given = frame[frame["requested_rate"] > 0.0]
    lost = given["likelihood_loss"] > tolerance
    lost = lost.where(given["likelihood_loss"].notna(), given["similarity"] <= SURVIVAL_THRESHOLD)
    agents = [agent.rpartition("-rate")[0] for agent in given["agent"]]
    rows = []
    for (split, agent), own in first_seeds(given.assign(agent=agents, lost=lost)):
        grids = [
            own.pivot(index="requested_rate", columns="prompt_id", values=value)
            for value in ("lost", "compression_ratio")
        ]
        losses, savings = (grid.to_numpy() for grid in grids)
        done = resplit(list(grids[0].index), losses, savings, **settings)
        row = {"split": split, "agent": agent, "prompts": losses.shape[1]}
        rows.append(row | done._asdict() | {"kept": done.kept})
    heading = ", ".join(f"{name} {value:g}" for name, value in settings.items())
    tables = {heading: Table.of(pandas.DataFrame(rows))}
    return Analysis("certificate", "Certificates on held-out prompts", _NOTE, tables)
