"""Models to train from random weights, by name: shapes, and the tokenizer that goes with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """The size of a model: of the T5 type with decoder layers, else of the GPT-2 type."""

    vocab: int  # most entries of the tokenizer
    width: int  # of the hidden states
    heads: int
    layers: int  # of a causal model, or of an encoder
    decoder_layers: int = 0
    dropout: float = 0.1  # only larger models see the data often enough in their time to overfit
    batch_tokens: int = 8_192  # of `Options`; few steps fit into an hour on a CPU
    positions: int = 1_024  # context of a causal model; an encoder-decoder has relative positions


_MINI: Any = {"vocab": 8_192, "width": 256, "heads": 8, "dropout": 0.0, "batch_tokens": 1_024}
SHAPES = {
    "gpt2-mini": Shape(layers=6, **_MINI),
    "gpt2-small": Shape(vocab=16_384, width=768, heads=12, layers=12),
    "t5-mini": Shape(layers=5, decoder_layers=2, **_MINI),
    "t5-small": Shape(vocab=16_384, width=512, heads=8, layers=6, decoder_layers=6),
    "t5-medium": Shape(vocab=16_384, width=768, heads=12, layers=8, decoder_layers=4),
}
"""By name. The mini ones (7 and 8 M parameters) are for one CPU core, `gpt2-small` (98 M) and
`t5-medium` (107 M) for a GPU."""


def build_shape(shape: Shape, tokenizer: Any, seed: int) -> Any:
    """Return a model of a shape with the same random weights every time; CPU, float32."""
    # Imported late: the command line lists the names.
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    common: Any = {"vocab_size": len(tokenizer), "pad_token_id": pad, "eos_token_id": end}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if shape.decoder_layers:
            t5 = T5Config(
                d_model=shape.width, d_kv=shape.width // shape.heads, d_ff=4 * shape.width,
                num_layers=shape.layers, num_decoder_layers=shape.decoder_layers,
                num_heads=shape.heads, dropout_rate=shape.dropout, decoder_start_token_id=pad,
                **common,
            )  # fmt: skip
            return T5ForConditionalGeneration(t5)
        gpt2 = GPT2Config(
            n_positions=shape.positions, n_embd=shape.width, n_layer=shape.layers,
            n_head=shape.heads, activation_function="gelu_pytorch_tanh", resid_pdrop=shape.dropout,
            embd_pdrop=shape.dropout, attn_pdrop=shape.dropout, bos_token_id=None, **common,
        )  # fmt: skip
        return GPT2LMHeadModel(gpt2)
