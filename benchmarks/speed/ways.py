"""Six ways to answer compressed prompts; four of them also compute the rewards.

The last two, the floor, are one bare forward pass over each prompt and its draft: no way to check a
draft can do with less. The pass reads what it must to predict every token of the draft, without a
cache, and forms logits for the draft only. Tensors are ready before the clock starts; nothing is
decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.speed.cost import measure
from benchmarks.speed.tables import BATCH, NEW_TOKENS, PADDED
from pcrl_gym.episodes.tokenizers import TextEncoder
from pcrl_gym.generators.base import Answer
from pcrl_gym.generators.batching import Batcher, is_out_of_memory, pad_rows
from pcrl_gym.generators.generation_config import control_ids
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.generators.logits import logits_at
from pcrl_gym.generators.speculative.decoding import length_keys
from pcrl_gym.scoring.early_stop import EarlyStop
from pcrl_gym.scoring.ratio import compression_ratio
from pcrl_gym.scoring.rewards import ThresholdReward, reward_inputs
from pcrl_gym.scoring.rouge import UNICODE_ROUGE_L

if TYPE_CHECKING:
    from pcrl_gym.episodes.episode import Episode

Array = np.ndarray[Any, Any]
Result = tuple[Array, list[Answer]]
"""What a way found: rewards, (prompts,), and its answers."""
Batches = list[tuple[list[range], dict[str, Any]]]
"""Per batch the columns of each row that predict its draft, and the model's inputs."""

_CPU_TOKENS = (1_024, 2_048, 4_096, 8_192, 16_384)
_GPU_TOKENS = (8_192, 16_384, 32_768, 65_536)


@dataclass(frozen=True, eq=False)
class Work:
    """What every way has to do."""

    prompts: list[str]  # compressed
    originals: list[Answer]  # per prompt the answer to its original, which is also the draft
    ratios: Array  # (prompts,), the compression ratios

    def rewards(self, similarities: list[float]) -> Array:
        """Return the threshold rewards, (prompts,)."""
        inputs = reward_inputs(similarity=similarities, compression_ratio=self.ratios)
        return ThresholdReward()(inputs)


def make_work(
    generator: HFGenerator,
    episodes: Sequence[Episode],
    masks: Sequence[Array],
    originals: dict[str, Answer],
) -> Work:
    """Return the distinct pairs of compressed and original prompt of some masks."""
    pairs = {(e.compress(mask), e.text): e for e, mask in zip(episodes, masks, strict=True)}
    compressed, texts = [text for text, _ in pairs], [text for _, text in pairs]
    templates = [episode.template_text for episode in pairs.values()]
    counts = [
        np.array(generator.count_tokens(some), np.int64) for some in (texts, compressed, templates)
    ]
    return Work(compressed, [originals[text] for text in texts], compression_ratio(*counts))


def plain(generator: HFGenerator, work: Work) -> Result:
    """Call `generate` of transformers, prompts in the given order, padded to a fixed length (a).

    The ids are those that the generator itself would read, so that the answers can be the same.
    """
    model, tokenizer, seq2seq = generator.model, generator.tokenizer, generator.is_encoder_decoder
    pad = control_ids(model, tokenizer)["pad_token_id"]
    rows = _prompt_rows(generator, work.prompts)
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
    return work.rewards([stop.similarity(i, answer) for i, answer in enumerate(answers)]), answers


def _compared(work: Work, answers: list[Answer]) -> Result:
    pairs = zip(answers, work.originals, strict=True)
    return work.rewards([UNICODE_ROUGE_L(a.text, o.text) for a, o in pairs]), answers


def fastest_floor(generator: HFGenerator, work: Work, sliced: bool = False) -> Callable[[], None]:
    """Return the floor (e), or (f) if `sliced`, in batches of the size that is fastest."""
    model, tried = generator.model, {}
    for tokens in _GPU_TOKENS if model.device.type == "cuda" else _CPU_TOKENS:
        batches = floor_batches(generator, work, tokens)
        way = partial(run_floor, model, batches, sliced)
        try:  # twice, as the first pass of all also loads and allocates
            tried[way] = min(measure(way, model).seconds for _ in range(2))
        except Exception as error:
            if not is_out_of_memory(error) or not tried:
                raise
            break
        if len(batches) == 1:
            break
    return min(tried, key=tried.__getitem__)


def run_floor(model: Any, batches: Batches, sliced: bool) -> None:
    """Run the passes; the head gets the tokens of the drafts alone.

    With `sliced` it gets all columns that a draft of the batch needs, as `logits_to_keep` has it; a
    decoder's all.
    """
    with torch.inference_mode():
        for spans, batch in batches:
            decoder = "decoder_input_ids" in batch
            if not sliced:
                shape = batch["decoder_input_ids" if decoder else "input_ids"].shape
                logits_at(model, spans, shape, **batch, use_cache=False)
            else:
                kept = {} if decoder else {"logits_to_keep": max(map(len, spans))}
                model(**batch, **kept, use_cache=False)


def floor_batches(generator: HFGenerator, work: Work, tokens: int) -> Batches:
    """Return batches of at most so many padded tokens."""
    prompts = _prompt_rows(generator, work.prompts)
    drafts = [list(answer.token_ids) for answer in work.originals]
    sizes = [len(p) + len(d) for p, d in zip(prompts, drafts, strict=True)]
    chosen: list[list[int]] = []
    keys = length_keys(prompts, drafts, generator.is_encoder_decoder)
    Batcher("auto", tokens).run(sizes, chosen.append, keys)
    return [_inputs(generator, [(prompts[i], drafts[i]) for i in rows]) for rows in chosen]


def _inputs(generator: HFGenerator, pairs: list[tuple[list[int], list[int]]]) -> Any:
    ids, device = control_ids(generator.model, generator.tokenizer), generator.model.device
    pad, lengths = ids["pad_token_id"], [len(draft) for _, draft in pairs]
    # The last token of a draft is predicted, not read.
    if generator.is_encoder_decoder:
        starts = [[ids["decoder_start_token_id"], *draft[:-1]] for _, draft in pairs]
        input_ids, mask = pad_rows([prompt for prompt, _ in pairs], pad, False, device)
        read = {"decoder_input_ids": pad_rows(starts, pad, False, device)[0]}
        spans = [range(length) for length in lengths]
    else:
        rows = [prompt + draft[:-1] for prompt, draft in pairs]
        input_ids, mask = pad_rows(rows, pad, True, device)
        read = {"position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0)}
        spans = [range(mask.shape[1] - length, mask.shape[1]) for length in lengths]
    return spans, {"input_ids": input_ids, "attention_mask": mask, **read}


def _prompt_rows(generator: HFGenerator, prompts: Sequence[str]) -> list[list[int]]:
    """Return the token ids as the model reads them: an encoder always reads an EOS at the end."""
    rows = TextEncoder(generator.tokenizer).prompt_ids(prompts)
    end = generator.tokenizer.eos_token_id
    if generator.is_encoder_decoder and end is not None:
        rows = [row if row[-1:] == [end] else [*row, end] for row in rows]
    return rows
