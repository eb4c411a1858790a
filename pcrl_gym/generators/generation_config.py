"""Settings of a model used by plain greedy decoding: its control tokens and context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig

from pcrl_gym.errors import PromptTooLongError, excerpt
from pcrl_gym.generators.base import Answer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def refuse_nan(input_ids: object, scores: torch.Tensor) -> torch.Tensor:
    """Return the scores unchanged; a logits processor for `generate`.

    Raises:
        FloatingPointError: If a score is NaN, which argmax would select as the best token.
    """
    if torch.isnan(scores).any():
        raise FloatingPointError(
            "the model's logits are NaN; try dtype='float32', or check its weights"
        )
    return scores


def greedy_config(**settings: Any) -> Any:
    """Return a `GenerationConfig` for greedy decoding with the given settings.

    `generate` takes unset values from the model's own config, which should also come from here.
    """
    make: Any = GenerationConfig  # its constructor has no annotations
    return make(do_sample=False, num_beams=1, **settings)


STEERING = ("forced_bos_token_id", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens")
"""Settings that restrict an answer's tokens; they are part of the model, so they are kept."""

_DROPPED = (
    "forced_eos_token_id", "sequence_bias", "min_length", "min_new_tokens", "guidance_scale",
)  # fmt: skip


def control_ids(model: Any, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Return the token IDs that control decoding, named as in `GenerationConfig`.

    They come from the model's generation config, else its config, else the tokenizer. Models may
    have several end-of-sequence IDs; unknown ones, such as -1, are dropped. If the model knows no
    padding token, the end token is used and masked. Settings in `STEERING` are kept if set; the
    first token of an answer can only be forced for an encoder-decoder.

    Raises:
        ValueError: If an encoder-decoder model has no decoder start token.
    """

    def find(name: str) -> Any:
        places = (model.generation_config, model.config, tokenizer)
        return next((v for p in places if (v := getattr(p, name, None)) is not None), None)

    eos = find("eos_token_id")
    known = range(vocabulary_size(model))
    eos_ids = [int(i) for i in ([eos] if isinstance(eos, int) else eos or []) if i in known]
    pad = next((i for i in (tokenizer.pad_token_id, *eos_ids) if i in known), 0)
    ids = {"eos_token_id": eos_ids or None, "pad_token_id": pad}
    if model.config.is_encoder_decoder:
        ids["decoder_start_token_id"] = find("decoder_start_token_id")
        if ids["decoder_start_token_id"] is None:
            raise ValueError(
                f"{type(model).__name__} has no decoder_start_token_id: set it in the model's "
                "generation config"
            )
    kept = {name: getattr(model.generation_config, name, None) for name in STEERING}
    if not model.config.is_encoder_decoder:
        del kept["forced_bos_token_id"]
    return ids | {name: value for name, value in kept.items() if value is not None}


def dropped_settings(config: Any) -> dict[str, Any]:
    """Return settings of a generation config that would change greedy answers but are dropped."""
    values = {name: getattr(config, name, None) for name in _DROPPED}
    return {name: value for name, value in values.items() if value}


def vocabulary_size(model: Any) -> int:
    """Return the number of token IDs that a model can read."""
    return int(model.get_input_embeddings().weight.shape[0])


def check_vocabulary(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    """Raise a ValueError if a model lacks tokens of its tokenizer other than padding."""
    size = vocabulary_size(model)
    padding = {tokenizer.pad_token} - {tokenizer.bos_token, tokenizer.eos_token}
    vocabulary = tokenizer.get_vocab().items()
    missing = sorted((i, token) for token, i in vocabulary if i >= size and token not in padding)
    if missing:
        raise ValueError(
            f"the tokenizer has {len(missing)} tokens that the model does not know, such as "
            f"{missing[0][1]!r} (id {missing[0][0]}; the model has {size} token ids): load the "
            "tokenizer that the model was trained with, or resize the model and train the tokens"
        )


def context_length(config: Any, decoder: bool = False) -> int | None:
    """Return the maximum tokens of a model, or of its decoder; `None` if there is no limit."""
    # T5's `n_positions` is the training length, not a limit.
    if getattr(config, "relative_attention_num_buckets", None) is not None:
        return None
    side = "decoder" if decoder else "encoder"
    own = getattr(config, side, None) if config.is_encoder_decoder else None
    if own is None:
        own = config.get_text_config()
    for name in (f"max_{side}_position_embeddings", "max_position_embeddings", "max_seq_len"):
        limit = getattr(own, name, None)
        if limit is not None and limit > 0:  # XLNet has -1
            rope = getattr(own, "rope_parameters", None) or {}
            # Other types already include the scaling.
            dynamic = rope.get("rope_type") == "dynamic"
            return int(limit * rope["factor"] if dynamic else limit)
    return None


def check_context(
    config: Any,
    name: str,
    prompts: Sequence[str],
    rows: Sequence[Sequence[int]],
    room: Sequence[int],
) -> None:
    """Raise a PromptTooLongError if a prompt and its answer do not fit the context."""
    context, answer_context = context_length(config), context_length(config, decoder=True)
    for prompt, row, new in zip(prompts, rows, room, strict=True):
        parts = [(len(row) + new, context)]
        if config.is_encoder_decoder:
            parts = [(len(row), context), (new, answer_context)]
        for tokens, limit in parts:
            if limit is not None and tokens > limit:
                raise PromptTooLongError(
                    f"prompt {excerpt(prompt)!r} has {len(row)} tokens, which together with {new} "
                    f"new ones exceeds the context of {name!r} ({limit} tokens): shorten or leave "
                    "out the prompt, or lower max_new_tokens"
                )


def check_token_ids(model: Any, name: str, answers: Sequence[Answer]) -> None:
    """Raise a ValueError if an answer has token IDs outside the model's vocabulary."""
    size = vocabulary_size(model)
    for answer in answers:
        if any(not 0 <= i < size for i in answer.token_ids):
            raise ValueError(
                f"answer {answer.text!r} has token ids outside 0..{size - 1}: "
                f"it does not come from {name!r}"
            )
