"""Ways to answer compressed prompts, four of which also compute the rewards, and to score drafts.

Two more ways, the floor, are a single bare forward pass over each prompt and its draft, the least
work that can verify a draft. The pass reads only what it needs to predict every token of the draft,
without a cache, and computes logits only for the draft. Tensors are prepared before the clock
starts, and nothing is decoded.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice, product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from benchmarks.speed.cost import Measured, measure
from benchmarks.speed.figures import BATCH, NEW_TOKENS, PADDED
from pcrl_gym.generators.base import Answer
from pcrl_gym.generators.batching import Batcher, is_out_of_memory, pad_rows
from pcrl_gym.generators.generation_config import control_ids
from pcrl_gym.generators.likelihood import answer_inputs
from pcrl_gym.generators.logits import logits_at
from pcrl_gym.generators.speculative.decoding import length_keys
from pcrl_gym.generators.token_codec import TokenCodec
from pcrl_gym.scoring.early_stop import EarlyStop
from pcrl_gym.scoring.ratio import compression_ratio
from pcrl_gym.scoring.rewards import ThresholdReward, reward_inputs
from pcrl_gym.scoring.rouge import UNICODE_ROUGE_L

if TYPE_CHECKING:
    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.generators.hf import HFGenerator

Masks = Sequence[np.ndarray[Any, Any]]
Result = tuple[np.ndarray[Any, Any], list[Answer]]
"""Result of a way: rewards, (prompts,), and answers."""

_ANSWERING = "abcd"
_WARM_UP = 32
_CPU_TOKENS = (1_024, 2_048, 4_096, 8_192, 16_384)
_GPU_TOKENS = (8_192, 16_384, 32_768, 65_536)


class Work(NamedTuple):
    """Input of every way."""

    prompts: list[str]  # compressed
    originals: list[Answer]  # answers to the original prompts, which are also the drafts
    ratios: np.ndarray[Any, Any]  # (prompts,), the compression ratios


def make_work(
    generator: HFGenerator, episodes: Sequence[Episode], masks: Masks, originals: dict[str, Answer]
) -> Work:
    """Return the distinct pairs of compressed and original prompts for masks."""
    pairs = {(e.compress(mask), e.text): e for e, mask in zip(episodes, masks, strict=True)}
    compressed, texts = map(list, zip(*pairs, strict=True))
    templates = [episode.template_text for episode in pairs.values()]
    counts = [np.array(generator.count_tokens(some)) for some in (texts, compressed, templates)]
    return Work(compressed, [originals[text] for text in texts], compression_ratio(*counts))


def answer(way: str, generator: HFGenerator, work: Work) -> Result:
    """Answer the prompts in one of the ways (a) to (d), see `LEGEND`, and compute the rewards."""
    stop, texts = None, [answer.text for answer in work.originals]
    if way == "a":
        answers = _plain(generator, work.prompts)
    elif way == "b":
        answers = generator.generate(work.prompts, NEW_TOKENS)
    else:
        stop = EarlyStop(texts, ThresholdReward().threshold) if way == "d" else None
        answers = generator.generate_from(work.prompts, work.originals, NEW_TOKENS, stop)
    if stop is None:
        found = [UNICODE_ROUGE_L(a.text, text) for a, text in zip(answers, texts, strict=True)]
    else:
        found = [stop.similarity(i, answer) for i, answer in enumerate(answers)]
    inputs = reward_inputs(similarity=found, compression_ratio=work.ratios)
    return ThresholdReward()(inputs), answers


def _plain(generator: HFGenerator, prompts: Sequence[str]) -> list[Answer]:
    """Call `generate` of transformers on prompts in the given order, padded to a fixed length.

    The token IDs are those that the generator itself would read, so the answers can be equal.
    """
    model, seq2seq, answers = generator.model, generator.is_encoder_decoder, []
    ids, codec = _control(generator)
    rows, pad = codec.prompts(prompts), ids["pad_token_id"]
    for start in range(0, len(rows), BATCH):
        # A row of padding extends the batch to the fixed length.
        batch = [*rows[start : start + BATCH], [pad] * PADDED]
        tokens, mask = pad_rows(batch, pad, not seq2seq, model.device)
        read = {"input_ids": tokens[:-1], "attention_mask": mask[:-1]}
        output = model.generate(**read, max_new_tokens=NEW_TOKENS, do_sample=False)
        new = output[:, 1 if seq2seq else tokens.shape[1] :]
        answers += map(codec.answer, new.tolist())
    return answers


def fastest_floor(generator: HFGenerator, work: Work, sliced: bool = False) -> Callable[[], None]:
    """Return the floor (e), or (f) if `sliced`, with the fastest batch size."""
    model, tried = generator.model, {}
    for tokens in _GPU_TOKENS if model.device.type == "cuda" else _CPU_TOKENS:
        batches = floor_batches(generator, work, tokens)
        way = partial(run_floor, model, batches, sliced)
        try:  # twice, as the very first pass also loads and allocates
            tried[way] = min(measure(way, model).seconds for _ in range(2))
        except Exception as error:
            if not is_out_of_memory(error) or not tried:
                raise
            break
        if len(batches) == 1:
            break
    return min(tried, key=tried.__getitem__)


@torch.inference_mode()
def run_floor(model: Any, batches: Sequence[tuple[Any, ...]], sliced: bool) -> None:
    """Run the passes, with logits for the draft tokens only.

    With `sliced`, logits cover all columns needed by any draft of the batch, as with
    `logits_to_keep`; for a decoder, all columns.
    """
    for spans, shape, inputs in batches:
        if not sliced:
            logits_at(model, spans, shape, **inputs, use_cache=False)
        else:
            decoder = "decoder_input_ids" in inputs
            kept = {} if decoder else {"logits_to_keep": max(map(len, spans))}
            model(**inputs, **kept, use_cache=False)


def floor_batches(generator: HFGenerator, work: Work, tokens: int) -> list[tuple[Any, ...]]:
    """Return the `answer_inputs` of batches of at most `tokens` padded tokens."""
    ids, codec = _control(generator)
    prompts = codec.prompts(work.prompts)
    drafts = [list(answer.token_ids) for answer in work.originals]
    sizes = [len(p) + len(d) for p, d in zip(prompts, drafts, strict=True)]
    chosen: list[list[int]] = []
    keys = length_keys(prompts, drafts, generator.is_encoder_decoder)
    Batcher("auto", tokens).run(sizes, chosen.append, keys)
    pairs = [([prompts[i] for i in rows], [drafts[i] for i in rows]) for rows in chosen]
    return [answer_inputs(generator.model, ids, *pair) for pair in pairs]


def _control(generator: HFGenerator) -> tuple[dict[str, Any], TokenCodec]:
    ids, seq2seq = control_ids(generator.model, generator.tokenizer), generator.is_encoder_decoder
    end = ids["eos_token_id"] or ()
    return ids, TokenCodec(generator.tokenizer, seq2seq, ids["pad_token_id"], end)


def measure_model(
    generator: HFGenerator, episodes: Sequence[Episode], masks: dict[str, Masks], repeats: int
) -> list[dict[str, Any]]:
    """Run all ways on all masks; see `measure_case`."""
    texts = list(dict.fromkeys(episode.text for episode in episodes))
    originals = dict(zip(texts, generator.generate(texts, NEW_TOKENS), strict=True))
    works = {name: make_work(generator, episodes, own, originals) for name, own in masks.items()}
    for work, way in product(islice(works.values(), 1), _ANSWERING):
        answer(way, generator, Work(*(part[:_WARM_UP] for part in work)))
    return [measure_case(generator, name, work, repeats) for name, work in works.items()]


def measure_case(generator: HFGenerator, masks: str, work: Work, repeats: int) -> dict[str, Any]:
    """Run all ways on one set of prompts, in turns, and return all results."""
    print(f"{generator.name}, {masks} ...", file=sys.stderr, flush=True)
    ways: dict[str, Any] = {way: partial(answer, way, generator, work) for way in _ANSWERING}
    ways |= {"e": fastest_floor(generator, work), "f": fastest_floor(generator, work, sliced=True)}
    ways["g"] = partial(generator.log_likelihood, work.prompts, work.originals)
    runs: dict[str, list[Measured]] = {way: [] for way in ways}
    for _ in range(repeats):
        gc.collect()
        for way, call in ways.items():
            runs[way].append(measure(call, generator.model))
    found = {way: runs[way][0].result for way in _ANSWERING}  # rewards and answers
    held = [d.token_ids == a.token_ids for d, a in zip(work.originals, found["c"][1], strict=True)]
    texts = {way: [answer.text for answer in answers] for way, (_, answers) in found.items()}
    device, count = generator.model.device.type, len(work.prompts)
    # Disturbances only slow a machine down, so the fastest repetition counts.
    best = {way: min(run.seconds for run in own) for way, own in runs.items()}
    return {
        "model": generator.name,
        "device": device,
        # Whether rewards must be bitwise equal.
        "exact": device == "cpu" and generator.model.dtype == torch.float32,
        "masks": masks,
        "prompts": count,  # distinct pairs of a compressed prompt and an original answer
        "drafts_held": float(np.mean(held)),
        "rewards_equal": {way: int((found[way][0] == found["a"][0]).sum()) for way in "bcd"},
        "answers_equal": {way: sum(map(str.__eq__, texts[way], texts["a"])) for way in "bc"},
        "ways": {
            way: {
                "seconds": [run.seconds for run in own],
                "passes_per_row": own[0].passes / count,
                "memory_peak": max((run.memory for run in own if run.memory), default=None),
                "prompts_per_second": count / best[way],
                "ratio_to_a": best["a"] / best[way],
                "share_of_e": best["e"] / best[way],
            }
            for way, own in runs.items()
        },
    }
