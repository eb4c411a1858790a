"""The report as one HTML file that loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.analyses.analysis import Analysis
from benchmarks.columns import COLUMNS, measured
from benchmarks.markdown import cell, finite
from benchmarks.report.charts import draw_lines, draw_scatter, svg
from benchmarks.report.data import Board, pareto_front
from benchmarks.report.sample import FIGURES, choose_prompts, prompt_groups, script_json
from benchmarks.tables import ORACLE_MARK, notes
from pcrl_gym.scoring.scorer import SURVIVAL_THRESHOLD

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
        | {"chart": svg(partial(draw_scatter, rows=rows), (7, 4), f"{board.title}, {split}")}
        for place, board in enumerate(boards)
        for split, rows in board.rows.items()
    ]
    analyses = [
        (board, analysis, svg(draw, (9, 4.5), f"{analysis.title}, {board.title}") if draw else "")
        for board in boards
        for analysis in board.analyses
        for draw in [_drawing(analysis)]
    ]

    groups = prompt_groups(boards)
    values = {"boards": boards, "splits": splits, "analyses": analyses, "columns": COLUMNS}
    values["of_prompts"] = sum(map(len, groups))

    def render(prompts: list[dict[str, Any]]) -> bytes:
        data = {"figures": FIGURES, "survival": SURVIVAL_THRESHOLD, "prompts": prompts}
        page = template.render(values, prompts=len(prompts), data=script_json(data))
        return page.encode("utf-8", "replace")

    room = max_bytes - len(render([])) - 20  # their number may take more digits
    if room < 0:
        raise ValueError(
            f"Without any prompts the page takes more than {max_bytes:,} bytes, by {-room:,}; "
            "report fewer folders at once, or remove large analyses"
        )
    return render(choose_prompts(groups, room))


def _drawing(analysis: Analysis) -> Callable[[Figure], None] | None:
    if analysis.name in ("dropped", "judge", "rates", "transfer"):
        module = import_module(f"benchmarks.analyses.{analysis.name}")  # transfer's loads torch
        return partial(module.draw, analysis=analysis)
    return partial(draw_lines, analysis=analysis) if analysis.series else None
