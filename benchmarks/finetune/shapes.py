"""Models to train from random weights, by name: shapes, and the tokenizer that goes with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """The size of a model."""

    vocab: int  # most entries of the tokenizer
    width: int  # of the hidden states
    heads: int
    layers: int  # of a causal model, or of an encoder
    decoder_layers: int = 0  # 0 for a causal model
    dropout: float = 0.1  # only larger models see the data often enough in their time to overfit
    # Of `Options`: few steps fit into an hour on a CPU, so that batches are small there.
    batch_tokens: int = 8_192
    positions: int = 1_024  # context of a causal model; an encoder-decoder has relative positions

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether it is of the T5 type; else it is of the GPT-2 type."""
        return self.decoder_layers > 0


SHAPES = {
    "gpt2-mini": Shape(vocab=8_192, width=256, heads=8, layers=6, dropout=0.0, batch_tokens=1_024),
    "gpt2-small": Shape(vocab=16_384, width=768, heads=12, layers=12),
    "t5-mini": Shape(
        vocab=8_192, width=256, heads=8, layers=5, decoder_layers=2, dropout=0.0, batch_tokens=1_024
    ),
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

    control = {name: getattr(tokenizer, name) for name in ("pad_token_id", "eos_token_id")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if shape.is_encoder_decoder:
            t5 = T5Config(
                vocab_size=len(tokenizer),
                d_model=shape.width,
                d_kv=shape.width // shape.heads,
                d_ff=4 * shape.width,
                num_layers=shape.layers,
                num_decoder_layers=shape.decoder_layers,
                num_heads=shape.heads,
                dropout_rate=shape.dropout,
                **control | {"decoder_start_token_id": tokenizer.pad_token_id},
            )
            return T5ForConditionalGeneration(t5)
        gpt2 = GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=shape.positions,
            n_embd=shape.width,
            n_layer=shape.layers,
            n_head=shape.heads,
            activation_function="gelu_pytorch_tanh",
            resid_pdrop=shape.dropout,
            embd_pdrop=shape.dropout,
            attn_pdrop=shape.dropout,
            bos_token_id=None,
            **control,
        )
        return GPT2LMHeadModel(gpt2)
