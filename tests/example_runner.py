"""Examples run as a user would run them: in a process and a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from imports import ROOT


def run_example(path: Path, folder: Path, **environment: str) -> None:
    """Run a file in `folder`; it must end well and print something."""
    search_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": search_path} | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
