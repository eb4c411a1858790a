"""Files and folders that are replaced as a whole: a reader finds the old one or the new one.

Whatever ends the program, `kill -9` included, one complete version is left. A folder cannot be
replaced in one step, so between two renames it may be gone for a moment; `recover_folder` puts it
back.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_file(path: Path, content: str | bytes) -> None:
    """Replace a file; the new one is on the disk before the old one is gone."""
    fresh = path.with_name(path.name + ".tmp")
    with fresh.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Replace a folder by one that the block fills.

    Yields:
        An empty folder. It takes the place of `path` when the block ends without an exception; else
        it is removed, and `path` is as it was.
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
    """Tidy up after a replacement that was cut off, so that `path` is a complete folder, if any."""
    fresh, old = _beside(path)
    if not path.exists() and old.exists():
        old.replace(path)
    _remove(fresh)
    _remove(old)


def _beside(path: Path) -> tuple[Path, Path]:
    # Hidden: "policy.old" beside "policy" may be the user's.
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
