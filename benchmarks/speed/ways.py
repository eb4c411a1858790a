"""Four ways to answer compressed prompts and compute their rewards; `floor` has the other two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.speed.tables import BATCH, NEW_TOKENS, PADDED
from pcrl_gym.episodes.tokenizers import TextEncoder
from pcrl_gym.generators.base import Answer
from pcrl_gym.generators.batching import pad_rows
from pcrl_gym.generators.generation_config import control_ids
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.scoring.early_stop import EarlyStop
from pcrl_gym.scoring.ratio import compression_ratio
from pcrl_gym.scoring.rewards import ThresholdReward, reward_inputs
from pcrl_gym.scoring.rouge import UNICODE_ROUGE_L

if TYPE_CHECKING:
    from pcrl_gym.episodes.episode import Episode

Array = np.ndarray[Any, Any]
Result = tuple[Array, list[Answer]]
"""What a way found: rewards, (prompts,), and its answers."""


@dataclass(frozen=True, eq=False)
class Work:
    """What every way has to do."""

    prompts: list[str]  # compressed
    originals: list[Answer]  # per prompt the answer to its original, which is also the draft
    ratios: Array  # (prompts,), the compression ratios

    def rewards(self, similarities: Sequence[float]) -> Array:
        """Return the threshold rewards, (prompts,)."""
        return ThresholdReward()(
            reward_inputs(similarity=[*similarities], compression_ratio=self.ratios)
        )


def make_work(
    generator: HFGenerator,
    episodes: Sequence[Episode],
    masks: Sequence[Array],
    originals: dict[str, Answer],
) -> Work:
    """Return the distinct pairs of compressed and original prompt of some masks."""
    pairs = {(e.compress(mask), e.text): e for e, mask in zip(episodes, masks, strict=True)}
    compressed, texts = [text for text, _ in pairs], [text for _, text in pairs]
    n, after, template = (
        np.array(generator.count_tokens(some), np.int64)
        for some in (texts, compressed, [e.template_text for e in pairs.values()])
    )
    ratios = compression_ratio(n, after, template)
    return Work(compressed, [originals[text] for text in texts], ratios)


def plain(generator: HFGenerator, work: Work) -> Result:
    """Call `generate` of transformers, prompts in the given order, padded to a fixed length (a).

    The ids are those that the generator itself would read, so that the answers can be the same.
    """
    model, tokenizer, seq2seq = generator.model, generator.tokenizer, generator.is_encoder_decoder
    pad = control_ids(model, tokenizer)["pad_token_id"]
    rows = prompt_rows(generator, work.prompts)
    answers = []
    for start in range(0, len(rows), BATCH):
        # An empty prompt only stretches the batch to the fixed length.
        batch = [*rows[start : start + BATCH], [pad] * PADDED]
        ids, mask = pad_rows(batch, pad, not seq2seq, model.device)
        read = {"input_ids": ids[:-1], "attention_mask": mask[:-1]}
        output = model.generate(**read, max_new_tokens=NEW_TOKENS, do_sample=False)
        new = output[:, 1 if seq2seq else ids.shape[1] :]
        texts = tokenizer.batch_decode(
            new, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        answers += [Answer(text.strip()) for text in texts]
    return _compared(work, answers)


def dynamic(generator: HFGenerator, work: Work) -> Result:
    """Call `HFGenerator.generate`: sorted by length, padded to the longest of the batch (b)."""
    return _compared(work, generator.generate(work.prompts, NEW_TOKENS))


def drafted(generator: HFGenerator, work: Work) -> Result:
    """Verify the drafts and complete the answers (c)."""
    return _compared(work, generator.generate_from(work.prompts, work.originals, NEW_TOKENS))


def stopped(generator: HFGenerator, work: Work) -> Result:
    """Verify the drafts and leave answers as soon as the reward is decided (d)."""
    stop = EarlyStop([answer.text for answer in work.originals], ThresholdReward().threshold)
    answers = generator.generate_from(work.prompts, work.originals, NEW_TOKENS, stop)
    bounds = [stop.similarity(i, answer) for i, answer in enumerate(answers)]
    return work.rewards(bounds), answers


def _compared(work: Work, answers: list[Answer]) -> Result:
    pairs = zip(answers, work.originals, strict=True)
    return work.rewards([UNICODE_ROUGE_L(a.text, o.text) for a, o in pairs]), answers


def prompt_rows(generator: HFGenerator, prompts: Sequence[str]) -> list[list[int]]:
    """Return the token ids as the model reads them: an encoder always reads an EOS at the end."""
    rows = TextEncoder(generator.tokenizer).prompt_ids(prompts)
    end = generator.tokenizer.eos_token_id
    if generator.is_encoder_decoder and end is not None:
        rows = [row if row[-1:] == [end] else [*row, end] for row in rows]
    return rows
