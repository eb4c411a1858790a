"""What measuring commands print and write: tables, and a file of all figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.markdown import align
from benchmarks.provenance import origin as origin
from pcrl_gym.storage.atomic import write_file


def check_new(out: str | None) -> None:
    """Check that a file of figures, if one is wanted, replaces none: else a ValueError."""
    if out is not None and Path(out).exists():
        raise ValueError(f"{out} exists and is not overwritten; give another file")


def write_figures(out: str | None, figures: dict[str, Any]) -> None:
    """Write figures as JSON, if a file is wanted; its folder is made."""
    if out is not None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        write_file(Path(out), json.dumps(figures, indent=2, allow_nan=False) + "\n")


def format_rows(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """Return a Markdown table; each column has a header and a format of a row's values."""
    return align(
        [[*columns], *([text.format_map(row) for text in columns.values()] for row in rows)]
    )
