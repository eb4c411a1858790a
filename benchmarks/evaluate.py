"""Records of one agent on one split, by the scorer of the environment."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from agents.base import optional
from agents.runs.evaluation import scored_batches
from benchmarks.gold import AnswerCut, GoldFigures, against_gold, gold_score
from benchmarks.ifeval import constraints_kept
from benchmarks.markdown import finite
from benchmarks.records import Record
from pcrl_gym.episodes.tokenizers import TextEncoder
from pcrl_gym.episodes.units import merge_spans
from pcrl_gym.generators.base import Answer

if TYPE_CHECKING:
    from agents import Agent
    from pcrl_gym.envs.task import Task
    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.prompts.prompt import Prompt
    from pcrl_gym.scoring.rewards import Reward, RewardInputs
    from pcrl_gym.scoring.scorer import Scores

_FIGURES = (
    "reward", "similarity", "compression_ratio", "drop_rate", "original_tokens",
    "compressed_tokens", "template_tokens",
)  # fmt: skip
_IF_ASKED = ("log_likelihood", "likelihood_loss")


# Cached because every part of a run needs them, and they copy the vocabulary.
_answer_cut = functools.lru_cache(maxsize=1)(AnswerCut)
_encoder = functools.lru_cache(maxsize=1)(TextEncoder)


class AnsweredReward:
    """Wrapper of a reward that pays the same, but always requires the generator's answers.

    Every leaderboard row shows a similarity of answers, by `measure`, and with `likelihoods`, the
    loss in log-probability of the original answer.
    """

    needs_answers = True

    def __init__(self, reward: Reward, measure: str, likelihoods: bool = False) -> None:
        self.paid = reward  # for oracles
        self.measure = measure
        self.name = reward.name
        self.needs_likelihood = reward.needs_likelihood or likelihoods
        self.needs_likelihood_loss = reward.needs_likelihood_loss or likelihoods
        self.similarity_threshold = reward.similarity_threshold

    def __call__(self, x: RewardInputs) -> npt.NDArray[np.float64]:
        """Return the rewards of the wrapped reward."""
        return self.paid(x)


@functools.cache  # every part of a run needs it
def token_counter(name: str) -> Callable[[Sequence[str]], list[int]]:
    """Return a function that counts the tokens of texts, without special tokens.

    The name is "bytes" for UTF-8 bytes, the tokens of ByT5 (Xue et al. 2022,
    https://arxiv.org/abs/2105.13626), or an argument of `episodes.tokenizers.load_tokenizer`.
    """
    if name == "bytes":
        # A lone surrogate has no UTF-8 encoding; it would take three bytes.
        return lambda texts: [len(text.encode("utf-8", "surrogatepass")) for text in texts]
    from pcrl_gym.episodes.tokenizers import load_tokenizer

    encoder = TextEncoder(load_tokenizer(name))
    return lambda texts: [len(encoding.ids) for encoding in encoder.encodings(texts)]


def evaluate(
    agent: Agent, task: Task, name: str, split: str, seed: int, *, second_tokenizer: str = "bytes"
) -> Iterator[Record]:
    """Let an agent compress every prompt of a task, and yield a record of each, in order.

    The task's reward must need answers; `name`, `split` and `seed` are for the records.
    """
    count = token_counter(second_tokenizer)
    tokenizer = task.scorer.generator.tokenizer
    cut = None if tokenizer is None else _answer_cut(tokenizer)
    rate = optional(agent, "rate")
    for batch, scores, compress_ms, failed in scored_batches(agent, task):
        gold_losses = _gold_losses(task, scores, batch)
        lengths = [[None] * len(batch)] * 2
        if tokenizer is not None:
            texts = scores.outputs, scores.compressed_outputs
            lengths = [task.scorer.generator.count_tokens(own) for own in texts]
        for i, episode in enumerate(batch):
            prompt, answer = episode.prompt, scores.compressed_outputs[i]
            compressed = scores.compressed_prompts[i]
            second = count([episode.text, compressed, episode.template_text])
            gold_cut = cut(answer, prompt.output) if cut is not None and prompt.output else None
            dropped = [
                span for span, kept in zip(episode.spans, scores.kept[i], strict=True) if not kept
            ]
            yield Record(
                agent=name,
                split=split,
                seed=seed,
                prompt_id=prompt.id,
                source=prompt.source,
                prompt=str(episode.text),
                dropped=tuple(merge_spans(dropped)),
                compressed_prompt=str(compressed),
                output=scores.outputs[i],
                compressed_output=answer,
                gold=prompt.output,
                **{name: getattr(scores, name)[i].item() for name in _FIGURES},
                **{name: finite(getattr(scores, name)[i].item()) for name in _IF_ASKED},
                second_original_tokens=second[0],
                second_compressed_tokens=second[1],
                second_template_tokens=second[2],
                **_rouge("gold", answer if prompt.output else None, prompt.output),
                gold_cut=gold_cut,
                **_rouge("cut", None if gold_cut is None else answer[:gold_cut], prompt.output),
                requested_rate=None if rate is None else float(rate),
                compress_ms=compress_ms,
                output_tokens=lengths[0][i],
                compressed_output_tokens=lengths[1][i],
                **_constraints(prompt, answer, scores.outputs[i]),
                gold_likelihood_loss=finite(float(gold_losses[i])),
                gold_score=gold_score(prompt, answer),
                original_gold_score=gold_score(prompt, scores.outputs[i]),
                **(
                    {}
                    if failed is None
                    else {
                        "rewritten": int(compressed != episode.compress(scores.kept[i])),
                        "leaked": int(scores.leaked[i]),
                        "failed": int(failed[i]),
                    }
                ),
            )


def _gold_losses(task: Task, scores: Scores, batch: Sequence[Episode]) -> npt.NDArray[np.float64]:
    """Return the likelihood losses of the gold answers, scored without an end token.

    NaN if not requested, without a gold answer, or if it does not fit the context.
    """
    losses = np.full(len(batch), np.nan)
    if not task.scorer.reward.needs_likelihood_loss:
        return losses
    generator = task.scorer.generator
    limit = generator.max_prompt_tokens or math.inf
    gold = [episode.prompt.output for episode in batch]
    ids = _encoder(generator.tokenizer).prompt_ids(gold, add_special_tokens=False)
    longest = np.maximum(scores.original_tokens, scores.compressed_tokens)
    chosen = [i for i, own in enumerate(ids) if own and longest[i] + len(own) <= limit]
    texts = ([own[i] for i in chosen] for own in (scores.prompts, scores.compressed_prompts))
    answers = [Answer(gold[i], tuple(ids[i])) for i in chosen]
    losses[chosen] = task.scorer.likelihood_loss(*texts, answers)
    return losses


def _constraints(prompt: Prompt, answer: str, original: str) -> dict[str, int]:
    kept = constraints_kept(prompt, answer)
    if not kept:
        return {}
    before = sum(constraints_kept(prompt, original))
    names = ("constraints", "constraints_kept", "original_constraints_kept")
    return dict(zip(names, (len(kept), sum(kept), before), strict=True))


def _rouge(prefix: str, answer: str | None, gold: str) -> dict[str, float | None]:
    figures = (None,) * 3 if answer is None else against_gold(answer, gold)
    names = [f"{prefix}_{name}" for name in GoldFigures._fields]
    return dict(zip(names, figures, strict=True))
