"""Generators to measure: micro, folders, and the shapes of well-known models with random weights.

Weights of shapes are drawn in memory, nothing is downloaded. The speed of a pass depends on the
shape alone; how many passes an answer takes depends on how often drafts hold, of which random
weights say nothing. They are not drawn as the library does it: T5 would repeat one token for ever,
so that all answers were the same and every draft held. Nor much wider, or else rounding would
decide answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
    T5Config,
)

from pcrl_gym.episodes.tokenizers import load_tokenizer
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.generators.pretrained import choose_device
from pcrl_gym.micro import MICRO

# Those of the micro tokenizer.
_IDS: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 1}


def _gpt2(width: int, layers: int, heads: int) -> Any:
    return GPT2Config(
        vocab_size=50_257,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        initializer_range=width**-0.5,
        bos_token_id=None,
        **_IDS,
    )


def _t5(width: int, inner: int, layers: int, heads: int, gated: bool) -> Any:
    # Missing in the signature. The second decides only whether logits are scaled: transformers 5
    # ties the embeddings of every new T5, which takes FLAN's parameters from 2.85 to 2.78 G.
    others: dict[str, Any] = {"decoder_start_token_id": 0, "tie_word_embeddings": not gated}
    return T5Config(
        vocab_size=32_128,
        d_model=width,
        d_kv=64,
        d_ff=inner,
        num_layers=layers,
        num_decoder_layers=layers,
        num_heads=heads,
        feed_forward_proj="gated-gelu" if gated else "relu",
        initializer_factor=1.0 if gated else 1.4,
        **_IDS,
        **others,
    )


def _llama_135m() -> Any:
    return LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
        initializer_range=576**-0.5,
        bos_token_id=None,
        **_IDS,
    )


SHAPES: dict[str, Callable[[], Any]] = {
    "gpt2-29m": partial(_gpt2, 384, 5, 6),
    "gpt2-124m": partial(_gpt2, 768, 12, 12),
    "llama-135m": _llama_135m,
    "t5-60m": partial(_t5, 512, 2048, 6, 8, gated=False),
    "gpt2-xl": partial(_gpt2, 1600, 48, 25),
    # The defaults of the class are the sizes of Llama 7B.
    "llama-7b": partial(LlamaConfig, vocab_size=32_000, bos_token_id=None, **_IDS),
    "flan-t5-xl": partial(_t5, 2048, 5120, 24, 32, gated=True),
}
"""Configurations of models with random weights; a number in a name counts the parameters."""

GPU_SHAPES = ("gpt2-xl", "llama-7b", "flan-t5-xl")
"""Those meant for a GPU, in bfloat16 unless another type is asked for; others are float32."""

KNOWN = (*MICRO, *SHAPES)
"""All names that `build_generator` takes, besides folders."""


def check_names(names: list[str], device: str) -> None:
    """Check that models are known or folders, given once each, and meant for a type of device.

    Raises:
        ValueError: If one is not.
    """
    if not names or len(set(names)) != len(names):
        raise ValueError(f"Give models, each once; there are: {', '.join(KNOWN)}")
    unknown = [name for name in names if name not in KNOWN and not Path(name).is_dir()]
    if unknown:
        raise ValueError(
            f"There is no model {', '.join(unknown)}; there are: {', '.join(KNOWN)}, and folders "
            "of models"
        )
    large = [name for name in names if name in GPU_SHAPES]
    if large and device == "cpu":
        raise ValueError(f"Model {', '.join(large)} is too large for a CPU")


def build_generator(name: str, device: str, dtype: str = "auto") -> HFGenerator:
    """Build one of the `KNOWN` generators, or that of a folder, on a torch device.

    `dtype` is one of `pretrained.DTYPES`; "auto" is what `load_generator` chooses, or the shape.

    Models of `SHAPES` get random weights, the same on every call on the same kind of device, and
    the micro tokenizer with as many words more as the model has token ids. No global state of
    torch is left changed.
    """
    if name not in SHAPES:
        generator = load_generator(name, device=device, dtype=dtype)
        assert isinstance(generator, HFGenerator)
        return generator
    config = SHAPES[name]()
    if dtype == "auto":
        dtype = "bfloat16" if name in GPU_SHAPES else "float32"
    place = torch.device(choose_device(device))
    # Made where and as it is used: two copies of the largest would be tight.
    with torch.random.fork_rng([place] if place.type == "cuda" else []), place:
        torch.manual_seed(0)
        model = random_model(config, getattr(torch, dtype))
    return HFGenerator(model, widened_tokenizer(config.vocab_size), name=name)


def random_model(config: Any, dtype: torch.dtype) -> Any:
    """Return a model of one of the `SHAPES` with weights from torch's current random state."""
    if not config.is_encoder_decoder:
        return AutoModelForCausalLM.from_config(config, dtype=dtype)
    model = AutoModelForSeq2SeqLM.from_config(config, dtype=dtype)
    # As drawn, embeddings outweigh what the layers add to them, and each token predicts itself.
    model.shared.weight.data.mul_(0.1)
    return model


def widened_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """Return the micro tokenizer with words of their own for the ids that it lacks.

    Texts are encoded as micro does, since no merge leads to the new words. An answer of random
    weights is made of nearly only such words, and is decoded to as many words as it has tokens:
    without them it would be decoded to nothing, and all answers would be the same.

    Args:
        size: How many ids there are to be, at least as many as micro has.
    """
    micro = load_tokenizer("micro")
    backend = json.loads(micro.backend_tokenizer.to_str())
    # "Ġ" is how byte-level vocabularies write a space.
    backend["model"]["vocab"] |= {f"Ġw{i}": i for i in range(len(micro), size)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(backend)),
        pad_token=micro.pad_token,
        eos_token=micro.eos_token,
        clean_up_tokenization_spaces=False,
    )
