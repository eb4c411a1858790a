"""Common parts of analyses: tables, files in a result folder, first-seed records, charts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agents.runs.drawing import line_style, png
from benchmarks.markdown import align, cell, escaped
from benchmarks.tables import print_grid
from pcrl_gym.storage.atomic import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from pandas.api.typing import DataFrameGroupBy

Cell = str | float | int | None


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    points: tuple[tuple[float, float], ...]  # x and y, from left to right


@dataclass(frozen=True)
class Table:
    """A table, whose rows have a cell per column; None is an empty cell."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @classmethod
    def of(cls, frame: DataFrame) -> Table:
        """Return the columns of a frame without its index; NaN is an empty cell."""
        rows = frame.itertuples(index=False, name=None)
        return cls(tuple(frame), tuple(tuple(v if v == v else None for v in row) for row in rows))

    def frame(self) -> DataFrame:
        """Return the table as a frame."""
        import pandas

        return pandas.DataFrame(list(self.rows), columns=list(self.columns))


@dataclass(frozen=True)
class Analysis:
    """Result of an analysis."""

    name: str  # of its files and of the command
    title: str
    note: str  # meaning of the values, and how to read them
    tables: Mapping[str, Table]  # by heading
    series: tuple[Series, ...] = ()  # reward by training episodes, for learning curves

    def __str__(self) -> str:
        """Return title, note, and tables as Markdown, with lone surrogates escaped."""
        blocks = [f"### {self.title}\n\n{self.note}\n"]
        for heading, table in self.tables.items():
            cells = [list(table.columns), *([cell(value) for value in row] for row in table.rows)]
            blocks.append(f"#### {heading}\n\n{align(cells)}")
        return escaped("\n".join(blocks))

    def show(self) -> None:
        """Print the analysis for a terminal, in tables of at most 100 columns.

        The contents of a "note" column follow the table, numbered.
        """
        print(escaped(f"{self.title}\n\n{self.note}\n"))
        for heading, table in self.tables.items():
            lines = [[escaped(cell(value)) for value in row] for row in table.rows]
            numbers = {"": ""}
            if table.columns[-1] == "note":
                for line in lines:
                    line[-1] = numbers.setdefault(line[-1], str(len(numbers)))
            print_grid(heading, table.columns, lines)
            print(*(f"{number}: {note}\n" for note, number in numbers.items() if note), sep="")


def write_analysis(
    folder: str | Path, analysis: Analysis, draw: Callable[[Figure, Analysis], None] | None = None
) -> Analysis:
    """Write `analyses/<name>.json`, `.md`, and, with `draw`, `.png`, replacing earlier ones."""
    place = Path(folder) / "analyses"
    place.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dataclasses.asdict(analysis), indent=1, allow_nan=False)
    write_file(place / f"{analysis.name}.json", text + "\n")
    write_file(place / f"{analysis.name}.md", str(analysis))
    picture = place / f"{analysis.name}.png"
    if draw is None:
        picture.unlink(missing_ok=True)  # shows outdated values
    else:
        write_file(picture, png(lambda figure: draw(figure, analysis), (9, 5)))
    return analysis


def read_analyses(folder: str | Path) -> list[Analysis]:
    """Return the analyses of a result folder, by name; raise ValueError for a damaged file."""
    return [_read(file) for file in sorted((Path(folder) / "analyses").glob("*.json"))]


def _read(file: Path) -> Analysis:
    from pydantic import TypeAdapter

    return TypeAdapter(Analysis).validate_json(file.read_bytes())


def read_analysis(folder: str | Path, name: str) -> Analysis | None:
    """Return one analysis of a result folder, None if it has none of this name."""
    file = Path(folder) / "analyses" / f"{name}.json"
    return _read(file) if file.is_file() else None


def family_of(source: str) -> str:
    """Return the task family in the source of a prompt: the part before a slash.

    Example:
        >>> family_of("sort/3"), family_of("passage")
        ('sort', 'passage')
    """
    return escaped(source.partition("/")[0])


def first_seeds(frame: DataFrame) -> DataFrameGroupBy:
    """Return the records of every agent's first seed, grouped by split and agent."""
    groups = frame.groupby(["split", "agent"], sort=False, observed=True)
    first = frame[frame["seed"] == groups["seed"].transform("min")]
    return first.groupby(["split", "agent"], sort=False, observed=True)


def panels(figure: Figure, tables: Mapping[str, Table]) -> Iterator[tuple[Axes, DataFrame]]:
    """Yield the axes and frame of each table, three per row; then add the legend of the last."""
    across = min(3, len(tables))
    for place, (heading, table) in enumerate(tables.items(), start=1):
        axes = figure.add_subplot(-(-len(tables) // across), across, place)
        axes.set_title(heading, fontsize="small")
        yield axes, table.frame()
    if lines := axes.get_legend_handles_labels()[0]:
        figure.legend(handles=lines, loc="outside upper center", ncols=5, fontsize="small")


def draw_lines(axes: Axes, lines: DataFrame, width: float = 1.5) -> None:
    """Draw a line per column against the index, from 0 to 1; a width of 0 draws only points."""
    for place, (name, values) in enumerate(lines.items()):
        axes.plot(lines.index, values, label=name, linewidth=width, **line_style(place))
    axes.set_ylim(-0.02, 1.02)
    axes.grid(alpha=0.3)
