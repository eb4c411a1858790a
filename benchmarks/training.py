"""The trained agents of a result folder: trained as `python -m agents train` does, and noted.

`training/<agent>-seed<k>/` is the training, an `agents.runs.folder.TrainingFolder`. Beside it,
`training/<agent>-seed<k>.json` notes what was evaluated: the path of the training, relative to the
result folder where it is its own, and the SHA-256 of the weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agents.base import optional, parse_agent
from agents.runs.config import BudgetConfig, RunConfig, TaskConfig
from agents.runs.folder import TrainingFolder
from agents.runs.material import load_material
from agents.runs.run import TrainingError
from agents.runs.run import train as train_in_folder
from benchmarks.records import RunFolder
from benchmarks.roster import Entry
from benchmarks.suites import Suite
from pcrl_gym.errors import RunFolderError
from pcrl_gym.storage.atomic import write_file


def train(
    entry: Entry,
    seed: int,
    path: Path,
    suite: Suite,
    budget: BudgetConfig,
    device: str,
    **objects: Any,
) -> None:
    """Train an agent for a suite as `agents.runs.run.train` does, with objects of `load_material`.

    Nothing is evaluated on the way, so that no split that the benchmark evaluates chooses the
    agent: what is evaluated is the last one.
    """
    agent: Any = entry.build(seed)
    name, settings = parse_agent(entry.spec)
    config = RunConfig(
        name=name,
        seed=seed,
        agent=agent.config if optional(agent, "config_class") else settings,
        task=TaskConfig(device=device, **suite.task_options()),
        run=budget,
    )
    try:
        train_in_folder(config, path, material=load_material(config, **objects), agent=agent)
    except TrainingError as error:
        raise TrainingError(f"{entry.name}, seed {seed}: {error}") from error


def training_note(folder: RunFolder, agent: str, seed: int) -> Path:
    """Return where it is noted which weights a folder evaluates; there once they are trained."""
    return folder.path / "training" / f"{agent}-seed{seed}.json"


def note_training(folder: RunFolder, agent: str, seed: int, training: TrainingFolder) -> Path:
    """Note which weights are evaluated, unless that is done, and return their checked folder."""
    file = training_note(folder, agent, seed)
    if not file.exists():
        own = training.path.is_relative_to(folder.path)
        path = training.path.relative_to(folder.path) if own else training.path
        note = {"training": path.as_posix(), "sha256": training.digest()}
        file.parent.mkdir(exist_ok=True)
        write_file(file, json.dumps(note, indent=2) + "\n")
    return noted_training(folder, agent, seed).weights


def noted_training(folder: RunFolder, agent: str, seed: int) -> TrainingFolder:
    """Return the training whose weights a folder evaluates, or refuse other weights."""
    file = training_note(folder, agent, seed)
    if not file.is_file():
        raise RunFolderError(f"{folder.path} holds no {agent} of seed {seed}")
    note = json.loads(file.read_text(encoding="utf-8"))
    place = Path(note["training"])
    training = TrainingFolder(own if (own := folder.path / place).is_dir() else place)
    if not training.path.is_dir():
        raise RunFolderError(
            f"the training {place}, which {file} names, is gone: put it back, or delete {file} to "
            "train again"
        )
    if training.digest() != note["sha256"]:
        raise RunFolderError(
            f"{training.weights} is not what {folder.path} evaluated: its SHA-256 is no longer "
            f"that of {file}. Put the weights back, or evaluate them into another folder"
        )
    return training
