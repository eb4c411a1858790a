"""Trained agents in a benchmark: for which agent and seed each stands, what it learned from."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.policy import Policy
from benchmarks.roster import Entry
from benchmarks.suites import Suite
from pcrl_gym.errors import DatasetError
from pcrl_gym.named_datasets import load_prompts

if TYPE_CHECKING:
    from pcrl_gym.prompts.prompt import Prompt


def with_policies(
    entries: Iterable[Entry], policies: Sequence[Policy], suite: Suite
) -> list[Entry]:
    """Give agents what training runs trained.

    Each policy's agent must be among the entries, with a policy of every one of the suite's seeds.

    Raises:
        ValueError: If a policy's agent is not evaluated or it was trained for other units, a seed
            is there twice or missing, or the tokenizers differ.
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

    It is the suite's, or that of the policies if the suite names none.

    Raises:
        ValueError: If the tokenizers differ, or one cannot be loaded.
    """
    names = dict.fromkeys(policy.tokenizer for policy in policies)
    if suite.tokenizer is not None:
        names = {suite.tokenizer: None, **names}
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
