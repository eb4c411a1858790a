"""Export of results for version control, the last step of `make` targets with results."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from cyclopts import App

from benchmarks.analyses.analysis import write_analysis
from benchmarks.records import RunFolder
from benchmarks.report.data import learning
from benchmarks.standings import publish

# Figures only: other files contain prompts, answers, or words and template names from them.
_FIGURES = """
    *-mini/training.json *-mini/evaluation.json scst-*/config.yaml scst-*/metrics.jsonl
    */leaderboard.md */details.md */summary.json */settings.json */provenance.json
    */analyses/compare.md */analyses/dropped.md */analyses/arena.json
""".split()

app = App()


@app.command
def standings(out: Path, folders: list[Path], /) -> None:
    """Write result folders with their records and analyses into folders of the same names.

    Args:
        out: Parent folder of the output folders.
        folders: Result folders.
    """
    for folder in folders:
        target = publish(RunFolder(folder), out / folder.name).parent
        shutil.copytree(folder / "analyses", target / "analyses", dirs_exist_ok=True)
        for over in ("episodes", "seconds"):  # training runs are not published
            if (curves := learning(folder, over)).series:
                write_analysis(target, curves)


@app.command
def figures(results: Path, out: Path, /, names: dict[str, Path]) -> None:
    """Write the figures of runs on data that we may not publish, without texts or local paths.

    Args:
        results: Folder of generators, training runs and result folders.
        out: Folder for the figures.
        names: Replacement names of paths.
    """
    for file in sorted(file for pattern in _FIGURES for file in results.glob(pattern)):
        text = file.read_text(encoding="utf-8").replace(f"{results}/", "")
        for name, path in names.items():
            text = text.replace(str(path), name)
        if file.name == "metrics.jsonl":
            text = "".join(line for line in text.splitlines(True) if '"evaluation"' in line)
        if file.name == "dropped.md":
            title, *tables = re.split(r"^(?=####)", text, flags=re.MULTILINE)
            text = title + "".join(t for t in tables if re.match(".*by (word class|position)", t))
        target = out / file.relative_to(results).parts[0] / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    app()
