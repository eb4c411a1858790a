"""Rate-quality curves: how much of the answers survives when a given share is dropped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agents.runs.drawing import check_drawing, line_style
from benchmarks.analyses.analysis import Analysis, Series, Table, write_analysis
from benchmarks.records import Record, RunFolder
from benchmarks.statistics import survival_rate
from benchmarks.suites import suite_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATES = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))
BASELINE = "random"


def area(points: Sequence[tuple[float, float]]) -> float | None:
    """Return the area under a rate-quality curve, as the mean quality over its range of rates.

    Formula: the trapezoids between neighbouring points, divided by the width of the range:
    `sum((x[i+1] - x[i]) * (y[i] + y[i+1]) / 2) / (x[-1] - x[0])`.

    Args:
        points: Rate and quality, by rising rate.

    Returns:
        A number in the unit of the quality; None with less than two rates.

    Example:
        >>> area([(0.1, 1.0), (0.5, 0.5), (0.9, 0.0)])
        0.5
    """
    if len(points) < 2:
        return None
    x, y = np.array(points, np.float64).T
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2.0) / (x[-1] - x[0]))


def analyse(records: Iterable[Record], splits: Sequence[str]) -> Analysis:
    """Return the curves and their areas from records of agents that were given a rate.

    Args:
        records: Records with `requested_rate`, of agents named `<agent>-rate<rate>`.
        splits: Splits in the order in which they are shown.

    Returns:
        Per split a table of similarity, reward and ratio by agent and rate, one table of areas, and
        the curves of similarity on the first split as series.
    """
    grouped: dict[tuple[str, str, float], list[Record]] = defaultdict(list)
    for record in records:
        if record.requested_rate is not None:
            agent = record.agent.rpartition("-rate")[0]
            grouped[record.split, agent, record.requested_rate].append(record)
    tables, areas = {}, []
    for split in splits:
        rows = [
            (agent, rate, *_figures(own))
            for (where, agent, rate), own in sorted(grouped.items())
            if where == split
        ]
        columns = ("agent", "requested", "achieved", "ratio", "similarity", "survival", "reward")
        tables[split] = Table(columns, tuple(rows))
        areas += [(split, *row) for row in _areas(rows)]
    columns = ("split", "agent", "similarity", "survival", "reward", "similarity - random's")
    tables = {"areas under the curves": Table(columns, tuple(areas)), **tables}
    return Analysis(
        name="rates",
        title="Rate-quality curves",
        note="Each agent drops the same share of every prompt's droppable units, rounded "
        "down. Areas are means over the range of rates; random at the same rates is the baseline.",
        tables=tables,
        series=curves(tables[splits[0]]),
        x_label=f"share of units to drop, {splits[0]}",
        y_label="similarity",
    )


def curves(table: Table) -> tuple[Series, ...]:
    """Return the similarity against requested rate, a line per agent."""
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for agent, rate, _, _, similarity, *_ in table.rows:
        points[str(agent)].append((rate, similarity))
    return tuple(Series(agent, tuple(own)) for agent, own in points.items())


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
    if wrong := [rate for rate in rates if not 0.0 <= rate <= 1.0]:
        raise ValueError(f"Rates are shares from 0 to 1, got {wrong}")
    if not rates:
        raise ValueError("Give at least one rate")
    here = [e.from_run(source.path) if e.trainable else e for e in entries]
    benchmark = Benchmark(
        suite_of(source.settings),
        [entry.at_rate(rate) for entry in here for rate in rates],
        source.path / "rates",
        device=device,
    )
    benchmark.run()
    records = RunFolder(source.path / "rates").records()
    analysis = analyse(records, source.settings["splits"])
    panels = {
        split: curves(analysis.tables[split])
        for split in source.settings["splits"]
        if analysis.tables[split].rows
    }
    write_analysis(source.path, analysis, lambda figure: _draw(figure, panels))
    return analysis


def _figures(records: Sequence[Record]) -> tuple[float, ...]:
    names = ("drop_rate", "compression_ratio", "similarity", "reward")
    achieved, ratio, similarity, reward = (
        float(np.mean([getattr(record, name) for record in records])) for name in names
    )
    survival = survival_rate([record.similarity for record in records])
    return achieved, ratio, similarity, survival, reward


def _areas(rows: Sequence[tuple]) -> list[tuple]:
    agents = dict.fromkeys(row[0] for row in rows)
    found = {}
    for agent in agents:
        own = [row for row in rows if row[0] == agent]
        found[agent] = [area([(row[1], row[column]) for row in own]) for column in (4, 5, 6)]
    base = found.get(BASELINE, [None])[0]
    return [
        (agent, *own, None if base is None or own[0] is None else own[0] - base)
        for agent, own in found.items()
    ]


def _draw(figure: Figure, panels: Mapping[str, Sequence[Series]]) -> None:
    """Draw line charts side by side, with one legend for the lines of equal names."""
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    names = list(dict.fromkeys(line.name for lines in panels.values() for line in lines))
    for panel, (title, lines) in zip(axes, panels.items(), strict=True):
        for line in lines:
            x, y = zip(*line.points, strict=True)
            panel.plot(x, y, label=line.name, **line_style(names.index(line.name)))
        panel.set_title(title)
        panel.set_xlabel("share of units to drop")
        panel.grid(alpha=0.3)
    axes[0].set_ylabel("similarity")
    axes[-1].legend(loc="best", fontsize="small")
