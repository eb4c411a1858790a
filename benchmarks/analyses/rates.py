"""Rate-quality curves: how much of the answers survives when a given share is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agents.runs.drawing import check_drawing
from benchmarks.analyses.analysis import Analysis, Series, Table, draw_lines, panels, write_analysis
from benchmarks.records import RunFolder
from benchmarks.statistics import survival_rate
from benchmarks.suites import suite_of

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.figure import Figure
    from pandas import DataFrame

RATES = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))
BASELINE = "random"
AREAS = "areas under the curves"


def area(points: npt.ArrayLike) -> float | None:
    """Return the area under a rate-quality curve, as the mean quality over its range of rates.

    Formula: the trapezoids between neighbouring points, divided by the width of the range:
    `sum((x[i+1] - x[i]) * (y[i] + y[i+1]) / 2) / (x[-1] - x[0])`.

    Args:
        points: Rate and quality, by rising rate, shape (rates, 2).

    Returns:
        A number in the unit of the quality; None with less than two rates.

    Example:
        >>> area([(0.1, 1.0), (0.5, 0.5), (0.9, 0.0)])
        0.5
    """
    x, y = np.asarray(points, np.float64).T
    return float(np.trapezoid(y, x) / (x[-1] - x[0])) if len(x) > 1 else None


def analyse(frame: DataFrame) -> Analysis:
    """Return the curves and their areas from records of agents that were given a rate.

    Args:
        frame: Records; those with `requested_rate` count, of agents named `<agent>-rate<rate>`.

    Returns:
        One table of areas, per split a table of similarity, reward and ratio by agent and rate, and
        the curves of similarity on the first split as series.
    """
    import pandas

    given = frame[frame["requested_rate"].notna()].rename(columns={"requested_rate": "requested"})
    given["agent"] = [agent.rpartition("-rate")[0] for agent in given["agent"]]
    tables, areas = {}, []
    for split, rows in given.groupby("split", sort=False, observed=True):
        means = rows.groupby(["agent", "requested"]).agg(
            achieved=("drop_rate", "mean"),
            ratio=("compression_ratio", "mean"),
            similarity=("similarity", "mean"),
            survival=("similarity", survival_rate),
            reward=("reward", "mean"),
        )
        tables[str(split)] = means.reset_index()
        for agent, own in means.reset_index("requested").groupby("agent"):
            figures = {
                name: area(own[["requested", name]])
                for name in ("similarity", "survival", "reward")
            }
            areas.append({"split": split, "agent": agent, **figures})
    under = pandas.DataFrame(areas)
    base = under[under["agent"] == BASELINE].set_index("split")["similarity"]
    under["similarity - random's"] = under["similarity"] - under["split"].map(base)
    first = next(iter(tables))
    curves = _curves(tables[first]).items()
    return Analysis(
        name="rates",
        title="Rate-quality curves",
        note="Each agent drops the same share of every prompt's droppable units, rounded "
        "down. Areas are means over the range of rates; random at the same rates is the baseline.",
        tables={name: Table.of(table) for name, table in {AREAS: under, **tables}.items()},
        series=tuple(Series(agent, tuple(curve.dropna().items())) for agent, curve in curves),
        x_label=f"share of units to drop, {first}",
        y_label="similarity",
    )


def run(
    folder: str | Path,
    agents: Sequence[str],
    *,
    rates: Sequence[float] = RATES,
    device: str = "auto",
) -> Analysis:
    """Evaluate agents at several rates, on the suite of a result folder.

    Agents that learn are those that the folder trained. The records go to `rates/` in the folder,
    where an interrupted analysis resumes.

    Args:
        folder: Result folder.
        agents: Names as for a run; each must take `rate`.
        rates: Shares of the droppable units to drop, in [0, 1].
        device: Where the generator runs.

    Returns:
        The analysis, which is written into the folder, too.

    Raises:
        RunFolderError: If there is no such result folder, or a trained agent is missing in it.
        ValueError: If an agent is unknown or takes no rate, or a rate is no share.
        MissingExtraError: If Matplotlib is not installed.
    """
    from benchmarks.roster import find_agents
    from benchmarks.runner import Benchmark

    check_drawing()
    source = RunFolder(folder)
    entries = find_agents(agents)
    if stubborn := [entry.name for entry in entries if not entry.takes_rate]:
        raise ValueError(f"{', '.join(stubborn)} take no rate; leave such agents out")
    if not rates or not all(0.0 <= rate <= 1.0 for rate in rates):
        raise ValueError(f"Rates are shares from 0 to 1, at least one, got {list(rates)}")
    here = [e.from_run(source.path) if e.trainable else e for e in entries]
    at_rates = [entry.at_rate(rate) for entry in here for rate in rates]
    out = source.path / "rates"
    Benchmark(suite_of(source.settings), at_rates, out, device=device).run()
    analysis = analyse(RunFolder(out).frame())
    write_analysis(source.path, analysis, lambda figure: draw(figure, analysis))
    return analysis


def _curves(means: DataFrame) -> DataFrame:
    """Return the similarity by requested rate, a column per agent."""
    return means.pivot(index="requested", columns="agent", values="similarity")


def draw(figure: Figure, analysis: Analysis) -> None:
    """Draw the curves of every split."""
    curves = {split: table for split, table in analysis.tables.items() if split != AREAS}
    for axes, table in panels(figure, curves):
        # Straight past the rates of other agents.
        draw_lines(axes, _curves(table).interpolate("index", limit_area="inside"))
        axes.set(xlabel="share of units to drop", ylabel="similarity")
