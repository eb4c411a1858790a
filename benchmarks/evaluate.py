"""Evaluation of one agent on one split, through the scorer that the environment uses."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.gold import against_gold, answer_cut
from benchmarks.records import Record
from benchmarks.second_tokens import BYTES, token_counter
from pcrl_gym.envs.spaces import parse_keep_mask
from pcrl_gym.episodes.units import merge_spans
from pcrl_gym.errors import PcrlError

if TYPE_CHECKING:
    from agents import Agent
    from pcrl_gym.envs.task import Task
    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.scoring.rewards import Reward, RewardInputs

# Fixed, not an option: an agent may draw for a whole batch at once, so another size is another run.
EVALUATION_BATCH = 64


class AgentError(PcrlError, RuntimeError):
    """An agent returned something else than keep masks."""


class AnsweredReward:
    """A reward that pays the same, but always has the generator answer.

    Rewards that ask for no answers leave no similarity behind, and every leaderboard row shows one.

    Args:
        reward: What pays.
        measure: Name of the similarity of two answers, see `pcrl_gym.scoring.rouge.MEASURES`.
    """

    needs_answers = True

    def __init__(self, reward: Reward, measure: str) -> None:
        self._reward = reward
        self.measure = measure
        self.name = reward.name
        self.needs_likelihood = reward.needs_likelihood
        # For scorers that need no whole answers, such as those of a search.
        self.similarity_threshold = reward.similarity_threshold

    def __call__(self, x: RewardInputs) -> npt.NDArray[np.float64]:
        """Pay what the wrapped reward pays, shape (batch,)."""
        return self._reward(x)


def evaluate(
    agent: Agent,
    task: Task,
    *,
    name: str,
    split: str,
    seed: int,
    second_tokenizer: str = BYTES,
) -> Iterator[Record]:
    """Let an agent compress every prompt of a task, and score what it did.

    The time of an agent is that of `act` alone, neither building observations nor scoring.

    Args:
        agent: The agent. One with a method `attach(task)` is given the task first.
        task: Prompts and scorer, with a reward that asks for answers.
        name: The agent's name in the records.
        split: The split's name in the records.
        seed: The agent's seed, for the records.
        second_tokenizer: See `benchmarks.second_tokens.token_counter`.

    Yields:
        One record per prompt, in the task's order.

    Raises:
        AgentError: If the agent returned something else than keep masks.
        GeneratorError: If the generator failed.
    """
    attach(agent, task)
    count = token_counter(second_tokenizer)
    tokenizer = task.scorer.generator.tokenizer
    cut = None if tokenizer is None else answer_cut(tokenizer)
    rate = getattr(agent, "rate", None)
    for start in range(0, len(task.episodes), EVALUATION_BATCH):
        batch = task.episodes[start : start + EVALUATION_BATCH]
        observations, infos = task.begin(batch)
        began = time.perf_counter()
        action = agent.act(observations, infos)
        compress_ms = 1000.0 * (time.perf_counter() - began) / len(batch)
        try:
            masks = parse_keep_mask(action, (len(batch), task.max_units))
        except ValueError as error:
            raise AgentError(f"Agent {name}: {error}") from error
        scores = task.scorer(batch, list(masks))
        for i, episode in enumerate(batch):
            prompt, answer = episode.prompt, scores.compressed_outputs[i]
            compressed = scores.compressed_prompts[i]
            second = count([episode.text, compressed, episode.template_text])
            gold_cut = cut(answer, prompt.output) if cut is not None and prompt.output else None
            whole = against_gold(answer, prompt.output) if prompt.output else (None,) * 3
            part = (
                (None,) * 3 if gold_cut is None else against_gold(answer[:gold_cut], prompt.output)
            )
            likelihood = float(scores.log_likelihood[i])
            yield Record(
                agent=name,
                split=split,
                seed=seed,
                prompt_id=prompt.id,
                source=prompt.source,
                prompt=str(episode.text),
                dropped=dropped_ranges(episode, masks[i]),
                compressed_prompt=str(compressed),
                output=scores.outputs[i],
                compressed_output=answer,
                gold=prompt.output,
                reward=float(scores.reward[i]),
                similarity=float(scores.similarity[i]),
                compression_ratio=float(scores.compression_ratio[i]),
                drop_rate=float(scores.drop_rate[i]),
                log_likelihood=None if math.isnan(likelihood) else likelihood,
                original_tokens=int(scores.original_tokens[i]),
                compressed_tokens=int(scores.compressed_tokens[i]),
                template_tokens=int(scores.template_tokens[i]),
                second_original_tokens=second[0],
                second_compressed_tokens=second[1],
                second_template_tokens=second[2],
                gold_rouge_1=whole[0],
                gold_rouge_2=whole[1],
                gold_rouge_l=whole[2],
                gold_cut=gold_cut,
                cut_rouge_1=part[0],
                cut_rouge_2=part[1],
                cut_rouge_l=part[2],
                requested_rate=None if rate is None else float(rate),
                compress_ms=compress_ms,
            )


def attach(agent: Agent, task: Task) -> None:
    """Give an agent the task if it takes one, see `agents.Agent`."""
    take = getattr(agent, "attach", None)
    if take is not None:
        take(task)


def dropped_ranges(episode: Episode, mask: npt.NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """Return the character ranges of the prompt that a keep mask drops.

    Args:
        episode: The prompt and its units.
        mask: Keep mask, shape (max_units,); protected units and units past it stay.

    Returns:
        Sorted ranges [start, end) of `episode.text`; ranges that touch are merged.
    """
    kept = episode.kept(mask).tolist()
    dropped = (span for span, keep in zip(episode.spans, kept, strict=True) if not keep)
    return tuple(merge_spans(dropped))
