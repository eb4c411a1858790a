"""Agents that `python -m agents train` trained, for a benchmark that does not train them itself."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agents.runs.folder import TrainingFolder
from benchmarks.roster import Entry
from benchmarks.suites import Suite
from pcrl_gym.errors import DatasetError
from pcrl_gym.named_datasets import load_prompts

if TYPE_CHECKING:
    from pcrl_gym.prompts.prompt import Prompt


def find_policies(runs: Sequence[str | Path]) -> list[TrainingFolder]:
    """Return the folders of training runs; each must have stored an agent."""
    found = [TrainingFolder(run) for run in runs]
    for policy in found:
        policy.stored_config(), policy.weights
    return found


def with_policies(
    entries: Iterable[Entry], policies: Sequence[TrainingFolder], suite: Suite
) -> list[Entry]:
    """Give agents what training runs trained.

    Each policy's agent must be among the entries, with one policy of every seed of the suite.
    """
    by_agent: dict[str, dict[int, TrainingFolder]] = defaultdict(dict)
    for policy in policies:
        config = policy.stored_config()
        agent, seed, unit = config["name"], config["seed"], config["task"]["unit"]
        twin = by_agent[agent].setdefault(seed, policy)
        if twin is not policy:
            raise ValueError(
                f"{twin.path} and {policy.path} both hold {agent} of seed {seed}; train with "
                "--seed 1, --seed 2, ..."
            )
        if unit != suite.unit:
            raise ValueError(f"{policy.path} was trained on the unit {unit!r}, not {suite.unit!r}")
    entries = [replace(e, policies=by_agent.pop(e.spec, e.policies)) for e in entries]
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


def trained_on(policies: Iterable[TrainingFolder]) -> Iterator[tuple[str, list[Prompt]]]:
    """Yield the prompts that policies were trained on, and the run; each dataset once."""
    seen = []
    for policy in policies:
        task = policy.stored_config()["task"]
        source = (task["dataset"], task["split"], task.get("columns"))
        if source in seen:
            continue
        seen.append(source)
        try:
            yield str(policy.path), load_prompts(*source)
        except (DatasetError, OSError) as error:
            print(
                f"warning: nobody checks whether {policy.path} was trained on prompts that are "
                f"evaluated here: {error}",
                file=sys.stderr,
            )


def tokenizer_of(policies: Sequence[TrainingFolder], suite: Suite) -> str:
    """Return the suite's tokenizer, or that of policies if it names none; all must be one."""
    own = [policy.stored_config()["task"]["tokenizer"] for policy in policies]
    names = dict.fromkeys([suite.tokenizer, *own] if suite.tokenizer is not None else own)
    if not one_vocabulary(names):
        raise ValueError(
            f"The policies read the tokens of {', '.join(names)}, which differ: evaluate those of "
            "one tokenizer together, with --tokenizer or none"
        )
    return next(iter(names))


def one_vocabulary(tokenizers: Iterable[str]) -> bool:
    """Return whether tokenizers, by name, give every token the same id."""
    from pcrl_gym.episodes.tokenizers import load_tokenizer

    return len({frozenset(load_tokenizer(name).get_vocab().items()) for name in tokenizers}) <= 1
