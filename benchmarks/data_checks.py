"""Whether prompts are those of a suite, and agents are not evaluated on what they learn from."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from benchmarks.suites import SUITES, Suite
from pcrl_gym.prompt import Prompt


def check_data(suite: Suite, checksums: Mapping[str, str]) -> None:
    """Refuse data that is not what a frozen suite was made of.

    Raises:
        ValueError: a split has another checksum.
    """
    for split, checksum in checksums.items():
        if suite.checksums.get(split, checksum) != checksum:
            raise ValueError(
                f"The split {split} of {suite.dataset} is not that of suite {suite.id} "
                f"v{suite.version}: its checksum is {checksum[:12]}..., not "
                f"{suite.checksums[split][:12]}... . Use the data of this version of the project."
            )


def check_overlap(
    suite: Suite, agents: str, train: Sequence[Prompt], splits: Mapping[str, Sequence[Prompt]]
) -> None:
    """Refuse to train on what is evaluated; warn on stderr where it is but a part of it.

    Args:
        suite: for a frozen one a single prompt is enough to refuse.
        agents: names of the agents that are trained.
        train: what they are trained on.
        splits: what they are evaluated on.

    Raises:
        ValueError: a split is in the training prompts.
    """
    seen = {(prompt.instruction, prompt.input) for prompt in train}
    for split, prompts in splits.items():
        shared = sum((prompt.instruction, prompt.input) in seen for prompt in prompts)
        if shared == len(prompts) or (shared and suite.id in SUITES):
            raise ValueError(
                f"{agents} would be trained on {shared} of the {len(prompts)} very prompts "
                f"of {split}. Give a dataset folder with a train split of its own, or leave "
                "these agents out."
            )
        if shared:
            print(
                f"warning: {shared} of {len(prompts)} prompts of {split} are in train, too",
                file=sys.stderr,
            )
