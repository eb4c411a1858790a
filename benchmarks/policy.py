"""An agent that `python -m agents train` trained, for a benchmark that does not train it itself."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.runs.folder import TRAINING_FILE, TrainingFolder


@dataclass(frozen=True, slots=True)
class Policy:
    """The trained agent of a training run.

    Attributes:
        run: Folder of the run.
        agent: What the run trained, as `benchmarks.roster.find_agents` takes it.
        seed: The run's seed.
        task: Arguments of `pcrl_gym.make_task` that it was trained with.
        weights: Folder of the agent: the best one, or the last one of a run without evaluations.
    """

    run: Path
    agent: str
    seed: int
    task: dict[str, Any]
    weights: Path

    @property
    def tokenizer(self) -> str:
        """Name, id or folder of the tokenizer whose ids the policy reads."""
        return str(self.task["tokenizer"])

    def digest(self) -> str:
        """Return the SHA-256 of the agent's files, in hexadecimal."""
        digest = hashlib.sha256()
        for file in sorted(self.weights.iterdir()):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()

    def copy_to(self, folder: Path) -> None:
        """Copy the agent, and the configuration of its run, into an empty folder."""
        unneeded = shutil.ignore_patterns(TRAINING_FILE)
        shutil.copytree(self.weights, folder, ignore=unneeded, dirs_exist_ok=True)
        shutil.copy(self.run / "config.yaml", folder / "config.yaml")


def find_policies(runs: Sequence[str | Path]) -> list[Policy]:
    """Read what training runs trained.

    Args:
        runs: Folders of runs.

    Raises:
        RunFolderError: If a folder holds no run, or its run has stored no agent yet.
    """
    found = []
    for run in runs:
        folder = TrainingFolder(run)
        config = folder.stored_config()
        weights = folder.best if folder.best.is_dir() else folder.last
        if not weights.is_dir():
            raise ValueError(f"{run} has stored no agent yet; train it for longer")
        found.append(Policy(folder.path, config["name"], config["seed"], config["task"], weights))
    return found
