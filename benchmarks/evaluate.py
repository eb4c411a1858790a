"""The records of one agent on one split, through the scorer that the environment uses."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from agents.base import optional
from agents.runs.evaluation import scored_batches
from benchmarks.gold import AnswerCut, GoldFigures, against_gold
from benchmarks.records import Record
from pcrl_gym.episodes.units import merge_spans

if TYPE_CHECKING:
    from agents import Agent
    from pcrl_gym.envs.task import Task
    from pcrl_gym.scoring.rewards import Reward, RewardInputs

_FIGURES = (
    "reward", "similarity", "compression_ratio", "drop_rate", "original_tokens",
    "compressed_tokens", "template_tokens",
)  # fmt: skip


# Every part of a run asks for it, and it copies the vocabulary.
_answer_cut = functools.lru_cache(maxsize=1)(AnswerCut)


class AnsweredReward:
    """A reward that pays the same, but always has the generator answer.

    Every leaderboard row shows a similarity of answers, by `measure`.
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
        """Pay what the wrapped reward pays."""
        return self._reward(x)


@functools.cache  # every part of a run asks for it
def token_counter(name: str) -> Callable[[Sequence[str]], list[int]]:
    """Return a function that counts the tokens of texts, without special tokens.

    The name is "bytes" for UTF-8 bytes, the tokens of ByT5 (Xue et al. 2022,
    https://arxiv.org/abs/2105.13626), or what `episodes.tokenizers.load_tokenizer` takes.
    """
    if name == "bytes":
        # A lone surrogate has no UTF-8; three bytes are what it would take.
        return lambda texts: [len(text.encode("utf-8", "surrogatepass")) for text in texts]
    from pcrl_gym.episodes.tokenizers import TextEncoder, load_tokenizer

    encoder = TextEncoder(load_tokenizer(name))
    return lambda texts: [len(encoding.ids) for encoding in encoder.encodings(texts)]


def evaluate(
    agent: Agent, task: Task, name: str, split: str, seed: int, *, second_tokenizer: str = "bytes"
) -> Iterator[Record]:
    """Let an agent compress every prompt of a task, and yield a record of each, in order.

    The task's reward must ask for answers; `name`, `split` and `seed` are for the records.
    """
    count = token_counter(second_tokenizer)
    tokenizer = task.scorer.generator.tokenizer
    cut = None if tokenizer is None else _answer_cut(tokenizer)
    rate = optional(agent, "rate")
    for batch, masks, scores, compress_ms in scored_batches(agent, task):
        for i, episode in enumerate(batch):
            prompt, answer = episode.prompt, scores.compressed_outputs[i]
            compressed = scores.compressed_prompts[i]
            second = count([episode.text, compressed, episode.template_text])
            gold_cut = cut(answer, prompt.output) if cut is not None and prompt.output else None
            dropped = zip(episode.spans, ~episode.kept(masks[i]), strict=True)
            likelihood = float(scores.log_likelihood[i])
            yield Record(
                agent=name,
                split=split,
                seed=seed,
                prompt_id=prompt.id,
                source=prompt.source,
                prompt=str(episode.text),
                dropped=tuple(merge_spans(span for span, gone in dropped if gone)),
                compressed_prompt=str(compressed),
                output=scores.outputs[i],
                compressed_output=answer,
                gold=prompt.output,
                **{name: getattr(scores, name)[i].item() for name in _FIGURES},
                log_likelihood=None if math.isnan(likelihood) else likelihood,
                second_original_tokens=second[0],
                second_compressed_tokens=second[1],
                second_template_tokens=second[2],
                **_rouge("gold", answer if prompt.output else None, prompt.output),
                gold_cut=gold_cut,
                **_rouge("cut", None if gold_cut is None else answer[:gold_cut], prompt.output),
                requested_rate=None if rate is None else float(rate),
                compress_ms=compress_ms,
            )


def _rouge(prefix: str, answer: str | None, gold: str) -> dict[str, float | None]:
    figures = (None,) * 3 if answer is None else against_gold(answer, gold)
    names = [f"{prefix}_{name}" for name in GoldFigures._fields]
    return dict(zip(names, figures, strict=True))
