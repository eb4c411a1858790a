"""Frozen benchmark suites: data and rules of evaluation.

Two leaderboard rows are comparable if they come from the same suite and version. Changing anything
here requires a new version.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pcrl_gym.envs.options import TaskOptions
from pcrl_gym.instruct import CHECKSUMS as INSTRUCT_CHECKSUMS
from pcrl_gym.micro.tasks import CHECKSUMS
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.scoring.rewards import make_reward, with_measure
from pcrl_gym.scoring.rouge import UNICODE_ROUGE_L
from pcrl_gym.spec_strings import check_settings, format_spec, parse_spec


@dataclass(frozen=True, slots=True)
class Suite:
    """Everything that determines a leaderboard row besides the agent.

    Attributes:
        id: Name in the leaderboard and on the command line.
        version: Incremented with every change of another field or of the underlying data.
        dataset: Argument of `pcrl_gym.load_prompts`; None leaves it to the user.
        splits: Splits to evaluate, in the leaderboard's order.
        generator: Argument of `pcrl_gym.load_generator`; None leaves it to the user.
        dtype, reward, template, tokenizer, unit, max_units, max_new_tokens, max_prompt_tokens,
            force_keep, keep_digits, columns: See `pcrl_gym.envs.options.TaskOptions`; dtype,
            template and tokenizer are open if the generator is, columns if the dataset is.
        measure: Name of the similarity of two answers, see `pcrl_gym.scoring.rouge.MEASURES`.
        likelihoods: Whether to measure the likelihood loss of the original and the gold answers, if
            the generator supports it, in two more passes per prompt.
        limit: Prompts evaluated per split, spread evenly over it; None for all.
        seeds: Number of seeds for agents that use randomness: 0, 1, ..., seeds - 1.
        second_tokenizer: Second tokenizer for counting tokens, see `benchmarks.evaluate`.
        checksums: `prompts.datasets.dataset_checksum` of splits; other data is rejected.
        tags: Keywords of the suite.

    Raises:
        ValueError: If a number is not positive, or splits are missing or duplicated.
    """

    id: str
    version: int
    dataset: str | None
    splits: tuple[str, ...]
    generator: str | None
    dtype: str = "float32"
    reward: str = TaskOptions.reward
    measure: str = UNICODE_ROUGE_L.name
    template: str = TaskOptions.template
    tokenizer: str | None = TaskOptions.tokenizer
    unit: str = TaskOptions.unit
    max_units: int = TaskOptions.max_units
    max_new_tokens: int = TaskOptions.max_new_tokens
    max_prompt_tokens: int | None = TaskOptions.max_prompt_tokens
    force_keep: tuple[str, ...] = ()
    keep_digits: bool = TaskOptions.keep_digits
    columns: Mapping[str, str] | None = field(default=None, hash=False)
    likelihoods: bool = False
    limit: int | None = None
    seeds: int = 3
    second_tokenizer: str = "bytes"
    checksums: Mapping[str, str] = field(default_factory=dict, hash=False)
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("max_units", "max_new_tokens", "max_prompt_tokens", "limit", "seeds"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not self.splits or len(set(self.splits)) != len(self.splits):
            raise ValueError(f"splits must be one or more, each once; got {list(self.splits)}")

    @property
    def open(self) -> tuple[str, ...]:
        """Fields that are left to the user."""
        if self.generator:
            return ()
        return ("dataset", "columns", "generator", "dtype", "template", "tokenizer")

    def task_options(self) -> dict[str, Any]:
        """Return the task options fixed by the suite, as arguments of `pcrl_gym.make_task`.

        The reward uses the suite's measure.

        Example:
            >>> SUITES["alpaca-plus"].task_options()["reward"]
            'threshold:measure=rouge_l'
        """
        names = [option.name for option in dataclasses.fields(TaskOptions)]
        options = {name: getattr(self, name) for name in names if hasattr(self, name)}
        reward = make_reward(self.reward)
        if reward != with_measure(reward, self.measure):
            kind, settings = parse_spec(self.reward)
            options["reward"] = format_spec(kind, settings | {"measure": self.measure})
        return options


_MICRO = Suite(
    id="micro",
    version=4,
    dataset="micro",
    splits=("validation_seen", "validation_unseen", "validation_human"),
    generator="micro",
    seeds=5,
    checksums=CHECKSUMS,
    tags=("procedural", "causal"),
)
_REAL = Suite(
    id="alpaca-plus",
    version=3,
    dataset=None,
    splits=("validation_seen", "validation_unseen"),
    generator=None,
    # As evaluated in the PCRL paper.
    measure="rouge_l",
    max_units=512,
    max_new_tokens=128,
    likelihoods=True,
    seeds=3,
    tags=("real",),
)
_WORDS = replace(_REAL, measure="unicode_rouge_l")
_UNSEEN = replace(_WORDS, version=1, splits=("validation_unseen",))
_INSTRUCT = Suite(
    id="instruct",
    version=2,
    dataset="instruct",
    splits=("validation_seen", "validation_unseen", "validation_human"),
    generator="smollm2",
    reward="faithful",
    template="chat",
    max_units=256,
    likelihoods=True,
    limit=100,  # a row takes two minutes on two cores; all 1,153 prompts take eight
    seeds=3,
    checksums=INSTRUCT_CHECKSUMS,
    tags=("real", "causal", "chat"),
)
_SEQ2SEQ = dict(id="micro-seq2seq", version=2, generator="micro-seq2seq")
_WORD = dict(id="micro-word", version=2, unit="word", tags=("procedural", "causal", "words"))
_FULL = (
    _MICRO,
    replace(_MICRO, **_SEQ2SEQ, tags=("procedural", "seq2seq")),
    replace(_MICRO, **_WORD),
    _INSTRUCT,
    _REAL,
    replace(_WORDS, id="t0-short", version=4),
    replace(_UNSEEN, id="self-instruct-seed"),
    replace(_UNSEEN, id="prompts-chat"),
    replace(_UNSEEN, id="ifeval", max_new_tokens=256, tags=("real", "constraints")),
)
_FEW = {"instruct": 24}  # 64 prompts would take half an hour on a laptop
_SMALL = [
    replace(s, id=f"{s.id}-ci", limit=_FEW.get(s.id, 64), seeds=2, tags=(*s.tags, "ci"))
    for s in _FULL
]
SUITES: Final = {s.id: s for pair in zip(_FULL, _SMALL, strict=True) for s in pair}
"""Frozen suites by ID; each has a small variant whose ID ends in "-ci"."""


def suite_of(settings: Mapping[str, Any]) -> Suite:
    """Return the suite of a result folder, from its settings."""
    names = {field.name for field in dataclasses.fields(Suite)} & settings.keys()
    taken = {name: settings[name] for name in names} | {"id": settings["suite"]}
    return Suite(**check_settings(taken, Suite, "settings"))


def check_data(suite: Suite, checksums: Mapping[str, str]) -> None:
    """Raise ValueError if data differs from that of a frozen suite."""
    for split, checksum in suite.checksums.items():
        if checksums.get(split, checksum) != checksum:
            raise ValueError(
                f"The split {split} of {suite.dataset} differs from that of suite {suite.id} "
                f"v{suite.version}: its checksum is {checksums[split]}, not {checksum}. Use the "
                "data that comes with this version of the project"
            )


def check_held_out(
    who: str, trained_on: Sequence[Prompt], evaluated: Mapping[str, Sequence[Prompt]], suite: Suite
) -> None:
    """Raise ValueError if agents, named `who`, train on evaluated prompts.

    A suite with frozen data must not share any prompt. Other datasets may have a few prompts in two
    splits, which gives a warning on stderr.
    """
    frozen = suite.id in SUITES and not SUITES[suite.id].open
    seen = {(prompt.instruction, prompt.input) for prompt in trained_on}
    for split, prompts in evaluated.items():
        shared = sum((prompt.instruction, prompt.input) in seen for prompt in prompts)
        if shared == len(prompts) or (shared and frozen):
            raise ValueError(
                f"{who} would be trained on {shared} of the {len(prompts)} evaluation prompts of "
                f"{split}. Use a dataset with another train split, or remove these agents"
            )
        if shared:
            what = f"{shared} of {len(prompts)} prompts of {split}"
            print(f"warning: {what} are also in train", file=sys.stderr)
