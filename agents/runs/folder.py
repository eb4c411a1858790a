"""Folder of a training run.

    config.yaml           the configuration, with defaults and the policy's tokenizer filled in;
                          compared when the run is resumed, see `_FREE`
    identity.json         checksum of the prompts, name and fingerprint of the generator, and the
                          text that a chat template puts around a prompt; also compared
    metrics.jsonl         a line per update and per evaluation
    last/                 the latest checkpoint: the agent as written by `save`, progress.json, and
                          training.safetensors, from which training resumes
    best/                 the agent with the best evaluation so far, and evaluation.json
    learning_curve.png    tensorboard/

`last` and `best` are replaced atomically, so a run killed at any moment leaves a checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_file
from torch import Tensor

from agents.budget import Budget
from agents.learning import Figures, Learner
from agents.runs.config import RunConfig, differences
from agents.runs.curve import read_rows
from pcrl_gym.compressor.network_files import WEIGHTS_FILE
from pcrl_gym.errors import RunFolderError
from pcrl_gym.storage.atomic import recover_folder, replace_folder, write_file

Row = dict[str, Any]
_TRAINING, _PROGRESS, _EVALUATION = "training.safetensors", "progress.json", "evaluation.json"

# Files that a run ended before its first update may leave behind; none is worth keeping.
_BEFORE_UPDATES = {
    "lock", "config.yaml", "config.yaml.tmp", "identity.json", "identity.json.tmp",
}  # fmt: skip

# By section, settings that do not affect results and may change when a run is resumed.
_FREE = {"task": ("device", "batch_size", "cache"), "run": ("loggers",)}


class TrainingFolder:
    """Folder of a run at a path; `TrainingFolder.open` creates or resumes one."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.last = self.path / "last"
        self.best = self.path / "best"
        self.metrics = self.path / "metrics.jsonl"
        self.curve = self.path / "learning_curve.png"
        self.tensorboard = self.path / "tensorboard"

    @classmethod
    @contextmanager
    def open(
        cls, path: str | Path, config: RunConfig, identity: Mapping[str, Any]
    ) -> Iterator[TrainingFolder]:
        """Create the folder, or resume it if configuration and identity match.

        The folder is locked until the block or the process ends.
        """
        folder = cls(path)
        check_folder(path, config)
        folder.path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder.path / "lock")
        try:
            held = lock.acquire(timeout=0)
        except filelock.Timeout:
            raise RunFolderError(
                f"{path} is in use by another run; wait for it to end, or choose another folder"
            ) from None
        with held:
            check_folder(path, config)
            before = folder.identity()
            now = {key: identity.get(key) for key in before}
            if changed := differences(before, now):
                raise RunFolderError(
                    f"{path} was started with other prompts or another generator of the same name:"
                    f"\n{changed}\nRestore them, or choose another folder"
                )
            # Configuration first, as a folder only counts as a run with it.
            text = yaml.safe_dump(config.to_mapping(), sort_keys=False, allow_unicode=True)
            write_file(folder.path / "config.yaml", text)
            write_file(folder.path / "identity.json", json.dumps(identity, indent=2) + "\n")
            for stored in (folder.last, folder.best):
                recover_folder(stored)
            yield folder

    def stored_config(self) -> dict[str, Any]:
        """Return the configuration, with keys as in `RunConfig.to_mapping`."""
        file = self.path / "config.yaml"
        if not file.is_file():
            raise RunFolderError(f"{self.path} contains no run: there is no config.yaml")
        try:
            config = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunFolderError(f"{file} is damaged: {error}") from error
        kinds = {"name": str, "seed": int, "task": dict, "run": dict}
        own = config if isinstance(config, dict) else {}
        if wrong := [key for key, kind in kinds.items() if not isinstance(own.get(key), kind)]:
            raise RunFolderError(f"{file} is damaged: missing or invalid {', '.join(wrong)}")
        return own

    def identity(self) -> dict[str, Any]:
        """Return the `Material.identity` of the run; empty if none is stored."""
        file = self.path / "identity.json"
        try:
            return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
        except ValueError as error:
            raise RunFolderError(f"{file} is damaged: {error}") from error

    def progress(self, which: str) -> dict[str, float]:
        """Return the training progress of "best" or "last", with the evaluation of "best"."""
        place = self.path / which
        file = next(place / name for name in (_PROGRESS, _EVALUATION) if (place / name).exists())
        return dict(json.loads(file.read_text(encoding="utf-8")))

    @property
    def weights(self) -> Path:
        """Folder of the trained agent: the best one, or the last one without evaluations."""
        for place in (self.best, self.last):
            if place.is_dir():
                return place
        raise RunFolderError(f"{self.path} has stored no agent yet; train for longer")

    def digest(self) -> str:
        """Return the hexadecimal SHA-256 of the files that the agent wrote into `weights`."""
        digest = hashlib.sha256()
        for file in sorted(self.weights.rglob("*")):
            if file.is_file() and file.name not in (_TRAINING, _PROGRESS, _EVALUATION):
                name = file.relative_to(self.weights).as_posix()
                digest.update(name.encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()

    def save_last(
        self, agent: Any, progress: Mapping[str, float], state: Mapping[str, Tensor] | None = None
    ) -> None:
        """Replace `last` with an agent, or leave it unchanged if the agent cannot be written.

        `progress` is that of the budget, and `state` is the `Learner.state()` to resume from.
        """
        with _as_os_errors(), replace_folder(self.last) as fresh:
            agent.save(fresh)
            if state is not None:
                # safetensors refuses tensors that share memory or have gaps.
                own = {key: value.detach().clone().contiguous() for key, value in state.items()}
                save_file(own, fresh / _TRAINING)
            write_file(fresh / _PROGRESS, json.dumps(progress) + "\n")

    def load_checkpoint(self, learner: Learner, budget: Budget) -> None:
        """Resume from `last`, or start from scratch if there is none."""
        if not self.last.is_dir():
            return
        try:
            load_model(learner.network, self.last / WEIGHTS_FILE)
            learner.load_state(load_file(self.last / _TRAINING))
            progress = json.loads((self.last / _PROGRESS).read_text(encoding="utf-8"))
            budget.resume(progress["updates"], progress["episodes"], progress["seconds"])
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise RunFolderError(
                f"the checkpoint {self.last} cannot be read: {error}. Delete it to train from "
                "scratch, or choose another folder"
            ) from error

    def save_best(self, agent: Any, figures: Figures) -> bool:
        """Replace `best` with the agent if its evaluation reward is higher; return True if so."""
        file = self.best / _EVALUATION
        if file.is_file() and figures["reward"] <= self.progress("best")["reward"]:
            return False
        with _as_os_errors(), replace_folder(self.best) as fresh:
            agent.save(fresh)
            write_file(fresh / file.name, row_to_line(figures))
        return True

    def rows(self) -> list[Row]:
        """Return the rows of `metrics.jsonl`, see `agents.runs.curve.read_rows`."""
        return read_rows(self.metrics)

    def forget_rows_after(self, updates: int) -> list[Row]:
        """Drop the rows of updates that a resumed run repeats, and return the others."""
        kept = [row for row in self.rows() if row["updates"] <= updates]
        if self.metrics.exists():
            write_file(self.metrics, "".join(map(row_to_line, kept)))
        return kept


def check_folder(path: str | Path, config: RunConfig) -> None:
    """Raise `RunFolderError` if a folder holds anything but this run, up to `_FREE` settings."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"{path} is a file; choose a folder for the run")
    if not path.is_dir() or {entry.name for entry in path.iterdir()} <= _BEFORE_UPDATES:
        return
    stored = TrainingFolder(path).stored_config()
    given = config.to_mapping()
    for section, names in _FREE.items():
        stored[section] |= {name: given[section][name] for name in names}
    if changed := differences(stored, given):
        raise RunFolderError(
            f"{path} contains a run with a different configuration:\n{changed}\n"
            "Use its configuration to resume it, or choose another folder"
        )


def row_to_line(row: Mapping[str, Any]) -> str:
    """Return one line of `metrics.jsonl`; non-finite values are null, as JSON has no NaN."""
    finite = {k: v for k, v in row.items() if not isinstance(v, float) or math.isfinite(v)}
    return json.dumps(dict.fromkeys(row) | finite) + "\n"


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Convert safetensors errors to `OSError`, so that all write errors are alike."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(str(error)) from error
