"""The options of a task: the arguments of `gym.make` with their defaults and meanings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from pcrl_gym.episodes.units import UnitKind, check_unit_kind
from pcrl_gym.generators.base import Generator, check_integer
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import Template, check_template
from pcrl_gym.scoring.rewards import Reward, make_reward

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast
else:  # slow to import; here so that `typing.get_type_hints` finds all names
    PreTrainedTokenizerFast = object


@dataclass(frozen=True)
class TaskOptions:
    """The options of a task for `gym.make`, `make_task`, and the `task` section of YAML files.

    Objects can be passed only in Python; elsewhere, use names.

    Attributes:
        dataset: `"micro"`, `"instruct"`, `"alpaca_plus"`, `"gpteacher"`, a `.json`, `.jsonl`,
            `.csv`, or `.parquet` file, a folder of split files or from `save_to_disk`, or a Hugging
            Face dataset ID; in Python also a sequence of `pcrl_gym.Prompt`.
        split: `"train"`, `"validation_seen"`, `"validation_unseen"`, or `"validation_human"`.
        columns: Maps keys of the dataset's rows to fields: `task=instruction` on the command line,
            else `{"task": "instruction"}`; see `pcrl_gym.load_prompts`.
        generator: `"micro"`, `"micro-seq2seq"`, `"smollm2"`, a Hugging Face ID or folder (causal or
            encoder-decoder), a `.gguf` file, `"ray:NAME?replicas=4"` for one of these on a Ray
            cluster, `"openai:MODEL@BASE_URL"` for a server; in Python also a `Generator`, which
            several environments may share.
        tokenizer: The policy's tokenizer: ID or folder, in Python also an object; by default the
            generator's own, or micro's if it has none.
        unit: What one bit of the action keeps or drops: `"token"` or `"word"`.
        max_units: Length of observation and action; units past it are always kept and counted in
            `info`.
        max_prompt_tokens: Prompts with more generator tokens, including the template, are skipped;
            by default only those that do not fit the generator's context.
        max_new_tokens: Maximum length of an answer in generator tokens.
        max_steps: Steps per episode; edits accumulate, and the reward is given at the last step.
        reward: `"threshold"`, `"linear"`, `"band"`, `"likelihood"`, or `"faithful"`, optionally
            with settings as in `"threshold:threshold=0.8,measure=rouge_l"`; in Python also a
            `Reward`.
        template: `"alpaca"` or `"chat"` (the generator's chat template), optionally with settings
            as in `"chat:system=Be brief.,enable_thinking=false"`; in Python also a `Template`.
        force_keep: Strings that cannot be dropped; in Python also compiled regular expressions.
        keep_digits: Whether to protect numbers from being dropped.
        device: Device of the generator: `"auto"` (cuda, then mps, then cpu), `"cpu"`, `"cuda"`,
            ...
        dtype: Data type of the generator's weights: `"float32"`, `"bfloat16"`, `"float16"`;
            `"auto"` is float32 on a CPU, bfloat16 on a GPU that supports it.
        batch_size: Number of prompts that the generator answers at once, or `"auto"`; batches are
            halved when memory runs out.
        cache: A file that stores the generator's answers to original prompts (for a generator
            behind an API: all its answers) across runs; several processes may share it.
        early_stopping: Whether to stop answers once the reward is decided, for faster training.
            Rewards are the same; in `info`, `similarity` is NaN for unfinished answers, and
            `survived` holds the decision.

    Raises:
        ValueError: If a number is out of range, or the unit, reward, or template is unknown.
    """

    dataset: str | Path | Sequence[Prompt] = "micro"
    split: str = "train"
    columns: Mapping[str, str] | None = None
    generator: str | Path | Generator = "micro"
    tokenizer: str | Path | PreTrainedTokenizerFast | None = None
    unit: UnitKind = "token"
    max_units: int = 128
    max_prompt_tokens: int | None = None
    max_new_tokens: int = 30
    max_steps: int = 1
    reward: str | Reward = "threshold"
    template: str | Template = "alpaca"
    force_keep: Sequence[str | re.Pattern[str]] = ()
    keep_digits: bool = False
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int | Literal["auto"] = "auto"
    cache: str | Path | None = None
    early_stopping: bool = False

    def __post_init__(self) -> None:
        for name in ("max_units", "max_new_tokens", "max_steps"):
            check_integer(name, getattr(self, name), 1)
        if self.max_prompt_tokens is not None:
            check_integer("max_prompt_tokens", self.max_prompt_tokens, 1)
        check_unit_kind(self.unit)
        if isinstance(self.template, str):
            check_template(self.template)
        make_reward(self.reward)


class TaskArguments(TypedDict, total=False):
    """`TaskOptions` as keyword arguments, for type checkers and editors."""

    dataset: str | Path | Sequence[Prompt]
    split: str
    columns: Mapping[str, str] | None
    generator: str | Path | Generator
    tokenizer: str | Path | PreTrainedTokenizerFast | None
    unit: UnitKind
    max_units: int
    max_prompt_tokens: int | None
    max_new_tokens: int
    max_steps: int
    reward: str | Reward
    template: str | Template
    force_keep: Sequence[str | re.Pattern[str]]
    keep_digits: bool
    device: str
    dtype: str
    batch_size: int | Literal["auto"]
    cache: str | Path | None
    early_stopping: bool
