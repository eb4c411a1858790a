"""Six ways to answer compressed prompts and compute their rewards."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.speed.throughput.cost import synchronize
from benchmarks.speed.throughput.tables import BATCH, NEW_TOKENS, PADDED
from pcrl_gym.episodes.tokenizers import TextEncoder
from pcrl_gym.generators.base import Answer
from pcrl_gym.generators.batching import Batcher, is_out_of_memory, pad_rows
from pcrl_gym.generators.generation_config import control_ids
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.generators.logits import logits_at
from pcrl_gym.generators.speculative.decoding import length_keys
from pcrl_gym.scoring.early_stop import EarlyStop
from pcrl_gym.scoring.rewards import ThresholdReward, reward_inputs
from pcrl_gym.scoring.rouge import UNICODE_ROUGE_L

FLOOR_TOKENS = {
    "cpu": (1_024, 2_048, 4_096, 8_192, 16_384),
    "cuda": (8_192, 16_384, 32_768, 65_536),
}
"""Padded tokens per batch that the floor tries, by device type."""


@dataclass(frozen=True, eq=False)
class Work:
    """What every way has to do."""

    prompts: list[str]  # compressed
    originals: list[Answer]  # per prompt the answer to its original, which is also the draft
    ratios: npt.NDArray[np.float64]  # (prompts,), the compression ratios

    def rewards(self, similarities: Sequence[float]) -> npt.NDArray[np.float64]:
        """Return the threshold rewards, (prompts,)."""
        return ThresholdReward()(
            reward_inputs(similarity=list(similarities), compression_ratio=self.ratios)
        )


@dataclass(frozen=True, eq=False)
class Result:
    """What a way found: rewards (prompts,), and its answers."""

    rewards: npt.NDArray[np.float64]
    answers: list[Answer]


def plain(generator: HFGenerator, work: Work) -> Result:
    """Call `generate` of transformers, prompts in the given order, padded to a fixed length (a).

    The ids are those that the generator itself would read, so that the answers can be the same.
    """
    model, tokenizer, seq2seq = generator.model, generator.tokenizer, generator.is_encoder_decoder
    settings = {"max_new_tokens": NEW_TOKENS, "do_sample": False}
    pad = control_ids(model, tokenizer)["pad_token_id"]
    rows = prompt_rows(generator, work.prompts)
    answers = []
    for start in range(0, len(rows), BATCH):
        # An empty prompt only stretches the batch to the fixed length.
        batch = [*rows[start : start + BATCH], [pad] * PADDED]
        ids, mask = pad_rows(batch, pad, not seq2seq, model.device)
        output = model.generate(input_ids=ids[:-1], attention_mask=mask[:-1], **settings)
        first = 1 if seq2seq else ids.shape[1]
        texts = tokenizer.batch_decode(
            output[:, first:], skip_special_tokens=True, clean_up_tokenization_spaces=False
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
    return Result(work.rewards(bounds), answers)


def _compared(work: Work, answers: list[Answer]) -> Result:
    pairs = zip(answers, work.originals, strict=True)
    return Result(work.rewards([UNICODE_ROUGE_L(a.text, o.text) for a, o in pairs]), answers)


def prompt_rows(generator: HFGenerator, prompts: Sequence[str]) -> list[list[int]]:
    """Return the token ids as the model reads them: an encoder always reads an EOS at the end."""
    rows = TextEncoder(generator.tokenizer).prompt_ids(prompts)
    end = generator.tokenizer.eos_token_id
    if generator.is_encoder_decoder and end is not None:
        rows = [row if row[-1:] == [end] else [*row, end] for row in rows]
    return rows


class Floor:
    """(e) One bare forward pass over each prompt and its draft: no less can check the draft.

    The pass reads what it must to predict every token of the draft, without a cache, and forms
    logits for the draft only. Tensors are ready before the clock starts; nothing is decoded.

    Args:
        generator: The generator.
        work: The prompts and drafts.
        sliced: Whether the head gets all columns that a draft of the batch needs, as
            `logits_to_keep` has it (f), and not only the tokens of the drafts.

    Attributes:
        tokens: Padded tokens per batch, set by `choose`, which comes first.
    """

    tokens: int

    def __init__(self, generator: HFGenerator, work: Work, sliced: bool = False) -> None:
        self._generator = generator
        self._sliced = sliced
        self._prompts = prompt_rows(generator, work.prompts)
        self._drafts = [list(answer.token_ids) for answer in work.originals]
        self._batches: list[tuple[list[range], dict[str, Any]]] = []

    def choose(self) -> None:
        """Time every batch size once and settle for the fastest that fits into memory."""
        device = self._generator.model.device
        found: list[tuple[float, int]] = []
        for tokens in FLOOR_TOKENS.get(device.type, FLOOR_TOKENS["cpu"]):
            self._batches = self._make_batches(tokens)
            try:
                if not found:
                    self()  # the first pass of all also loads and allocates
                synchronize(device)
                began = time.perf_counter()
                self()
                synchronize(device)
            except Exception as error:
                if not is_out_of_memory(error) or not found:
                    raise
                break
            found.append((time.perf_counter() - began, tokens))
            if len(self._batches) == 1:
                break
        self.tokens = min(found)[1]
        self._batches = self._make_batches(self.tokens)

    def __call__(self) -> None:
        """Run the passes."""
        model = self._generator.model
        with torch.inference_mode():
            for spans, batch in self._batches:
                if self._sliced:
                    model(**batch, use_cache=False)
                else:
                    shape = batch.get("decoder_input_ids", batch["input_ids"]).shape
                    logits_at(model, spans, shape, **batch, use_cache=False)

    def _make_batches(self, tokens: int) -> list[tuple[list[range], dict[str, Any]]]:
        batches: list[tuple[list[range], dict[str, Any]]] = []
        sizes = [len(p) + len(d) for p, d in zip(self._prompts, self._drafts, strict=True)]
        keys = length_keys(self._prompts, self._drafts, self._generator.is_encoder_decoder)
        Batcher("auto", tokens).run(sizes, lambda batch: batches.append(self._inputs(batch)), keys)
        return batches

    def _inputs(self, batch: list[int]) -> tuple[list[range], dict[str, Any]]:
        """Per row the columns that predict its draft, and what the model takes."""
        model = self._generator.model
        ids = control_ids(model, self._generator.tokenizer)
        pad, device = ids["pad_token_id"], model.device
        prompts, drafts = [self._prompts[i] for i in batch], [self._drafts[i] for i in batch]
        # The last token of a draft is predicted, not read.
        if self._generator.is_encoder_decoder:
            start = ids["decoder_start_token_id"]
            input_ids, mask = pad_rows(prompts, pad, False, device)
            decoder, _ = pad_rows([[start, *draft[:-1]] for draft in drafts], pad, False, device)
            inputs = {"input_ids": input_ids, "attention_mask": mask, "decoder_input_ids": decoder}
            return [range(len(draft)) for draft in drafts], inputs
        rows = [prompt + draft[:-1] for prompt, draft in zip(prompts, drafts, strict=True)]
        input_ids, mask = pad_rows(rows, pad, True, device)
        width = input_ids.shape[1]
        inputs = {
            "input_ids": input_ids,
            "attention_mask": mask,
            "position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0),
        }
        if self._sliced:
            inputs["logits_to_keep"] = max(map(len, drafts))
        return [range(width - len(draft), width) for draft in drafts], inputs
