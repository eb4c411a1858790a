"""Rate-quality curves: answer quality when a given share of units is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agents.runs.drawing import check_drawing
from benchmarks.analyses.analysis import Analysis, Table, draw_lines, panels, write_analysis
from benchmarks.records import RunFolder
from benchmarks.statistics import survival_rate
from benchmarks.suites import suite_of
from pcrl_gym.cli_tools import Names, resumable

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.figure import Figure
    from pandas import DataFrame

RATES = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))
AREAS = "areas under the curves"
LOSS = "likelihood loss"
GOLD = "gold quality"
_NOTE = (
    "Each agent drops the same share of every prompt's droppable units, rounded down. Areas are "
    "means over the range of rates; random at the same rates is the baseline."
)


def area(points: npt.ArrayLike) -> float | None:
    """Return the area under a rate-quality curve, as the mean quality over its range of rates.

    Formula: the trapezoids between neighboring points, divided by the width of the range:
    `sum((x[i+1] - x[i]) * (y[i] + y[i+1]) / 2) / (x[-1] - x[0])`.

    Args:
        points: Rate and quality, by increasing rate, shape (rates, 2).

    Returns:
        A number in the unit of the quality; None with fewer than two rates.

    Example:
        >>> area([(0.1, 1.0), (0.5, 0.5), (0.9, 0.0)])
        0.5
    """
    x, y = np.asarray(points, np.float64).T
    return float(np.trapezoid(y, x) / (x[-1] - x[0])) if len(x) > 1 else None


@resumable()
def run(
    folder: str | Path,
    /,
    *,
    agents: Names,
    rates: Sequence[float] = RATES,
    device: str = "auto",
) -> Analysis:
    """Evaluate agents at several rates, on the suite of a result folder, and write the analysis.

    Trainable agents are those trained in the folder. Records are written to `rates/` in the folder,
    where an interrupted analysis resumes.

    Args:
        folder: Result folder.
        agents: Names as for a run; each must take `rate`.
        rates: Shares of the droppable units to drop, in [0, 1].
        device: Device of the generator.
    """
    from benchmarks.roster import find_agents
    from benchmarks.runner import Benchmark
    from benchmarks.training import from_run

    check_drawing()
    source = RunFolder(folder)
    entries = find_agents(agents)
    if stubborn := [entry.name for entry in entries if not entry.takes_rate]:
        raise ValueError(f"agents must take a rate; remove {', '.join(stubborn)}")
    if not rates or not all(0.0 <= rate <= 1.0 for rate in rates):
        raise ValueError(f"Rates must be one or more shares from 0 to 1, got {list(rates)}")
    suite, out = suite_of(source.settings), source.path / "rates"
    here = [from_run(e, source, suite.seeds) if e.trainable else e for e in entries]
    at_rates = [entry.at_rate(rate) for entry in here for rate in rates]
    cache = source.path / "answers.db"
    Benchmark(suite, at_rates, out, device=device, cache=cache).run()
    return write_analysis(source.path, analyse(RunFolder(out).frame()), draw)


def analyse(frame: DataFrame) -> Analysis:
    """Return curves and areas from the records of agents `<agent>-rate<rate>`.

    With likelihoods, this includes the likelihood loss in nats per token and the gold quality.
    """
    import pandas

    if len(silent := frame.loc[frame["requested_rate"].isna(), "agent"].unique()):
        raise ValueError(
            f"the records of {', '.join(silent)} lack the rate: an agent that takes `rate` must "
            "have it as an attribute; correct the agent, and remove these records"
        )
    given = frame.rename(columns={"requested_rate": "requested"})
    given["agent"] = [agent.rpartition("-rate")[0] for agent in given["agent"]]
    groups = given.groupby(["split", "agent", "requested"])
    means = groups.agg(
        achieved=("drop_rate", "mean"),
        ratio=("compression_ratio", "mean"),
        similarity=("similarity", "mean"),
        survival=("similarity", survival_rate),
        reward=("reward", "mean"),
    )
    qualities = ["similarity", "survival", "reward"]
    if given["likelihood_loss"].notna().any():
        means[LOSS] = groups["likelihood_loss"].mean()
        gold = groups[["gold_score", "original_gold_score"]].sum()
        means[GOLD] = gold["gold_score"] / gold["original_gold_score"]
        qualities = [LOSS, GOLD, *qualities]
    splits = {split: means.loc[split].reset_index() for split in given["split"].unique()}
    areas = pandas.DataFrame(
        {"split": split, "agent": agent} | {key: area(own[["requested", key]]) for key in qualities}
        for split, table in splits.items()
        for agent, own in table.groupby("agent")
    )
    first = qualities[0]
    baseline = areas[areas["agent"] == "random"].set_index("split")[first]
    areas[f"{first} - random's"] = areas[first] - areas["split"].map(baseline)
    tables = {name: Table.of(table) for name, table in {AREAS: areas, **splits}.items()}
    return Analysis("rates", "Rate-quality curves", _NOTE, tables)


def draw(figure: Figure, analysis: Analysis) -> None:
    """Draw the curves of every split."""
    splits = {split: table for split, table in analysis.tables.items() if split != AREAS}
    for axes, table in panels(figure, splits):
        quality = LOSS if LOSS in table else "similarity"
        curves = table.pivot(index="requested", columns="agent", values=quality)
        # Interpolate linearly at the rates of other agents.
        draw_lines(axes, curves.interpolate("index", limit_area="inside"))
        axes.set(xlabel="share of units to drop", ylabel=quality)
        if quality == LOSS:  # in nats, unbounded
            axes.autoscale(axis="y")
