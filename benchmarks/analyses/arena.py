"""Compressors beside what others lose where they save as much."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.runs.drawing import check_drawing, label_points
from benchmarks.analyses.analysis import (
    Analysis,
    Table,
    panels,
    read_analyses,
    write_analysis,
)
from benchmarks.analyses.rates import AREAS, LOSS
from benchmarks.records import RANKS_BY, RunFolder
from benchmarks.standings import standings
from benchmarks.statistics import bootstrap_interval
from benchmarks.tables import make_rows
from pcrl_gym.compressor.worker_process import environment_folder
from pcrl_gym.spec_strings import parse_spec

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

YARDSTICKS = ("policy", "self_information")
"""Agents with curves in the standings."""
_FIGURES = {
    "gold_quality": "gold quality",
    "expansion": "expansion",
    "net_saving": "net saving",
    "rewritten": "rewritten",
    "leaked": "leaked",
    "failed": "failed",
}
_NOTE = (
    "Of each package the setting that does best on {first}. Saved: mean share of a prompt's "
    "tokens. Low, high: 95 % interval of the {quality}. Then the {quality} of other agents where "
    "they save as much, between the rates of their curves; empty beyond them. Flips: share of the "
    "pairs of the flip audit that fail. ms: median time for a prompt. MB: size of the environment."
)
_MEGABYTE = 1_000_000


def run(folder: str | Path, /) -> Analysis:
    """Compare compressors with the published curves of their suite, and write the analysis.

    Compressors with one file of packages count as settings of one package, the first of them as its
    default. Flips are those of the folder's analysis `audit`, if there is one.

    Args:
        folder: Result folder of a suite with published rate-quality curves.
    """
    check_drawing()
    source = RunFolder(folder)
    published = standings(source.settings)
    rates = {one.name: one for one in read_analyses(published.path)}.get("rates")
    if rates is None:
        raise ValueError(f"The standings of {source.settings['suite']} have no curves")
    audits = {one.name: one for one in read_analyses(source.path)}.get("audit")
    flips = audits.tables["all classes"].frame() if audits else None
    curves = {split: table.frame() for split, table in rates.tables.items() if split != AREAS}
    analysis = analyse(
        source.frame(),
        source.settings,
        curves,
        {} if flips is None else dict(zip(flips["agent"], flips["share"], strict=True)),
    )
    return write_analysis(source.path, analysis, lambda figure, one: draw(figure, one, curves))


def at_ratio(curve: DataFrame, quality: str, ratio: float) -> float:
    """Return an agent's quality where it reaches a compression ratio, between its rates.

    Nothing is lost where nothing is saved; beyond the last rate the quality is that of the last.

    Example:
        >>> import pandas
        >>> curve = pandas.DataFrame({"ratio": [0.2, 0.4], "likelihood loss": [0.1, 0.5]})
        >>> [round(at_ratio(curve, "likelihood loss", ratio), 2) for ratio in (-0.1, 0.1, 0.3, 0.9)]
        [0.0, 0.05, 0.3, 0.5]
    """
    points = curve.sort_values("ratio")
    nothing = 0.0 if quality == LOSS else 1.0
    return float(np.interp(ratio, [0.0, *points["ratio"]], [nothing, *points[quality]]))


def analyse(
    frame: DataFrame,
    settings: Mapping[str, Any],
    curves: Mapping[str, DataFrame],
    flips: Mapping[str, float],
) -> Analysis:
    """Return a table per split with the best setting of each package.

    Args:
        frame: Records, as `RunFolder.frame` returns them.
        settings: Settings of the run.
        curves: Tables of the analysis `rates`, by split.
        flips: Share of flips, by agent.
    """
    import pandas

    loses = bool(frame["likelihood_loss"].notna().any())
    quality, key = (LOSS, "likelihood_loss") if loses else ("similarity", "similarity")
    groups = dict(tuple(frame.groupby(["split", "agent"])))
    megabytes = {name: _megabytes(meaning) for name, meaning in settings["agents"].items()}
    rows = {}
    for row in make_rows(frame, dict(settings)):
        split, name = row["split"], row["agent"]
        own = groups[split, name]
        measured = own[key].dropna().to_numpy()
        saved = row["compression_ratio"]
        line = {
            "package": package_of(name, settings["agents"][name]),
            "agent": name.removeprefix("compressor-"),
            "saved": saved,
            quality: float(measured.mean()),
        }
        line["low"], line["high"] = bootstrap_interval([measured])
        for other in YARDSTICKS:
            curve = curves[split][curves[split]["agent"] == other]
            inside = saved <= curve["ratio"].max()
            line[f"{other}'s"] = at_ratio(curve, quality, saved) if inside else None
        line |= {title: row.get(figure) for figure, title in _FIGURES.items()}
        line |= {"flips": flips.get(name), "ms": float(own["compress_ms"].median())}
        rows[split, name] = line | {"MB": megabytes[name]}
    first = settings["splits"][0]
    curve = curves[first][curves[first]["agent"] == YARDSTICKS[-1]]
    gaps: dict[str, dict[str, float]] = {}
    for name in settings["agents"]:
        line = rows[first, name]
        gap = line[quality] - at_ratio(curve, quality, line["saved"])
        gaps.setdefault(line["package"], {})[name] = gap if loses else -gap
    chosen = [min(own, key=own.__getitem__) for own in gaps.values()]
    tables = {}
    for split in settings["splits"]:
        best = pandas.DataFrame(rows[split, name] for name in chosen)
        best = best.sort_values("saved").dropna(axis="columns", how="all")
        tables[split] = Table.of(best.drop(columns="package"))
    note = _NOTE.format(first=first, quality=quality)
    return Analysis("arena", "Compressors where they save as much", note, tables)


def package_of(agent: str, meaning: str) -> str:
    """Return the name of a compressor's file of packages; of other agents their own.

    Example:
        >>> package_of("compressor-f", "compressor:requirements=packages/zip.txt,target=m:f")
        'zip'
    """
    requirements = parse_spec(meaning.partition(RANKS_BY)[0])[1].get("requirements", "")
    return Path(str(requirements)).stem or agent


def _megabytes(meaning: str) -> float | None:
    requirements = parse_spec(meaning.partition(RANKS_BY)[0])[1].get("requirements")
    if not requirements or not Path(requirements).is_file():
        return None
    folder = environment_folder(requirements)
    sizes = [file.lstat().st_size for file in folder.rglob("*")]
    return round(sum(sizes) / _MEGABYTE) if sizes else None


def draw(figure: Figure, analysis: Analysis, curves: Mapping[str, DataFrame]) -> None:
    """Draw every compressor as a point among the curves of the standings."""
    for split, (axes, table) in zip(analysis.tables, panels(figure, analysis.tables), strict=True):
        quality = LOSS if LOSS in table else "similarity"
        for other in YARDSTICKS:
            points = curves[split][curves[split]["agent"] == other].sort_values("ratio")
            nothing = float(quality != LOSS)
            axes.plot([0.0, *points["ratio"]], [nothing, *points[quality]], label=other)
        axes.plot(table["saved"], table[quality], "o", ms=4)
        axes.set(xlabel="share of tokens saved", ylabel=quality)
        places = zip(table["saved"], table[quality], strict=True)
        label_points(axes, dict(zip(table["agent"], places, strict=True)), size=6)
