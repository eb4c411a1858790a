"""The file of all figures that a measuring command writes, and where they come from."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from benchmarks.provenance import machine
from pcrl_gym.storage.atomic import write_file


def check_new(out: str | None) -> None:
    """Check that a file of figures, if one is wanted, replaces none.

    Raises:
        ValueError: If it exists.
    """
    if out is not None and Path(out).exists():
        raise ValueError(f"{out} exists and is not overwritten; give another file")


def origin() -> dict[str, Any]:
    """Return the time and `machine()`."""
    return {"started": datetime.now(timezone.utc).isoformat(timespec="seconds"), **machine()}


def write_figures(out: str | None, figures: dict[str, Any]) -> None:
    """Write figures as JSON, if a file is wanted; its folder is made."""
    if out is not None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        write_file(Path(out), json.dumps(figures, indent=2, allow_nan=False) + "\n")


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or how many threads of a CPU compute; else the type of device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type
