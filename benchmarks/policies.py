"""Agents that `python -m agents train` trained, for a benchmark that does not train them itself."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.runs.folder import TRAINING_FILE, RunFolder
from benchmarks.roster import Entry
from benchmarks.suites import Suite
from pcrl_gym.errors import DatasetError
from pcrl_gym.worlds import load_prompts

if TYPE_CHECKING:
    from pcrl_gym.prompts.prompt import Prompt


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
        RunFolderError: A folder holds no run, or its run has stored no agent yet.
    """
    found = []
    for run in runs:
        folder = RunFolder(run)
        config = folder.stored_config()
        weights = folder.best if folder.best.is_dir() else folder.last
        if not weights.is_dir():
            raise ValueError(f"{run} has stored no agent yet; train it for longer")
        found.append(Policy(folder.path, config["name"], config["seed"], config["task"], weights))
    return found


def with_policies(
    entries: Iterable[Entry], policies: Sequence[Policy], suite: Suite
) -> list[Entry]:
    """Give agents what training runs trained.

    Args:
        entries: The agents of a benchmark.
        policies: See `find_policies`; each one's agent must be among the entries.
        suite: What is evaluated; there must be a policy of every one of its seeds.

    Raises:
        ValueError: A policy's agent is not evaluated or it was trained for other units, a seed is
            there twice or missing, or the tokenizers differ.
    """
    by_agent: dict[str, dict[int, Policy]] = defaultdict(dict)
    for policy in policies:
        twin = by_agent[policy.agent].setdefault(policy.seed, policy)
        if twin is not policy:
            raise ValueError(
                f"{twin.run} and {policy.run} both hold {policy.agent} of seed {policy.seed}; "
                "train with --seed 1, --seed 2, ..."
            )
        if policy.task["unit"] != suite.unit:
            raise ValueError(
                f"{policy.run} was trained on the unit {policy.task['unit']!r}, not {suite.unit!r}"
            )
    entries = [
        replace(entry, policies=by_agent.pop(entry.spec, None) or entry.policies)
        for entry in entries
    ]
    if by_agent:
        raise ValueError(f"There are policies of {', '.join(by_agent)}, which --agents lacks")
    for entry in entries:
        if entry.policies and (missing := set(entry.seeds(suite.seeds)) - set(entry.policies)):
            raise ValueError(
                f"There is no policy of {entry.name} with seed "
                f"{', '.join(map(str, sorted(missing)))}, and the suite has {suite.seeds} seeds: "
                "train more, or give fewer with --seeds"
            )
    return entries


def trained_on(policies: Sequence[Policy]) -> Iterator[tuple[str, list[Prompt]]]:
    """Yield the prompts that policies were trained on, and the run; each dataset once.

    Warns on stderr where a dataset is not available.
    """
    sources = {(policy.task["dataset"], policy.task["split"]): policy for policy in policies}
    for (dataset, split), policy in sources.items():
        try:
            yield str(policy.run), load_prompts(dataset, split)
        except (DatasetError, OSError) as error:
            print(
                f"warning: nobody checks whether {policy.run} was trained on prompts that are "
                f"evaluated here: {error}",
                file=sys.stderr,
            )


def tokenizer_of(policies: Sequence[Policy], suite: Suite) -> str:
    """Return the policy tokenizer that a benchmark of these policies needs.

    Returns:
        The suite's, or that of the policies if the suite names none.

    Raises:
        ValueError: The tokenizers differ, or one cannot be loaded.
    """
    from pcrl_gym.episodes.tokenizers import load_tokenizer

    names = dict.fromkeys(policy.tokenizer for policy in policies)
    if suite.tokenizer is not None:
        names = {suite.tokenizer: None, **names}
    vocabularies = {frozenset(load_tokenizer(name).get_vocab().items()) for name in names}
    if len(vocabularies) > 1:
        raise ValueError(
            f"The policies read the tokens of {', '.join(names)}, which differ: evaluate those of "
            "one tokenizer together, with --tokenizer or none"
        )
    return next(iter(names))
