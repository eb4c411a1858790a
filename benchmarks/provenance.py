"""Provenance of results: code, libraries, machine, and data."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcrl_gym.storage.atomic import write_file

if TYPE_CHECKING:
    from benchmarks.records import RunFolder

_LIBRARIES = (
    "gymnasium numpy rapidfuzz sb3-contrib stable-baselines3 tokenizers torch transformers"
).split()


def git_state() -> dict[str, Any]:
    """Return the "commit" of this clone and whether it is "dirty"; None without a clone."""
    commit = _git("rev-parse", "--verify", "HEAD")
    status = _git("status", "--porcelain")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None  # no git or no repository: null in the provenance


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def machine() -> dict[str, Any]:
    """Return the setup of a measurement: code, versions, hardware, and system load."""
    import torch

    load = [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None
    processors = Path("/proc/cpuinfo")  # `platform.processor` is empty on Linux
    text = processors.read_text(encoding="utf-8") if processors.is_file() else ""
    named = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return {
        "git": git_state(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": named[1] if named else platform.processor(),
        "cpu_count": os.cpu_count(),
        "load": load,  # of the last 1, 5 and 15 minutes
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "libraries": {library: _version(library) for library in _LIBRARIES},
    }


def origin() -> dict[str, Any]:
    """Return `machine()` and the current time as "started"."""
    return {"started": datetime.now(timezone.utc).isoformat(timespec="seconds"), **machine()}


def record_run(folder: RunFolder, run: dict[str, Any]) -> None:
    """Add a run to the folder's `provenance.json`, which lists all runs of a resumed folder.

    Warns on stderr if the previous run may have used different code.
    """
    file = folder.path / "provenance.json"
    stored = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"runs": []}
    here = origin()
    runs, code = stored["runs"], here["git"]
    # Two states with uncommitted changes may differ.
    if runs and (code["dirty"] or runs[-1]["git"] != code):
        before, now = (
            f"commit {(git['commit'] or 'unknown')[:12]}"
            + (" with uncommitted changes" if git["dirty"] else "")
            for git in (runs[-1]["git"], code)
        )
        print(
            f"warning: {folder.path} may contain results of different code ({before}; now {now}); "
            "choose a new folder to keep them separate",
            file=sys.stderr,
        )
    stored |= {"settings": folder.settings, "runs": [*runs, {**here, **run}]}
    write_file(file, json.dumps(stored, indent=2) + "\n")
