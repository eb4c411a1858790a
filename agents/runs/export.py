"""From a training run to a compressor, which needs no agent, environment or generator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.base import agent_class
from agents.runs.folder import RunFolder, RunFolderError
from pcrl_gym.compressor import Compressor
from pcrl_gym.generators.loading import MICRO
from pcrl_gym.policy_card import PolicyCard

if TYPE_CHECKING:
    import torch

FIGURES = ("reward", "compression_ratio", "drop_rate", "similarity", "survival")


def export(
    run: str | Path,
    folder: str | Path,
    *,
    which: str = "best",
    results: tuple[Mapping[str, Any], ...] = (),
    limits: str = "",
    dtype: torch.dtype | None = None,
) -> Compressor:
    """Write the policy of a training run as a folder for `Compressor.from_pretrained`.

    Args:
        run: Folder of the run.
        folder: Where to; see `Compressor.save_pretrained`.
        which: "best" or "last".
        results: Rows for the model card; without any, the evaluation of the run stands there.
        limits: What the policy is not good for, for the model card.
        dtype: See `Compressor.save_pretrained`.

    Returns:
        The compressor.

    Raises:
        RunFolderError: If there is no such run, or it has stored no such agent yet.
        ValueError: If the agent has no policy network, or the folder holds something else.
    """
    source = RunFolder(run)
    config = source.stored_config()
    task: Mapping[str, Any] = config["task"]
    path = source.path / which
    if not path.is_dir():
        raise RunFolderError(f"{run} holds no agent {which!r} yet")
    agent: Any = agent_class(config["name"]).load(path, device="cpu")  # type: ignore[attr-defined]
    if getattr(agent, "network", None) is None:
        raise ValueError(f"{config['name']} has no policy network, so there is nothing to export")
    card = PolicyCard(
        dataset=f"{task['dataset']}, split {task['split']}",
        generator=task["generator"],
        reward=task["reward"],
        agent=f"{config['name']}, seed {config['seed']}",
        results=results or _evaluation(source, which),
        limits=limits,
        details=_effort(path),
    )
    compressor = Compressor(
        agent.network,
        task["tokenizer"] or _tokenizer_of(task["generator"]),
        template=task["template"],
        unit=task["unit"],
        max_units=task["max_units"],
        card=card,
        device="cpu",
    )
    compressor.save_pretrained(folder, dtype)
    return compressor


def _effort(path: Path) -> dict[str, float]:
    """How long the stored agent had learned."""
    file = next(
        path / name for name in ("progress.json", "evaluation.json") if (path / name).exists()
    )
    told = json.loads(file.read_text(encoding="utf-8"))
    return {
        "Updates": told["updates"],
        "Masks scored": told["episodes"],
        "Minutes": round(told["seconds"] / 60, 1),
    }


def _tokenizer_of(generator: str) -> str:
    """The policy tokenizer that an environment chooses by itself, see `pcrl_gym.make_task`."""
    return "micro" if generator in MICRO or generator.startswith("openai:") else generator


def _evaluation(run: RunFolder, which: str) -> tuple[Mapping[str, Any], ...]:
    """The evaluation of the stored agent, as a row."""
    rows = [row for row in run.rows() if row["kind"] == "evaluation"]
    if not rows:
        return ()
    chosen = rows[-1] if which == "last" else max(rows, key=lambda row: row["reward"])
    return ({key: round(chosen[key], 3) for key in FIGURES if chosen.get(key) is not None},)
