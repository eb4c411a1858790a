"""Whether prompts are those of a suite, and agents are not evaluated on what they learn from."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from benchmarks.suites import SUITES, Suite
from pcrl_gym.prompts.prompt import Prompt


def check_data(suite: Suite, checksums: Mapping[str, str]) -> None:
    """Refuse data that is not what a frozen suite was made of.

    Raises:
        ValueError: If a split has another checksum.
    """
    for split, checksum in checksums.items():
        if suite.checksums.get(split, checksum) != checksum:
            raise ValueError(
                f"The split {split} of {suite.dataset} is not that of suite {suite.id} "
                f"v{suite.version}: its checksum is {checksum[:12]}..., not "
                f"{suite.checksums[split][:12]}... . Use the data of this version of the project"
            )


def check_held_out(
    who: str, trained_on: Sequence[Prompt], evaluated: Mapping[str, Sequence[Prompt]], suite: Suite
) -> None:
    """Refuse agents that train on what is evaluated.

    A suite whose data is frozen may share no prompt at all. Other people's data may hold a few
    prompts in two splits: a warning on stderr says so. `who` names the agents in messages.

    Raises:
        ValueError: If too many prompts are the same.
    """
    frozen = suite.id in SUITES and not SUITES[suite.id].open
    seen = {(prompt.instruction, prompt.input) for prompt in trained_on}
    for split, prompts in evaluated.items():
        shared = sum((prompt.instruction, prompt.input) in seen for prompt in prompts)
        if shared == len(prompts) or (shared and frozen):
            raise ValueError(
                f"{who} would be trained on {shared} of the {len(prompts)} very prompts of "
                f"{split}. Give a dataset folder with a train split of its own, or leave these "
                "agents out"
            )
        if shared:
            print(
                f"warning: {shared} of {len(prompts)} prompts of {split} are in train, too",
                file=sys.stderr,
            )
