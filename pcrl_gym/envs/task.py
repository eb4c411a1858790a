"""From the arguments of `gym.make` to episodes and scorer: the one path that builds them."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pcrl_gym.envs.spaces import Observation, action_mask, observation_space, observe
from pcrl_gym.episodes.episode import EpisodeBuilder
from pcrl_gym.episodes.lazy_episodes import LazyEpisodes
from pcrl_gym.episodes.tokenizers import load_tokenizer
from pcrl_gym.episodes.units import check_unit_kind
from pcrl_gym.errors import DatasetError, did_you_mean
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.prompts.template import check_template, make_template
from pcrl_gym.scoring.rewards import make_reward
from pcrl_gym.scoring.scorer import Scorer
from pcrl_gym.storage.disk_cache import DiskCache
from pcrl_gym.worlds import load_prompts

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping, Sequence

    from gymnasium import spaces
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast

    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.episodes.units import UnitKind
    from pcrl_gym.generators.base import Generator
    from pcrl_gym.prompts.prompt import Prompt
    from pcrl_gym.prompts.template import Template
    from pcrl_gym.scoring.rewards import Reward


@dataclass(frozen=True, eq=False)
class Task:
    """Everything that stays the same from episode to episode.

    Attributes:
        episodes: The episodes of the split, in the order of the dataset.
        scorer: `(episodes, keep masks) -> Scores`.
        tokenizer: The policy tokenizer, whose ids the observations hold.
        max_units: Length of the window of observations and actions, in units.
        max_steps: Steps per episode.
        skipped_prompts: Ids of the prompts that were left out as too long.
    """

    episodes: LazyEpisodes
    scorer: Scorer
    tokenizer: PreTrainedTokenizerFast
    max_units: int
    max_steps: int
    skipped_prompts: tuple[str, ...]

    def observation_space(self) -> spaces.Dict:
        """Return the space of the observations of one environment."""
        return observation_space(self.max_units, len(self.tokenizer))

    def observe(self, episode: Episode, kept: NDArray[np.bool_]) -> Observation:
        """Return the observation of an episode with the units `kept` (bool (n_units,)) left."""
        padding_id = self.tokenizer.pad_token_id
        return observe(episode, kept, self.max_units, 0 if padding_id is None else padding_id)

    def info(self, episode: Episode, observation: Observation) -> dict[str, Any]:
        """Return what an agent may know besides the observation; new arrays each call.

        Returns:
            prompt, prompt_id, instruction, input: str; spans: int64 (max_units, 2), character
            offsets of the units in `prompt`, the length of `prompt` where there is no unit;
            action_mask: int8 (max_units,); units_beyond_window: int, units past `max_units`.
        """
        n = min(len(episode), self.max_units)
        spans = np.full((self.max_units, 2), len(episode.text), np.int64)
        spans[:n] = episode.spans[:n]
        return {
            "prompt": str(episode.text),
            "prompt_id": episode.prompt.id,
            "instruction": episode.prompt.instruction,
            "input": episode.prompt.input,
            "spans": spans,
            "action_mask": action_mask(observation),
            "units_beyond_window": len(episode) - n,
        }


def make_task(
    *,
    dataset: str | Path | Sequence[Prompt] = "micro",
    split: str = "train",
    generator: str | Path | Generator = "micro",
    tokenizer: str | Path | PreTrainedTokenizerFast | None = None,
    unit: UnitKind = "token",
    max_units: int = 128,
    max_prompt_tokens: int | None = None,
    max_new_tokens: int = 30,
    max_steps: int = 1,
    reward: str | Reward = "threshold",
    template: str | Template = "alpaca",
    force_keep: Sequence[str | re.Pattern[str]] = (),
    keep_digits: bool = False,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int | Literal["auto"] = "auto",
    cache: str | Path | None = None,
    early_stopping: bool = False,
) -> Task:
    """Load prompts and generator and prepare the episodes.

    Args:
        dataset: "micro", "alpaca_plus", "gpteacher", a file (.json, .jsonl, .csv, .parquet), a
            folder of split files or of `save_to_disk`, a Hugging Face dataset id, or prompts; see
            `load_prompts`.
        split: "train", "validation_seen", "validation_unseen" or "validation_human".
        generator: "micro", "micro-seq2seq", a Hugging Face model id or folder (causal or
            sequence-to-sequence), "ray:NAME?replicas=4" for one of these on a Ray cluster,
            "openai:MODEL@BASE_URL" for a server, or a `Generator` object, which is then shared, not
            copied.
        tokenizer: Policy tokenizer as id, folder or object; None: the generator's own if it has
            one, else micro's.
        unit: What one action bit keeps or drops: "token" or "word".
        max_units: Length of observations and actions, in units. Units past it are always kept.
        max_prompt_tokens: Prompts with more generator tokens, those of the template included, are
            left out. None: only those that do not fit the generator's context.
        max_new_tokens: Length limit of the generator's answers, in tokens.
        max_steps: Steps per episode; edits accumulate and the last step is rewarded.
        reward: "threshold", "linear", "band" or "likelihood", also with settings such as
            "threshold:threshold=0.8,measure=rouge_l", or a `Reward` object.
        template: "alpaca", "chat" (the generator's chat template), the same with settings, such as
            "chat:system=You are terse.,enable_thinking=false" (see `ChatTemplate`), or a `Template`
            object.
        force_keep: Strings or compiled regular expressions whose matches cannot be dropped.
        keep_digits: Whether numbers cannot be dropped; see `pcrl_gym.episodes.protection`.
        device: "auto", "cpu", "cuda", ...: where the generator runs.
        dtype: "auto", "float32", "bfloat16", ...: the generator's weights.
        batch_size: "auto" or the number of prompts that the generator answers at once.
        cache: File that keeps the generator's answers to original prompts (with a generator behind
            an API, all its answers) from run to run; several processes may share it. None: no file.
        early_stopping: Whether answers are left unfinished once the reward is decided, which makes
            training faster. Rewards are the same; in `info`, `similarity` is NaN where an answer is
            unfinished, and `survived` says what was decided.

    Raises:
        ValueError: If a number is out of range or a name is unknown.
        DatasetError: If the dataset breaks the schema or no prompt is left.

    Warns:
        UserWarning: If prompts were left out because they are too long.
    """
    for name, value in (
        ("max_units", max_units),
        ("max_prompt_tokens", 1 if max_prompt_tokens is None else max_prompt_tokens),
        ("max_new_tokens", max_new_tokens),
        ("max_steps", max_steps),
    ):
        check_positive(name, value)
    check_unit_kind(unit)
    if isinstance(template, str):
        check_template(template)
    reward = make_reward(reward)
    prompts = load_prompts(dataset, split)
    # A server's generator keeps all its answers in that file, others those to original prompts.
    behind_api = isinstance(generator, str) and generator.startswith("openai:")
    generator = load_generator(
        generator, device=device, dtype=dtype, batch_size=batch_size, cache=cache
    )
    own_tokenizer = generator.tokenizer
    if tokenizer is None:
        tokenizer = own_tokenizer if own_tokenizer is not None else "micro"
    tokenizer = load_tokenizer(tokenizer)
    template = make_template(template, own_tokenizer)
    builder = EpisodeBuilder(
        tokenizer, template, unit=unit, force_keep=force_keep, keep_digits=keep_digits
    )
    scorer = Scorer(
        generator,
        reward,
        max_new_tokens,
        early_stopping=early_stopping,
        cache=None if cache is None or behind_api else DiskCache(cache),
    )
    limits = [scorer.max_original_tokens, max_prompt_tokens]
    limit = min((limit for limit in limits if limit is not None), default=None)
    fitting, skipped = _split_by_length(prompts, template, scorer, limit)
    if not fitting:
        raise DatasetError(
            f"split {split!r} of {dataset if isinstance(dataset, str) else 'the dataset'} has no "
            f"usable prompt: {len(prompts)} read, {len(skipped)} too long: "
            f"{_told_limit(scorer, limit)}"
        )
    return Task(
        episodes=LazyEpisodes(fitting, builder),
        scorer=scorer,
        tokenizer=tokenizer,
        max_units=max_units,
        max_steps=max_steps,
        skipped_prompts=skipped,
    )


def check_arguments(options: Mapping[str, Any]) -> None:
    """Check that an environment has arguments of these names.

    Raises:
        ValueError: If it has not; the message names similar ones.
    """
    known = [*inspect.signature(make_task).parameters, "render_mode"]
    for name in options:
        if name not in known:
            raise ValueError(
                f"PromptCompression-v0 has no argument {name!r}{did_you_mean(name, known)}"
            )


def check_positive(name: str, value: object) -> None:
    """Check that an argument is a positive integer.

    Raises:
        ValueError: If it is not; the message names the argument.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"expected {name} to be an integer >= 1, got {value!r}")


def check_seed(seed: object) -> int | None:
    """Return the seed as a Python integer, or None.

    Raises:
        ValueError: If it is neither None nor an integer >= 0.
    """
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"expected a seed to be an integer >= 0 or None, got {seed!r}")
    return int(seed)


def check_reset_options(
    options: dict[str, Any] | None, n_episodes: int, num_envs: int
) -> list[int] | None:
    """Return the indices that `reset(options={"index": ...})` asks for, or None.

    Args:
        options: The options of `reset`.
        n_episodes: Number of episodes; indices are in [0, n_episodes).
        num_envs: How many indices there must be; one may stand without a list.

    Raises:
        ValueError: If there is another option, or not exactly `num_envs` indices in range.
    """
    unknown = set(options or {}) - {"index"}
    if unknown:
        raise ValueError(f"expected reset options {{'index': ...}}, got {sorted(unknown)}")
    if not options:
        return None
    indices = np.atleast_1d(options["index"])
    if indices.shape != (num_envs,) or not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(
            f"expected options['index'] to be {num_envs} integer(s), got {options['index']!r}"
        )
    if indices.min() < 0 or indices.max() >= n_episodes:
        raise ValueError(
            f"expected options['index'] in [0, {n_episodes}), got {options['index']!r}"
        )
    return [int(i) for i in indices]


def _split_by_length(
    prompts: Sequence[Prompt], template: Template, scorer: Scorer, limit: int | None
) -> tuple[Sequence[Prompt], tuple[str, ...]]:
    """Return the prompts of at most `limit` generator tokens, and the ids of the others."""
    if limit is None:
        return prompts, ()
    too_long = scorer.longer_than(limit, [template.render(prompt).text for prompt in prompts])
    fitting = [prompt for prompt, long in zip(prompts, too_long, strict=True) if not long]
    skipped = tuple(prompt.id for prompt, long in zip(prompts, too_long, strict=True) if long)
    if skipped:
        warnings.warn(
            f"{len(skipped)} of {len(prompts)} prompts are left out as too long: "
            f"{_told_limit(scorer, limit)} (first: {skipped[0]!r})",
            stacklevel=3,
        )
    return fitting, skipped


def _told_limit(scorer: Scorer, limit: int | None) -> str:
    """Return where a limit on the length of prompts comes from."""
    if limit == scorer.max_original_tokens:
        return (
            f"generator {scorer.generator.name!r} takes prompts of at most {limit} tokens, so that "
            f"{scorer.max_new_tokens} new ones fit too"
        )
    return f"max_prompt_tokens is {limit}"
