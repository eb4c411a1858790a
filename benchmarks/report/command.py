"""`python -m benchmarks report`: write the report of result folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report.charts import scatter_png
from benchmarks.report.data import read_boards
from benchmarks.report.page import make_page
from benchmarks.report.tables import MARK, comma_separated, latex, markdown
from pcrl_gym.errors import RunFolderError
from pcrl_gym.storage.atomic import write_file

FILES = (
    "leaderboard.md", "leaderboard.csv", "leaderboard.tex", "ratio-similarity.png", "index.html",
)  # fmt: skip


def run(folders: Sequence[Path], out: Path | None = None) -> list[Path]:
    """Write the `FILES` of result folders into `out`, by default `report` in the first one."""
    if not folders:
        raise RunFolderError("report needs at least one result folder")
    out = folders[0] / "report" if out is None else out
    if out.is_file() or (out / "settings.json").exists():
        raise RunFolderError(f"{out} is a file or a result folder; choose another --out")
    found = [name for name in FILES if (out / name).exists()]
    table = out / "leaderboard.md"
    if found and not (table.is_file() and MARK.encode() in table.read_bytes()):
        raise RunFolderError(
            f"{out} contains {', '.join(found)} but no report; choose another --out"
        )
    boards = read_boards(folders)
    texts = [make(boards).encode("utf-8", "replace") for make in (markdown, comma_separated, latex)]
    contents = [*texts, scatter_png(boards), make_page(boards)]
    out.mkdir(parents=True, exist_ok=True)
    for name, content in zip(FILES, contents, strict=True):
        write_file(out / name, content)
    return [out / name for name in FILES]
