"""Generators to measure: micro, folders, and the shapes of well-known models with random weights.

Weights of shapes are drawn in memory, nothing is downloaded. The speed of a pass depends on the
shape alone; how many passes an answer takes depends on how often drafts hold, of which random
weights tell nothing. They are not drawn as the library does it: T5 would repeat one token for ever,
so that all answers were alike and every draft held. Nor much wider, or else rounding would decide
answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from pcrl_gym.episodes.tokenizers import load_tokenizer
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.generators.pretrained import choose_device
from pcrl_gym.micro import MICRO


@dataclass(frozen=True)
class Shape:
    """A model to build.

    Attributes:
        config: Makes its configuration.
        model: Makes the model of a configuration.
        gpu: Whether it is meant for a GPU, in bfloat16 unless told otherwise; others are float32.
    """

    config: Callable[[], Any]
    model: Callable[[Any], Any]
    gpu: bool = False


def _gpt2(width: int, layers: int, heads: int) -> Callable[[], Any]:
    return lambda: GPT2Config(
        vocab_size=50_257,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        initializer_range=width**-0.5,
        bos_token_id=None,
        **_control_ids(),
    )


def _t5(width: int, inner: int, layers: int, heads: int, gated: bool) -> Callable[[], Any]:
    # Missing in the signature. The second decides only whether logits are scaled: transformers 5
    # ties the embeddings of every new T5, which takes FLAN's parameters from 2.85 to 2.78 G.
    others: dict[str, Any] = {"decoder_start_token_id": 0, "tie_word_embeddings": not gated}
    return lambda: T5Config(
        vocab_size=32_128,
        d_model=width,
        d_kv=64,
        d_ff=inner,
        num_layers=layers,
        num_decoder_layers=layers,
        num_heads=heads,
        feed_forward_proj="gated-gelu" if gated else "relu",
        initializer_factor=1.0 if gated else 1.4,
        **_control_ids(),
        **others,
    )


def _t5_model(config: Any) -> Any:
    model = T5ForConditionalGeneration(config)
    # As drawn, embeddings outweigh what the layers add to them, and each token predicts itself.
    model.shared.weight.data.mul_(0.1)
    return model


def _llama_7b() -> Any:
    # The defaults of the class are the sizes of Llama 7B.
    return LlamaConfig(vocab_size=32_000, bos_token_id=None, **_control_ids())


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
        **_control_ids(),
    )


def _control_ids() -> dict[str, Any]:
    """Return those of the micro tokenizer."""
    return {"pad_token_id": 0, "eos_token_id": 1}


SHAPES = {
    "gpt2-29m": Shape(_gpt2(384, 5, 6), GPT2LMHeadModel),
    "gpt2-124m": Shape(_gpt2(768, 12, 12), GPT2LMHeadModel),
    "llama-135m": Shape(_llama_135m, LlamaForCausalLM),
    "t5-60m": Shape(_t5(512, 2048, 6, 8, gated=False), _t5_model),
    "gpt2-xl": Shape(_gpt2(1600, 48, 25), GPT2LMHeadModel, gpu=True),
    "llama-7b": Shape(_llama_7b, LlamaForCausalLM, gpu=True),
    "flan-t5-xl": Shape(_t5(2048, 5120, 24, 32, gated=True), _t5_model, gpu=True),
}
"""Models with random weights by name; a number in a name counts the parameters."""

KNOWN = (*MICRO, *SHAPES)
"""All names that `build_generator` takes, besides folders."""


def check_names(names: list[str], device: str) -> None:
    """Check that models are known or folders, given once each, and meant for a type of device.

    Raises:
        ValueError: One is not.
    """
    if not names or len(set(names)) != len(names):
        raise ValueError(f"Give models, each once; there are: {', '.join(KNOWN)}")
    unknown = [name for name in names if name not in KNOWN and not Path(name).is_dir()]
    if unknown:
        raise ValueError(
            f"There is no model {', '.join(unknown)}; there are: {', '.join(KNOWN)}, and folders "
            "of models"
        )
    large = [name for name in names if name in SHAPES and SHAPES[name].gpu]
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
    shape = SHAPES[name]
    config = shape.config()
    if dtype == "auto":
        dtype = "bfloat16" if shape.gpu else "float32"
    place = torch.device(choose_device(device))
    forked = [place] if place.type == "cuda" else []
    default = torch.get_default_dtype()
    with torch.random.fork_rng(devices=forked), place:
        torch.manual_seed(0)
        try:
            # Made where and as it is used: two copies of the largest would be tight.
            torch.set_default_dtype(getattr(torch, dtype))
            model = shape.model(config)
        finally:
            torch.set_default_dtype(default)
    return HFGenerator(model, widened_tokenizer(config.vocab_size), name=name)


def widened_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """Return the micro tokenizer with words of their own for the ids that it lacks.

    Texts are encoded as micro does, since no merge leads to the new words. An answer of random
    weights is made of nearly only such words, and is decoded to as many words as it has tokens:
    without them it would be decoded to nothing, and all answers would be alike.

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
