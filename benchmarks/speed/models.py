"""Generators to measure: micro, folders, and the shapes of well-known models with random weights.

Weights of shapes are initialized in memory; nothing is downloaded. The speed of a pass depends only
on the shape, but random weights say nothing about the number of passes per answer. The library's
initialization is not used, as T5 would repeat one token forever and every draft would hold. Much
larger weights are not used either, as rounding would decide answers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pcrl_gym.micro import MICRO
from pcrl_gym.storage.gguf import SMOLLM2


def _gpt2(width: int, layers: int, heads: int) -> dict[str, Any]:
    sizes = {"n_embd": width, "n_layer": layers, "n_head": heads, "vocab_size": 50_257}
    return sizes | {"model_type": "gpt2", "initializer_range": width**-0.5}


def _t5(width: int, inner: int, layers: int, heads: int, **others: Any) -> dict[str, Any]:
    sizes = {"d_model": width, "d_ff": inner, "num_layers": layers, "num_heads": heads}
    sizes |= {"d_kv": 64, "num_decoder_layers": layers, "vocab_size": 32_128}
    return sizes | {"model_type": "t5", "decoder_start_token_id": 0} | others


# Numbers in names are parameter counts. transformers 5 ties the embeddings of every new T5, which
# reduces FLAN's from 2.85B to 2.78B; the flag only decides whether logits are scaled. Llama's
# defaults are the sizes of 7B.
SHAPES = {
    "gpt2-29m": _gpt2(384, 5, 6),
    "gpt2-124m": _gpt2(768, 12, 12),
    "llama-135m": {
        "model_type": "llama", "vocab_size": 49_152, "hidden_size": 576, "num_hidden_layers": 30,
        "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3,
        "tie_word_embeddings": True, "initializer_range": 576**-0.5,
    },
    "t5-60m": _t5(512, 2048, 6, 8, initializer_factor=1.4),
    "gpt2-xl": _gpt2(1600, 48, 25),
    "llama-7b": {"model_type": "llama", "vocab_size": 32_000},
    "flan-t5-xl": _t5(
        2048, 5120, 24, 32, feed_forward_proj="gated-gelu", tie_word_embeddings=False
    ),
}  # fmt: skip
# Meant for a GPU, in bfloat16 unless another type is given; others are float32.
GPU_SHAPES = ("gpt2-xl", "llama-7b", "flan-t5-xl")
KNOWN = (*MICRO, SMOLLM2, *SHAPES)


def check_names(names: Sequence[str], device: str) -> None:
    """Check that models are known or folders, listed once each, and suitable for the device."""
    unknown = [name for name in names if not (name in KNOWN or Path(name).is_dir())]
    if not names or unknown or len(set(names)) < len(names):
        expected = f"expected models, each once, from {', '.join(KNOWN)}, or folders of models"
        raise ValueError(f"{expected}; got {', '.join(unknown or names)}")
    if device == "cpu" and (large := [name for name in names if name in GPU_SHAPES]):
        raise ValueError(f"too large for a CPU: {', '.join(large)}; remove it or use a GPU")


def build_generator(name: str, device: str, dtype: str = "auto") -> Any:
    """Build one of the `KNOWN` generators or that of a folder, with reproducible random weights.

    The global random state of torch is not changed.
    """
    import torch

    from pcrl_gym.generators.hf import HFGenerator
    from pcrl_gym.generators.loading import load_generator
    from pcrl_gym.generators.pretrained import choose_device

    if name not in SHAPES:
        return load_generator(name, device=device, dtype=dtype)
    if dtype == "auto":
        dtype = "bfloat16" if name in GPU_SHAPES else "float32"
    place = torch.device(choose_device(device))
    # Created in the final device and data type, as two copies of the largest model may not fit.
    with torch.random.fork_rng([place] if place.type == "cuda" else []), place:
        torch.manual_seed(0)
        model = random_model(name, dtype)
    return HFGenerator(model, widened_tokenizer(model.config.vocab_size), name=name)


def random_model(name: str, dtype: str) -> Any:
    """Return a model of one of the `SHAPES`, with weights from torch's current random state."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    # The micro tokenizer's IDs.
    config = AutoConfig.for_model(**SHAPES[name], pad_token_id=0, eos_token_id=1, bos_token_id=None)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model = auto.from_config(config, dtype=dtype)
    if config.is_encoder_decoder:
        # Otherwise, embeddings outweigh the layers' outputs, and each token predicts itself.
        model.shared.weight.data.mul_(0.1)
    return model


def widened_tokenizer(size: int) -> Any:
    """Return the micro tokenizer with a word for each missing token ID up to `size`.

    Texts are encoded as by micro, since no merge produces the new words. Random weights answer
    almost only with these; without them, all answers would decode to empty text.
    """
    from tokenizers import Tokenizer

    from pcrl_gym.episodes.tokenizers import load_tokenizer

    micro = load_tokenizer("micro")
    backend = json.loads(micro.backend_tokenizer.to_str())
    # "Ġ" is how byte-level vocabularies write a space.
    backend["model"]["vocab"] |= {f"Ġw{i}": i for i in range(len(micro), size)}
    options = {"clean_up_tokenization_spaces": False, **micro.special_tokens_map}
    return type(micro)(tokenizer_object=Tokenizer.from_str(json.dumps(backend)), **options)
