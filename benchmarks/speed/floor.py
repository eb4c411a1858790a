"""One bare forward pass over each prompt and its draft: no way to check a draft can do with less.

The pass reads what it must to predict every token of the draft, without a cache, and forms logits
for the draft only. Tensors are ready before the clock starts; nothing is decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.speed.cost import measure
from benchmarks.speed.ways import Work, prompt_rows
from pcrl_gym.generators.batching import Batcher, is_out_of_memory, pad_rows
from pcrl_gym.generators.generation_config import control_ids
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.generators.logits import logits_at
from pcrl_gym.generators.speculative.decoding import length_keys

Batches = list[tuple[list[range], dict[str, Any]]]
"""Per batch the columns of each row that predict its draft, and the model's inputs."""

_CPU_TOKENS = (1_024, 2_048, 4_096, 8_192, 16_384)
_GPU_TOKENS = (8_192, 16_384, 32_768, 65_536)


def fastest_floor(generator: HFGenerator, work: Work, sliced: bool = False) -> Callable[[], None]:
    """Return the pass (e) in batches of the size that is fastest; see `run_floor` for `sliced`."""
    model, tried = generator.model, []
    for tokens in _GPU_TOKENS if model.device.type == "cuda" else _CPU_TOKENS:
        batches = floor_batches(generator, work, tokens)
        way = partial(run_floor, model, batches, sliced)
        try:  # twice, as the first pass of all also loads and allocates
            tried.append((min(measure(way, model).seconds for _ in range(2)), way))
        except Exception as error:
            if not is_out_of_memory(error) or not tried:
                raise
            break
        if len(batches) == 1:
            break
    return min(tried, key=lambda pair: pair[0])[1]


def run_floor(model: Any, batches: Batches, sliced: bool) -> None:
    """Run the passes; the head gets the tokens of the drafts alone.

    With `sliced` (f) it gets all columns that a draft of the batch needs, as `logits_to_keep` has
    it; a decoder's all.
    """
    with torch.inference_mode():
        for spans, batch in batches:
            shape = batch.get("decoder_input_ids", batch["input_ids"]).shape
            if not sliced:
                logits_at(model, spans, shape, **batch, use_cache=False)
            elif "decoder_input_ids" in batch:
                model(**batch, use_cache=False)
            else:
                model(**batch, use_cache=False, logits_to_keep=max(map(len, spans)))


def floor_batches(generator: HFGenerator, work: Work, tokens: int) -> Batches:
    """Return batches of at most so many padded tokens."""
    prompts = prompt_rows(generator, work.prompts)
    drafts = [list(answer.token_ids) for answer in work.originals]
    sizes = [len(p) + len(d) for p, d in zip(prompts, drafts, strict=True)]
    keys = length_keys(prompts, drafts, generator.is_encoder_decoder)
    chosen: list[list[int]] = []
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
