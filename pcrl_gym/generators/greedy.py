"""What plain greedy decoding takes from a model: its control tokens and context, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, LogitsProcessor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class RefuseNaN(LogitsProcessor):
    """Raises `FloatingPointError` on NaN, which arg-max would take for the best token."""

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Returns the scores, (batch, vocabulary), as they are."""
        if torch.isnan(scores).any():
            raise FloatingPointError(
                "the model's logits are NaN; try dtype='float32', or check its weights"
            )
        return scores


def greedy_config(**settings: Any) -> Any:
    """Returns a `GenerationConfig` of arg-max decoding with the given settings.

    Only complete if the model's own `generation_config` is one too, because `generate` fills what
    is left open here from that one.
    """
    make: Any = GenerationConfig  # its constructor has no annotations
    return make(do_sample=False, num_beams=1, **settings)


def control_ids(model: Any, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Returns the token ids that steer decoding, as `GenerationConfig` names them.

    They come from the model's generation config, else its config, else the tokenizer. Models may
    have several end-of-sequence ids. Without a padding token the end token pads, under the mask.

    Raises:
        ValueError: If an encoder-decoder model has no decoder start token.
    """

    def find(name: str) -> Any:
        places = (model.generation_config, model.config, tokenizer)
        return next((v for p in places if (v := getattr(p, name, None)) is not None), None)

    eos = find("eos_token_id")
    eos_ids = [eos] if isinstance(eos, int) else list(eos or [])
    pad = tokenizer.pad_token_id
    if pad is None:
        pad = eos_ids[0] if eos_ids else 0
    ids = {"eos_token_id": eos_ids or None, "pad_token_id": pad}
    if model.config.is_encoder_decoder:
        ids["decoder_start_token_id"] = find("decoder_start_token_id")
        if ids["decoder_start_token_id"] is None:
            raise ValueError(
                f"{type(model).__name__} has no decoder_start_token_id: set it in the model's "
                "generation config"
            )
    return ids


def context_length(config: Any) -> int | None:
    """Returns how many tokens a model can take, `None` if its positions are relative."""
    # The `n_positions` that T5 saves is the length it was trained with.
    if getattr(config, "relative_attention_num_buckets", None) is not None:
        return None
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    return None if limit is None else int(limit)
