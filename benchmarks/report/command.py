"""`python -m benchmarks report`: write the report of result folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report.data import read_boards
from benchmarks.report.page import MARK, make_page
from benchmarks.report.scatter import scatter_png
from benchmarks.report.tables import comma_separated, latex, markdown
from pcrl_gym.errors import RunFolderError
from pcrl_gym.storage.atomic import write_file


def run(folders: Sequence[Path], out: Path | None) -> list[Path]:
    """Write leaderboard, picture and page of result folders.

    The files are derived: the same folders give them again. So those of an earlier report are
    replaced, each as a whole, and files of anybody else are not.

    Args:
        folders: Result folders.
        out: Folder for the report; None for `report` in the first result folder.

    Returns:
        The files: `index.html`, `leaderboard.md`, `.csv` and `.tex`, `ratio-similarity.png`.

    Raises:
        RunFolderError: If a folder cannot be read, or `out` holds something else.
        ValueError: If the page would be too large.
        MissingExtraError: If Matplotlib is not installed.
    """
    if not folders:
        raise RunFolderError("report needs at least one result folder")
    out = folders[0] / "report" if out is None else out
    boards = read_boards(folders)
    contents = {
        # First: it shows the next report whose files these are.
        "index.html": make_page(boards),
        "leaderboard.md": _encode(markdown(boards)),
        "leaderboard.csv": _encode(comma_separated(boards)),
        "leaderboard.tex": _encode(latex(boards)),
        "ratio-similarity.png": scatter_png(boards),
    }
    _check_out(out, list(contents))
    out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_file(out / name, content)
    return [out / name for name in contents]


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # names may hold lone surrogates


def _check_out(out: Path, names: Sequence[str]) -> None:
    if out.exists() and not out.is_dir():
        raise RunFolderError(f"{out} is a file; give a folder for the report")
    if (out / "settings.json").exists():
        raise RunFolderError(f"{out} is a result folder; give another for the report")
    page = out / "index.html"
    if page.is_file() and MARK.encode() in page.read_bytes():
        return
    found = [name for name in names if (out / name).exists()]
    if found:
        raise RunFolderError(
            f"{out} holds {', '.join(found)} but no report; give another folder for it"
        )
