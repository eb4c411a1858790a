"""Models to train from random weights, by name: shapes, and the tokenizer that goes with them."""

from __future__ import annotations

from typing import Any, NamedTuple


class Shape(NamedTuple):
    """The size of a model: of the T5 type with decoder layers, else of the GPT-2 type."""

    vocab: int  # most entries of the tokenizer
    width: int  # of the hidden states
    heads: int
    layers: int  # of a causal model, or of an encoder
    decoder_layers: int = 0
    dropout: float = 0.1  # only larger models see the data often enough in their time to overfit
    batch_tokens: int = 8_192  # of `Options`; few steps fit into an hour on a CPU
    positions: int = 1_024  # context of a causal model; an encoder-decoder has relative positions


SHAPES = {
    "gpt2-mini": Shape(8_192, 256, 8, 6, dropout=0.0, batch_tokens=1_024),
    "gpt2-small": Shape(16_384, 768, 12, 12),
    "t5-mini": Shape(8_192, 256, 8, 5, 2, dropout=0.0, batch_tokens=1_024),
    "t5-small": Shape(16_384, 512, 8, 6, 6),
    "t5-medium": Shape(16_384, 768, 12, 8, 4),
}
"""By name. The mini ones (7 and 8 M parameters) are for one CPU core, `gpt2-small` (98 M) and
`t5-medium` (107 M) for a GPU."""


def build_shape(shape: Shape, tokenizer: Any, seed: int) -> Any:
    """Return a model of a shape with the same random weights every time; CPU, float32."""
    # Imported late: the command line lists the names.
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

    _, width, heads, layers, decoder_layers, drop, _, positions = shape
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    common: Any = {"vocab_size": len(tokenizer), "pad_token_id": pad, "eos_token_id": end}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if decoder_layers:
            t5 = T5Config(
                d_model=width, d_kv=width // heads, d_ff=4 * width, num_heads=heads,
                num_layers=layers, num_decoder_layers=decoder_layers, dropout_rate=drop,
                decoder_start_token_id=pad, **common,
            )  # fmt: skip
            return T5ForConditionalGeneration(t5)
        gpt2 = GPT2Config(
            n_positions=positions, n_embd=width, n_layer=layers, n_head=heads, bos_token_id=None,
            resid_pdrop=drop, embd_pdrop=drop, attn_pdrop=drop,
            activation_function="gelu_pytorch_tanh", **common,
        )  # fmt: skip
        return GPT2LMHeadModel(gpt2)
