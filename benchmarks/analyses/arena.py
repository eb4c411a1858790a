"""Comparison of compressors with the quality of other agents at equal savings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.runs.drawing import check_drawing, label_points, line_style
from benchmarks.analyses.analysis import Analysis, Table, read_analysis, write_analysis
from benchmarks.analyses.audit import ALL
from benchmarks.analyses.rates import AREAS, GOLD, LOSS
from benchmarks.records import RunFolder
from benchmarks.standings import standings
from benchmarks.statistics import bootstrap_interval
from benchmarks.tables import make_rows
from pcrl_gym.compressor.worker_process import environment_folder
from pcrl_gym.spec_strings import parse_spec

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

YARDSTICKS = ("policy", "scst", "self_information")
"""Agents whose curves serve as references, by name prefix."""
_FIGURES = {
    "expansion": "expansion",
    "net_saving": "net saving",
    "rewritten": "rewritten",
    "leaked": "leaked",
    "failed": "failed",
}
_NOTE = (
    "For each package, the setting that does best on {first}. Saved: mean share of a prompt's "
    "tokens that is saved. Low, high: 95% interval of the {quality}. Then the {quality} of other "
    "agents at the same savings, interpolated between the rates of their curves; empty beyond the "
    "end of a curve. Flips: share of the pairs that fail the flip audit. ms: median time per "
    "prompt. MB: size of the environment."
)
_MEGABYTE = 1_000_000
_LEAST_DRAWN = 0.02  # minimum share saved


def run(folder: str | Path, /) -> Analysis:
    """Compare compressors with curves of other agents, and write the analysis.

    The curves are those of the reference agents in the folder's own analysis `rates` or, if it has
    none, in the standings of its suite.

    Compressors with the same requirements file count as settings of one package, the first being
    its default. Flips come from the folder's analysis `audit`, if available, and sizes of
    environments that are not on this machine from its earlier analysis `arena`.

    Args:
        folder: Result folder.

    Raises:
        ValueError: If there are no curves.
    """
    check_drawing()
    source = RunFolder(folder)
    curves = _curves(source)
    audits = read_analysis(source.path, "audit")
    flips = audits.tables[ALL].frame() if audits else None
    earlier = read_analysis(source.path, "arena")
    analysis = analyse(
        source.frame(),
        source.settings,
        curves,
        {} if flips is None else dict(zip(flips["agent"], flips["share"], strict=True)),
        {} if earlier is None else _sizes(earlier),
    )
    return write_analysis(source.path, analysis, lambda figure, one: draw(figure, one, curves))


def _curves(source: RunFolder) -> dict[str, DataFrame]:
    """Return the rate-quality curves to compare with, by split."""

    def read(folder: Path) -> dict[str, DataFrame]:
        rates = read_analysis(folder, "rates")
        tables = {} if rates is None else rates.tables
        curves = {split: table.frame() for split, table in tables.items() if split != AREAS}
        return curves if all(yardsticks(curve) for curve in curves.values()) else {}

    try:
        if not (curves := read(source.path) or read(standings(source.settings).path)):
            raise ValueError(f"The standings of {source.settings['suite']} have no curves")
    except ValueError as error:
        first = f"benchmarks analyse rates {source.path} --agents policy self_information"
        raise ValueError(f"{error}: run `{first}` first") from error
    return curves


def at_ratio(curve: DataFrame, quality: str, ratio: float) -> float:
    """Return an agent's quality at a compression ratio, interpolated between its rates.

    The curve is sorted by ratio. Nothing is lost if nothing is saved; beyond the last rate, the
    quality of the last rate applies.

    Example:
        >>> import pandas
        >>> curve = pandas.DataFrame({"ratio": [0.2, 0.4], "likelihood loss": [0.1, 0.5]})
        >>> [round(at_ratio(curve, "likelihood loss", ratio), 2) for ratio in (-0.1, 0.1, 0.3, 0.9)]
        [0.0, 0.05, 0.3, 0.5]
    """
    nothing = 0.0 if quality == LOSS else 1.0
    return float(np.interp(ratio, [0.0, *curve["ratio"]], [nothing, *curve[quality]]))


def analyse(
    frame: DataFrame,
    settings: Mapping[str, Any],
    curves: Mapping[str, DataFrame],
    flips: Mapping[str, float],
    sizes: Mapping[str, float] = MappingProxyType({}),
) -> Analysis:
    """Return a table per split with the best setting of each package.

    Args:
        frame: Records, as `RunFolder.frame` returns them.
        settings: Settings of the run.
        curves: Tables of the `rates` analysis, by split.
        flips: Share of flips, by agent.
        sizes: Megabytes of environments that are not on this machine, by label of any setting.
    """
    import pandas

    loses = bool(frame["likelihood_loss"].notna().any())
    quality, key = (LOSS, "likelihood_loss") if loses else ("similarity", "similarity")
    groups = dict(tuple(frame.groupby(["split", "agent"])))
    megabytes = {}
    for name, meaning in settings["agents"].items():
        size = _megabytes(meaning)
        own_size = sizes.get(label_of(name, meaning)) if size is None else size
        if own_size is not None:
            megabytes[package_of(name, meaning)] = own_size
    others = {split: yardsticks(table) for split, table in curves.items()}
    rows = {}
    for row in make_rows(frame, dict(settings)):
        split, name = row["split"], row["agent"]
        own = groups[split, name]
        measured = own[key].dropna().to_numpy()
        saved = row["compression_ratio"]
        line = {
            "package": package_of(name, settings["agents"][name]),
            "agent": label_of(name, settings["agents"][name]),
            "saved": saved,
            quality: float(measured.mean()),
        }
        line["low"], line["high"] = bootstrap_interval([measured])
        golds = {}
        for other, curve in others[split].items():
            inside = saved <= curve["ratio"].max()
            line[f"{other}'s"] = at_ratio(curve, quality, saved) if inside else None
            if row.get("gold_quality") is not None and inside and GOLD in curve:
                golds[f"{other}'s gold"] = at_ratio(curve, GOLD, saved)
        line |= {GOLD: row.get("gold_quality"), **golds}
        line |= {title: row.get(figure) for figure, title in _FIGURES.items()}
        line |= {"flips": flips.get(name), "ms": float(own["compress_ms"].median())}
        rows[split, name] = line | {"MB": megabytes.get(line["package"])}
    first = settings["splits"][0]
    curve = list(others[first].values())[-1]
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
    return Analysis("arena", "Compressors at equal savings", note, tables)


def yardsticks(curves: DataFrame) -> dict[str, DataFrame]:
    """Return the curves of the reference agents, in the order of `YARDSTICKS`."""
    by_agent = dict(tuple(curves.groupby("agent", sort=False)))
    return {
        base: own.sort_values("ratio") for base in YARDSTICKS for name, own in by_agent.items()
        if name == base or name.startswith(f"{base}-")
    }  # fmt: skip


def package_of(agent: str, meaning: str) -> str:
    """Return the name of a compressor's requirements file; for other agents, their name.

    Example:
        >>> package_of("compressor-f", "compressor:requirements=packages/zip.txt,target=m:f")
        'zip'
    """
    return Path(str(_settings(meaning).get("requirements", ""))).stem or agent


def label_of(agent: str, meaning: str) -> str:
    """Return a compressor's function, with its rate if set; for other agents, their name.

    Example:
        >>> label_of("compressor-rate0.2-f", "compressor:rate=0.2,target=m:f")
        'f 0.2'
    """
    settings = _settings(meaning)
    if not settings:
        return agent
    rate = f" {settings['rate']:g}" if "rate" in settings else ""
    return str(settings["target"]).rpartition(":")[2] + rate


def _settings(meaning: str) -> dict[str, Any]:
    """Return the settings of a compressor; for other agents, none, as these are not plain specs."""
    return parse_spec(meaning)[1] if meaning.startswith("compressor:") else {}


def _sizes(arena: Analysis) -> dict[str, float]:
    """Return the sizes of environments in an earlier analysis, by label."""
    table = next(iter(arena.tables.values())).frame()
    return {} if "MB" not in table else dict(table[["agent", "MB"]].dropna().to_numpy())


def _megabytes(meaning: str) -> float | None:
    requirements = _settings(meaning).get("requirements")
    if not requirements or not Path(requirements).is_file():
        return None
    folder = environment_folder(requirements)
    sizes = [file.lstat().st_size for file in folder.rglob("*")]
    return round(sum(sizes) / _MEGABYTE) if sizes else None


def draw(figure: Figure, analysis: Analysis, curves: Mapping[str, DataFrame]) -> None:
    """Draw the compressors of the last split as points among the curves of the reference agents.

    Compressors that save next to nothing are left out, as their labels would overlap.
    """
    split, shown = list(analysis.tables.items())[-1]
    table = shown.frame()
    quality = LOSS if LOSS in table else "similarity"
    axes = figure.subplots()
    for place, (other, curve) in enumerate(yardsticks(curves[split]).items()):
        ratios, qualities = [0.0, *curve["ratio"]], [float(quality != LOSS), *curve[quality]]
        axes.plot(ratios, qualities, label=other, **line_style(place))
    table = table[table["saved"] >= _LEAST_DRAWN]
    axes.plot(table["saved"], table[quality], "o", ms=4, color="C3")
    axes.set(xlabel="share of tokens saved", ylabel=quality, title=split)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left" if quality == LOSS else "lower left")
    places = zip(table["saved"], table[quality], strict=True)
    label_points(axes, dict(zip(table["agent"], places, strict=True)))
