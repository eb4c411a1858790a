"""The per-user folder for downloaded and computed files."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """Return `pcrl_gym` in the user's cache folder: `XDG_CACHE_HOME`, by default `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pcrl_gym"
