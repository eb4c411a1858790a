"""The options of a task: the arguments of `gym.make`, with their defaults and meaning."""

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
    """The options of a task, as `gym.make`, `make_task` and the section `task` of YAML files take.

    Objects stand in Python only; everywhere else they have names.

    Attributes:
        dataset: `"micro"`, `"instruct"`, `"alpaca_plus"`, `"gpteacher"`, a `.json`, `.jsonl`,
            `.csv` or `.parquet` file, a folder of split files or of `save_to_disk`, or a Hugging
            Face dataset id; in Python also a sequence of `pcrl_gym.Prompt`.
        split: `"train"`, `"validation_seen"`, `"validation_unseen"` or `"validation_human"`.
        columns: What to read keys of the dataset's rows as: `task=instruction` on a command line,
            else `{"task": "instruction"}`; see `pcrl_gym.load_prompts`.
        generator: `"micro"`, `"micro-seq2seq"`, `"smollm2"`, a Hugging Face id or folder (causal or
            encoder-decoder), a `.gguf` file, `"ray:NAME?replicas=4"` for one of these on a Ray
            cluster, `"openai:MODEL@BASE_URL"` for a server; in Python also a `Generator`, which
            several environments may share.
        tokenizer: The policy's tokenizer: id or folder, in Python also an object; by default the
            generator's own, or micro's if it has none.
        unit: What one bit of the action keeps or drops: `"token"` or `"word"`.
        max_units: Length of observation and action; units past it are always kept and counted in
            `info`.
        max_prompt_tokens: Prompts with more generator tokens, the template's included, are left
            out; by default only those that do not fit the generator's context.
        max_new_tokens: Longest answer, in generator tokens.
        max_steps: Steps per episode; edits accumulate, the reward comes with the last one.
        reward: `"threshold"`, `"linear"`, `"band"`, `"likelihood"` or `"faithful"`, also with
            settings as in `"threshold:threshold=0.8,measure=rouge_l"`; in Python also a `Reward`.
        template: `"alpaca"`, `"chat"` (the generator's chat template), the same with settings such
            as `"chat:system=Be brief.,enable_thinking=false"`; in Python also a `Template`.
        force_keep: Strings that cannot be dropped; in Python also compiled regular expressions.
        keep_digits: Whether numbers cannot be dropped.
        device: Where the generator runs: `"auto"` (cuda, then mps, then cpu), `"cpu"`, `"cuda"`,
            ...
        dtype: Its weights: `"float32"`, `"bfloat16"`, `"float16"`; `"auto"` is float32 on a CPU,
            bfloat16 on a GPU that has it.
        batch_size: Prompts that it answers at once, or `"auto"`; batches are halved when memory
            runs out.
        cache: A file that keeps the generator's answers to original prompts (with a generator
            behind an API: all its answers) from run to run; several processes may share it.
        early_stopping: Whether answers are left unfinished once the reward is decided, to train
            faster. Rewards are the same; in `info`, `similarity` is NaN where an answer is
            unfinished, and `survived` says what was decided.

    Raises:
        ValueError: If a number is out of range, or there is no such unit, reward or template.
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
