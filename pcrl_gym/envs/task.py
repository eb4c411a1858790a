"""The task: builds episodes and scorer from the arguments of `gym.make`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from pcrl_gym.envs.options import TaskArguments, TaskOptions
from pcrl_gym.envs.spaces import Observation, TokenIds, action_mask
from pcrl_gym.episodes.episode import EpisodeBuilder
from pcrl_gym.episodes.lazy_episodes import LazyEpisodes
from pcrl_gym.episodes.tokenizers import load_tokenizer
from pcrl_gym.errors import DatasetError
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.template import make_template
from pcrl_gym.scoring.rewards import make_reward
from pcrl_gym.scoring.scorer import Scorer
from pcrl_gym.spec_strings import check_names
from pcrl_gym.storage.disk_cache import DiskCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast
    from typing_extensions import Unpack

    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.prompts.prompt import Prompt
    from pcrl_gym.prompts.template import Template


@dataclass(frozen=True, eq=False)
class Task:
    """Everything that stays the same from episode to episode.

    Attributes:
        episodes: The episodes of the split, in the order of the dataset.
        scorer: `(episodes, keep masks) -> Scores`.
        tokenizer: The policy tokenizer; observations hold its token IDs.
        max_units: Length of observations and actions in units.
        max_steps: Steps per episode.
        skipped_prompts: IDs of the prompts that were skipped because they are too long.
    """

    episodes: LazyEpisodes
    scorer: Scorer
    tokenizer: PreTrainedTokenizerFast
    max_units: int
    max_steps: int
    skipped_prompts: tuple[str, ...]

    def observation_space(self) -> spaces.Dict:
        """Return the observation space; token IDs are less than the tokenizer's length."""
        return spaces.Dict(
            {
                "input_ids": TokenIds(len(self.tokenizer), self.max_units),
                "attention_mask": spaces.MultiBinary(self.max_units),
                "droppable": spaces.MultiBinary(self.max_units),
            }
        )

    def observe(self, episode: Episode, kept: NDArray[np.bool_]) -> Observation:
        """Return the observation of an episode in which the units `kept` (bool (n_units,)) remain.

        Returns:
            New arrays (max_units,): `input_ids` int64, the policy token ID of each unit's first
            token; `attention_mask` int8, 1 where there is a unit that is still in the prompt;
            `droppable` int8, 1 where that unit may be dropped. Unit i stays at position i; the
            position of a unit dropped in an earlier step looks like padding.
        """
        n = min(len(episode), self.max_units)
        present = np.zeros(self.max_units, np.int8)
        present[:n] = kept[:n]
        droppable = np.zeros(self.max_units, np.int8)
        droppable[:n] = kept[:n] & episode.droppable[:n]
        ids = np.full(self.max_units, self.tokenizer.pad_token_id or 0, np.int64)
        np.copyto(ids[:n], episode.unit_ids[:n], where=kept[:n])
        return {"input_ids": ids, "attention_mask": present, "droppable": droppable}

    def begin(self, episodes: Sequence[Episode]) -> tuple[Observation, list[dict[str, Any]]]:
        """Return the initial observations and infos of episodes, with all units in the prompt.

        Returns:
            The observations, stacked along a first axis (len(episodes), ...), and their infos.
        """
        return self.look(episodes, [np.ones(len(episode), np.bool_) for episode in episodes])

    def look(
        self, episodes: Sequence[Episode], kept: Sequence[NDArray[np.bool_]]
    ) -> tuple[Observation, list[dict[str, Any]]]:
        """Return the same as `begin`, but with only the units `kept` (bool (n_units,) each)."""
        observations = [self.observe(e, mask) for e, mask in zip(episodes, kept, strict=True)]
        infos = [self.info(e, o) for e, o in zip(episodes, observations, strict=True)]
        batch = {key: np.stack([o[key] for o in observations]) for key in observations[0]}
        return batch, infos

    def info(self, episode: Episode, observation: Observation) -> dict[str, Any]:
        """Return the info of an episode; see "Info" in `PromptCompressionEnv`."""
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


def make_task(**arguments: Unpack[TaskArguments]) -> Task:
    """Load prompts and generator and prepare the episodes.

    Args:
        **arguments: The options of the task; see `TaskOptions` for descriptions and defaults.

    Raises:
        ValueError: If a name is unknown or a number is out of range.
        DatasetError: If the dataset violates the schema or no prompt is left.

    Warns:
        UserWarning: If prompts were skipped because they are too long.
    """
    check_names(arguments, TaskOptions, "make_task")
    options = TaskOptions(**arguments)
    prompts = load_prompts(options.dataset, options.split, options.columns)
    # The generator of a server caches all its answers in that file itself; for others, the scorer
    # caches the answers to original prompts.
    behind_api = isinstance(options.generator, str) and options.generator.startswith("openai:")
    generator = load_generator(
        options.generator,
        device=options.device,
        dtype=options.dtype,
        batch_size=options.batch_size,
        cache=options.cache,
    )
    chosen = (options.tokenizer, generator.tokenizer, "micro")
    tokenizer = load_tokenizer(next(one for one in chosen if one is not None))
    template = make_template(options.template, generator.tokenizer)
    builder = EpisodeBuilder(
        tokenizer,
        template,
        unit=options.unit,
        force_keep=options.force_keep,
        keep_digits=options.keep_digits,
    )
    scorer = Scorer(
        generator,
        make_reward(options.reward),
        options.max_new_tokens,
        early_stopping=options.early_stopping,
        cache=None if options.cache is None or behind_api else DiskCache(options.cache),
    )
    fitting, too_long = _split_by_length(prompts, template, scorer, options)
    return Task(
        episodes=LazyEpisodes(fitting, builder),
        scorer=scorer,
        tokenizer=tokenizer,
        max_units=options.max_units,
        max_steps=options.max_steps,
        skipped_prompts=too_long,
    )


def _split_by_length(
    prompts: Sequence[Prompt], template: Template, scorer: Scorer, options: TaskOptions
) -> tuple[Sequence[Prompt], tuple[str, ...]]:
    """Return the prompts that are short enough, and the IDs of the others."""
    limits = [scorer.max_original_tokens, options.max_prompt_tokens]
    limit = min((limit for limit in limits if limit is not None), default=None)
    if limit is None:
        return prompts, ()
    reason = f"max_prompt_tokens is {limit}"
    if limit == scorer.max_original_tokens:
        reason = (
            f"generator {scorer.generator.name!r} takes prompts of at most {limit} tokens, to "
            f"leave room for {scorer.max_new_tokens} new ones"
        )
    is_long = scorer.longer_than(limit, [template.render(prompt).text for prompt in prompts])
    fitting = [prompt for prompt, long in zip(prompts, is_long, strict=True) if not long]
    too_long = tuple(prompt.id for prompt, long in zip(prompts, is_long, strict=True) if long)
    if too_long:
        warnings.warn(
            f"{len(too_long)} of {len(prompts)} prompts are left out as too long: {reason} "
            f"(first: {too_long[0]!r})",
            stacklevel=3,
        )
    if not fitting:
        dataset = options.dataset if isinstance(options.dataset, str) else "the dataset"
        raise DatasetError(
            f"split {options.split!r} of {dataset} has no usable prompts: {len(prompts)} read, "
            f"{len(too_long)} too long: {reason}"
        )
    return fitting, too_long
