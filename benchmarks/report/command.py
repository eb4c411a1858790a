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


def run(folders: Sequence[Path], out: Path | None = None) -> list[Path]:
    """Write leaderboard, picture and page of result folders, in place of those of before.

    Args:
        folders: Result folders, or published standings, which may have no records.
        out: Folder for the report; None for `report` in the first result folder.

    Returns:
        The files: `leaderboard.md`, `.csv` and `.tex`, `ratio-similarity.png`, `index.html`.

    Raises:
        RunFolderError: If a folder cannot be read, or `out` holds something else.
        ValueError: If the page would be too large.
        MissingExtraError: If matplotlib is not installed.
    """
    if not folders:
        raise RunFolderError("report needs at least one result folder")
    out = folders[0] / "report" if out is None else out
    boards = read_boards(folders)
    contents = {
        "leaderboard.md": _encode(markdown(boards)),  # first: it shows whose files these are
        "leaderboard.csv": _encode(comma_separated(boards)),
        "leaderboard.tex": _encode(latex(boards)),
        "ratio-similarity.png": scatter_png(boards),
        "index.html": make_page(boards),
    }
    if out.exists() and not out.is_dir():
        raise RunFolderError(f"{out} is a file; give a folder for the report")
    if (out / "settings.json").exists():
        raise RunFolderError(f"{out} is a result folder; give another for the report")
    found = [name for name in contents if (out / name).exists()]
    if found and not ("leaderboard.md" in found and MARK in (out / "leaderboard.md").read_text()):
        raise RunFolderError(
            f"{out} holds {', '.join(found)} but no report; give another folder for it"
        )
    out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_file(out / name, content)
    return [out / name for name in contents]


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # names may hold lone surrogates
