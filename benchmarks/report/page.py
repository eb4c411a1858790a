"""Report as a single self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.analyses.analysis import Analysis, first_seeds
from benchmarks.markdown import cell, finite
from benchmarks.report.charts import draw_lines, draw_scatter, svg
from benchmarks.report.data import Board, pareto_front
from benchmarks.tables import COLUMNS, ORACLE_MARK, measured, notes
from pcrl_gym.prompts.datasets import pick_evenly
from pcrl_gym.scoring.scorer import SURVIVAL_THRESHOLD

MAX_BYTES = 2_000_000
NARROW = ("agent", "reward", "compression_ratio", "survival_rate")
"""Columns that are shown on a phone."""
# Values of a record shown in the browser, if measured.
FIGURES = (
    "reward", "similarity", "compression_ratio", "drop_rate", "requested_rate", "log_likelihood",
    "original_tokens", "compressed_tokens", "template_tokens", "gold_rouge_l", "compress_ms",
)  # fmt: skip


def make_page(boards: Sequence[Board], max_bytes: int = MAX_BYTES) -> bytes:
    """Return the page in UTF-8, with as many prompts as fit."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    options = {"autoescape": True, "undefined": StrictUndefined, "trim_blocks": True}
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), **options)
    environment.globals |= {"cell": cell, "finite": finite, "notes": notes, "mark": ORACLE_MARK}
    environment.globals["narrow"] = NARROW
    template = environment.get_template("page.html")
    splits = [
        {"key": f"{place}.{split}", "board": board, "name": split, "rows": rows}
        | {"columns": measured(rows, COLUMNS), "front": sorted(pareto_front(rows))}
        | {"chart": svg(draw_scatter, {"": rows}, (6.4, 3.6), f"{board.title}, {split}")}
        | {"best": _best(rows, False), "ceiling": _best(rows, True)}
        for place, board in enumerate(boards)
        for split, rows in board.rows.items()
    ]
    analyses = [(board, one, _chart(board, one)) for board in boards for one in board.analyses]
    groups = prompt_groups(boards)
    values = {"boards": boards, "splits": splits, "analyses": analyses, "columns": COLUMNS}
    values["of_prompts"] = sum(map(len, groups))

    def render(prompts: list[dict[str, Any]]) -> bytes:
        data = {"figures": FIGURES, "survival": SURVIVAL_THRESHOLD, "prompts": prompts}
        page = template.render(values, prompts=len(prompts), data=script_json(data))
        return page.encode("utf-8", "replace")

    room = max_bytes - len(render([])) - 20  # the number of prompts may take more digits
    if room < 0:
        raise ValueError(
            f"Even without prompts, the page exceeds {max_bytes:,} bytes by {-room:,}; "
            "report fewer folders at once, or remove large analyses"
        )
    return render(choose_prompts(groups, room))


def _best(rows: Sequence[dict[str, Any]], oracle: bool) -> dict[str, Any] | None:
    """Return the row with the highest reward among those that do or do not ask the generator."""
    own = [row for row in rows if row["oracle"] == oracle]
    return max(own, key=lambda row: row["reward"], default=None)


def _chart(board: Board, analysis: Analysis) -> str:
    draw = draw_lines
    if analysis.name in ("dropped", "judge", "rates", "transfer"):
        draw = import_module(f"benchmarks.analyses.{analysis.name}").draw
    elif not analysis.series:
        return ""
    return svg(draw, analysis, (9, 4.5), f"{analysis.title}, {board.title}")


def choose_prompts(groups: Sequence[Sequence[dict[str, Any]]], budget: int) -> list[dict[str, Any]]:
    """Choose equally many prompts per group whose `script_json` takes at most `budget` bytes."""
    sizes = [[len(script_json(prompt)) + 1 for prompt in group] for group in groups]
    count = max(map(len, groups), default=0)
    while sum(own[at] for own in sizes for at in pick_evenly(len(own), count)) > budget:
        count = count * 49 // 50
    return [group[at] for group in groups for at in pick_evenly(len(group), count)]


def script_json(value: Any) -> str:
    """Return ASCII JSON that is safe inside a `script` element, whatever texts it contains."""
    from jinja2.utils import htmlsafe_json_dumps

    return htmlsafe_json_dumps(value, allow_nan=False, separators=(",", ":"))


def prompt_groups(boards: Sequence[Board]) -> list[list[dict[str, Any]]]:
    """Return the prompts of each split and folder, each with one record of every agent.

    That is the record of the agent's first seed; the agent with the best reward comes first.
    """
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for place, board in enumerate(boards):
        own = dict(iter(first_seeds(board.records)))
        order = [own[split, row["agent"]] for split, rows in board.rows.items() for row in rows]
        for record in (record for records in order for record in records.itertuples()):
            prompt = {key: getattr(record, key) for key in ("source", "prompt", "output", "gold")}
            prompt |= {"id": record.prompt_id, "split": f"{place}.{record.split}", "views": []}
            figures = [finite(getattr(record, key)) for key in FIGURES]
            view = [  # not an object, whose keys would take more space than the values
                record.agent,
                [int(end) for both in record.dropped for end in both],
                None if record.compressed_output == record.output else record.compressed_output,
                [round(value, 4) if isinstance(value, float) else value for value in figures],
            ]
            group = groups.setdefault(prompt["split"], {})
            group.setdefault(record.prompt_id, prompt)["views"].append(view)
    return [list(group.values()) for group in groups.values()]
