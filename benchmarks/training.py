"""Trained agents of a result folder, trained here or by `python -m agents train`.

`training/<agent>-seed<k>/` is the training run, an `agents.runs.folder.TrainingFolder`. Next to it,
`training/<agent>-seed<k>.json` records which weights were evaluated: the path of the training run
(absolute, or relative to the result folder if inside it) and the SHA-256 of the weights.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.base import optional, parse_agent
from agents.runs.config import BudgetConfig, RunConfig, TaskConfig
from agents.runs.folder import TrainingFolder
from agents.runs.material import load_material
from agents.runs.run import TrainingError
from agents.runs.run import train as train_in_folder
from benchmarks.records import RunFolder
from benchmarks.roster import Entry
from benchmarks.suites import Suite
from pcrl_gym.errors import DatasetError, RunFolderError
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.storage.atomic import write_file

if TYPE_CHECKING:
    from pcrl_gym.prompts.prompt import Prompt


def train(
    entry: Entry,
    seed: int,
    path: Path,
    suite: Suite,
    budget: BudgetConfig,
    device: str,
    **objects: Any,
) -> None:
    """Train an agent for a suite with `agents.runs.run.train` and objects of `load_material`.

    There are no evaluations during training, so that no split of the benchmark selects the agent:
    the last one is evaluated.
    """
    agent: Any = entry.build(seed)
    name, settings = parse_agent(entry.spec)
    own = agent.config if optional(agent, "config_class") else settings
    task = TaskConfig(device=device, **suite.task_options())
    config = RunConfig(name=name, seed=seed, agent=own, task=task, run=budget)
    try:
        train_in_folder(config, path, material=load_material(config, **objects), agent=agent)
    except TrainingError as error:
        raise TrainingError(f"{entry.name}, seed {seed}: {error}") from error


def training_note(folder: RunFolder, agent: str, seed: int) -> Path:
    """Return the path of the note on evaluated weights, which exists once they are trained."""
    return folder.path / "training" / f"{agent}-seed{seed}.json"


def note_training(folder: RunFolder, agent: str, seed: int, training: TrainingFolder) -> Path:
    """Record which weights are evaluated, unless recorded, and return their checked folder."""
    file = training_note(folder, agent, seed)
    if not file.exists():
        own = training.path == folder.training(agent, seed)
        path = training.path.relative_to(folder.path) if own else training.path.resolve()
        note = {"training": path.as_posix(), "sha256": training.digest()}
        file.parent.mkdir(exist_ok=True)
        write_file(file, json.dumps(note, indent=2) + "\n")
    return noted_training(folder, agent, seed).weights


def noted_training(folder: RunFolder, agent: str, seed: int) -> TrainingFolder:
    """Return the training run whose weights a folder evaluates; raise an error for others."""
    file = training_note(folder, agent, seed)
    if not file.is_file():
        raise RunFolderError(
            f"{folder.path} contains no {agent} of seed {seed}: train it by `benchmarks run` with "
            f"the folder's settings and --agents {agent}, or remove it"
        )
    note = json.loads(file.read_text(encoding="utf-8"))
    training = TrainingFolder(folder.path / note["training"])
    if not training.path.is_dir() or training.digest() != note["sha256"]:
        raise RunFolderError(
            f"the weights in {training.path} are gone or no longer those of {file}, which "
            f"{folder.path} evaluated. Restore them, or choose another folder"
        )
    return training


def find_policies(runs: Sequence[str | Path]) -> list[TrainingFolder]:
    """Return the folders of training runs, each of which must have stored an agent."""
    found = [TrainingFolder(Path(run).resolve()) for run in runs]  # workers may start elsewhere
    for policy in found:
        policy.stored_config(), policy.weights
    return found


def with_policies(
    entries: Iterable[Entry], policies: Sequence[TrainingFolder], suite: Suite
) -> list[Entry]:
    """Assign the policies of training runs to agents.

    The agent of each policy must be among the entries, with one policy per seed of the suite.
    """
    by_agent: dict[str, dict[int, TrainingFolder]] = defaultdict(dict)
    for policy in policies:
        config = policy.stored_config()
        agent, seed, unit = config["name"], config["seed"], config["task"]["unit"]
        if (twin := by_agent[agent].setdefault(seed, policy)) is not policy:
            both = f"{twin.path} and {policy.path}"
            raise ValueError(f"{both} both hold {agent} of seed {seed}; train with --seed 1, ...")
        if unit != suite.unit:
            raise ValueError(
                f"{policy.path} was trained with the unit {unit!r}, not {suite.unit!r}"
            )
    entries = [replace(e, policies=by_agent.pop(e.spec, e.policies)) for e in entries]
    if by_agent:
        raise ValueError(f"There are policies of {', '.join(by_agent)}, missing from --agents")
    for entry in entries:
        if entry.policies and (missing := set(entry.seeds(suite.seeds)) - set(entry.policies)):
            seeds = ", ".join(map(str, sorted(missing)))
            raise ValueError(
                f"There is no policy of {entry.name} with seed {seeds}, but the suite has "
                f"{suite.seeds} seeds: train more, or set a lower --seeds"
            )
    return entries


def from_run(entry: Entry, folder: RunFolder, seeds: int, label: str = "") -> Entry:
    """Return an agent trained by another run, with `label` added to its name."""
    policies = {seed: noted_training(folder, entry.name, seed) for seed in entry.seeds(seeds)}
    return replace(entry, name=f"{entry.name}-{label}" if label else entry.name, policies=policies)


def trained_on(policies: Iterable[TrainingFolder]) -> Iterator[tuple[str, list[Prompt]]]:
    """Yield the run and training prompts of policies, each dataset once."""
    seen = []
    for policy in policies:
        task = policy.stored_config()["task"]
        source = (task["dataset"], task["split"], task.get("columns"))
        try:
            if source not in seen:
                yield str(policy.path), load_prompts(*source)
        except (DatasetError, OSError) as error:
            what = f"whether {policy.path} was trained on prompts that are evaluated here"
            print(f"warning: cannot check {what}: {error}", file=sys.stderr)
        seen.append(source)


def tokenizer_of(policies: Sequence[TrainingFolder], suite: Suite) -> str:
    """Return the suite's tokenizer, or that of the policies if it has none; all must agree."""
    from pcrl_gym.episodes.tokenizers import load_tokenizer

    own = [policy.stored_config()["task"]["tokenizer"] for policy in policies]
    names = dict.fromkeys([suite.tokenizer, *own] if suite.tokenizer is not None else own)
    tables = {frozenset(load_tokenizer(name).get_vocab().items()) for name in names}
    if len(tables) > 1:
        raise ValueError(
            f"The tokenizers of the policies, {', '.join(names)}, differ: evaluate policies of one "
            "tokenizer together, and set --tokenizer to it or leave it out"
        )
    return next(iter(names))
