"""Atomic replacement of files and folders: readers see either the old or the new version.

If the program is interrupted, even by `kill -9`, one complete version is left. A folder cannot be
replaced in one step, so it may be missing briefly between two renames; `recover_folder` restores
it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_file(path: Path, content: str | bytes) -> None:
    """Replace a file; the new version is on disk before the old one is removed."""
    fresh = path.with_name(path.name + ".tmp")
    with fresh.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Replace a folder with a new one that the block fills.

    Yields:
        An empty folder. It replaces `path` if the block ends without an exception; otherwise it is
        removed, and `path` is unchanged.
    """
    fresh, old = _beside(path)
    recover_folder(path)
    fresh.mkdir(parents=True)
    try:
        yield fresh
        for file in sorted(fresh.rglob("*")):
            _to_disk(file)
        _to_disk(fresh)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    if path.exists():
        path.replace(old)
    fresh.replace(path)
    _to_disk(path.parent)
    _remove(old)


def recover_folder(path: Path) -> None:
    """Clean up after an interrupted replacement, so that `path` is complete or does not exist."""
    fresh, old = _beside(path)
    if not path.exists() and old.exists():
        old.replace(path)
    _remove(fresh)
    _remove(old)


def _beside(path: Path) -> tuple[Path, Path]:
    # Hidden, because "policy.old" next to "policy" may be the user's.
    return path.with_name(f".{path.name}.tmp"), path.with_name(f".{path.name}.old")


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _to_disk(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
