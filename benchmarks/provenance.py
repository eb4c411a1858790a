"""Where results come from: code, libraries, machine, data."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.records import RunFolder
from pcrl_gym.storage.atomic import write_file

_LIBRARIES = (
    "gymnasium", "numpy", "rapidfuzz", "sb3-contrib", "stable-baselines3", "tokenizers", "torch",
    "transformers",
)  # fmt: skip


def git_state() -> dict[str, Any]:
    """Return the commit of this clone, and whether its files differ from it.

    `{"commit": str | None, "dirty": bool | None}`: None if this is no git clone or has no commit.
    """
    commit = _git("rev-parse", "--verify", "HEAD")
    status = _git("status", "--porcelain")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def _git(*arguments: str) -> str | None:
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, or no repository: provenance then says null
    return done.stdout.strip()


def library_versions() -> dict[str, str | None]:
    """Return the versions of the libraries that results may depend on; None if not installed."""
    versions: dict[str, str | None] = {}
    for library in _LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            versions[library] = None
    return versions


def machine() -> dict[str, Any]:
    """Return what a measurement was made with.

    Returns:
        Keys "git" (see `git_state`), "python", "platform", "processor", "cpu_count", "load" (1, 5
        and 15 minutes), "threads" (torch's), "gpu" (its name, None without one) and "libraries"
        (see `library_versions`).
    """
    import torch

    load = [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None
    return {
        "git": git_state(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "load": load,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "libraries": library_versions(),
    }


def _processor() -> str:
    file = Path("/proc/cpuinfo")  # `platform.processor` is empty on Linux
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _describe(git: dict[str, Any]) -> str:
    commit = (git["commit"] or "unknown")[:12]
    return f"commit {commit} with uncommitted changes" if git["dirty"] else f"commit {commit}"


def record_run(folder: RunFolder, run: dict[str, Any]) -> None:
    """Add one run to the folder's `provenance.json`: a resumed folder lists all its runs.

    Warns on stderr where the run before may have used other code.

    Args:
        folder: Result folder.
        run: What the caller knows: agents, device, data checksums, skipped prompts.
    """
    file = folder.path / "provenance.json"
    stored = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"runs": []}
    stored["settings"] = folder.settings
    here = machine()
    code = here["git"]
    # Of two states with uncommitted changes nobody knows whether they are the same.
    if stored["runs"] and (code["dirty"] or stored["runs"][-1]["git"] != code):
        before, now = _describe(stored["runs"][-1]["git"]), _describe(code)
        print(
            f"warning: {folder.path} may hold results of other code ({before}; now {now}); "
            "give a new folder for one code's table",
            file=sys.stderr,
        )
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    stored["runs"].append({"started": started, **here, **run})
    write_file(file, json.dumps(stored, indent=2) + "\n")
