"""The report as one HTML file that loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.analyses import dropped
from benchmarks.analyses.analysis import Analysis
from benchmarks.columns import COLUMNS, measured
from benchmarks.markdown import cell, finite
from benchmarks.report.charts import draw_lines, draw_scatter, svg
from benchmarks.report.data import Board, pareto_front
from benchmarks.report.sample import prompt_sample, script_json
from benchmarks.tables import ORACLE_MARK, notes
from pcrl_gym.scoring.scorer import SURVIVAL_THRESHOLD

MAX_BYTES = 2_000_000


def make_page(boards: Sequence[Board], max_bytes: int = MAX_BYTES) -> bytes:
    """Return the page in UTF-8, with as many prompts as there is room for.

    Raises:
        ValueError: If it would have more than `max_bytes` even without prompts.
        MissingExtraError: If matplotlib is not installed.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    options = {"autoescape": True, "undefined": StrictUndefined, "trim_blocks": True}
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), **options)
    environment.globals |= {"cell": cell, "finite": finite, "notes": notes, "mark": ORACLE_MARK}
    template = environment.get_template("page.html")
    splits = [
        {"key": f"{place}.{split}", "board": board, "name": split, "rows": rows}
        | {"columns": measured(rows, COLUMNS), "front": sorted(pareto_front(rows))}
        | {"chart": _scatter(f"Compression ratio and similarity, {board.title}, {split}", rows)}
        for place, board in enumerate(boards)
        for split, rows in board.rows.items()
    ]
    analyses = [
        (board, one, _chart(f"{one.title}, {board.title}", one))
        for board in boards
        for one in board.analyses
    ]

    def render(room: int) -> bytes:
        sample = prompt_sample(boards, room) | {"survival": SURVIVAL_THRESHOLD}
        values = {"sample": sample, "data": script_json(sample), "splits": splits}
        page = template.render(values, boards=boards, analyses=analyses, columns=COLUMNS)
        return page.encode("utf-8", "replace")

    room = max_bytes - len(render(0)) - 20  # the number of prompts may take more digits
    if room < 0:
        raise ValueError(
            f"Without any prompts the page takes more than {max_bytes:,} bytes, by {-room:,}; "
            "report fewer folders at once, or remove large analyses"
        )
    return render(room)


def _scatter(title: str, rows: Sequence[dict]) -> str:
    words = "; ".join(
        f"{row['agent']}: ratio {row['compression_ratio']:.3f}, similarity {row['similarity']:.3f}"
        for row in rows
    )
    return svg(lambda figure: draw_scatter(figure.subplots(), rows), (7, 4), title, words)


def _chart(title: str, analysis: Analysis) -> str:
    if analysis.name == "dropped":
        return svg(lambda figure: dropped.draw(figure, analysis), (9, 4.5), title, analysis.note)
    if not analysis.series:
        return ""
    ends = [(line.name, line.points[0][1], line.points[-1][1]) for line in analysis.series]
    words = "; ".join(f"{name} goes from {first:.3f} to {last:.3f}" for name, first, last in ends)
    return svg(lambda figure: draw_lines(figure, analysis), (7, 4.5), title, words)
