"""The report as one HTML file that loads nothing from anywhere."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.columns import COLUMNS
from benchmarks.report.data import Board, board_facts
from benchmarks.report.sample import prompt_sample, script_json
from benchmarks.tables import ORACLE_MARK, ORACLE_NOTE
from pcrl_gym.scoring.scorer import SURVIVAL_THRESHOLD

MAX_BYTES = 2_000_000
MARK = '<meta name="generator" content="pcrl_gym benchmarks report">'
"""Stands in every page made here, by which it differs from files of others."""

_HERE = Path(__file__).resolve().parent
_SCRIPTS = ("page.js", "charts.js", "leaderboard.js", "prompts.js")


def make_page(boards: Sequence[Board], max_bytes: int = MAX_BYTES) -> bytes:
    """Return the page in UTF-8, with as many prompts as there is room for.

    Raises:
        ValueError: If it would have more than `max_bytes` even without prompts.
    """
    bare = _assemble(boards, 0)
    room = max_bytes - len(bare) - 100  # the counts of prompts grow by some digits
    if room < 0:
        raise ValueError(
            f"Without any prompts the page takes {len(bare):,} bytes of {max_bytes:,}; report "
            "fewer folders at once, or remove large analyses"
        )
    return _assemble(boards, room)


def _assemble(boards: Sequence[Board], room: int) -> bytes:
    data = {
        "boards": [board_facts(board) for board in boards],
        "columns": [asdict(column) for column in COLUMNS],
        "oracleMark": ORACLE_MARK,
        "oracleNote": ORACLE_NOTE.strip(),
        "survival": SURVIVAL_THRESHOLD,
        "sample": prompt_sample(boards, room),
    }
    parts = {
        "mark": MARK,
        "title": html.escape(", ".join(board.title for board in boards)),
        "css": _source("page.css"),
        "data": script_json(data),
        "js": "\n".join(_source(name) for name in _SCRIPTS),
    }
    # In one pass, so that nothing inside the data is taken for a place to fill.
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _source("page.html"))
    return page.encode("utf-8", "replace")


def _source(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
