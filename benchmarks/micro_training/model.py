"""Setup of the micro generators before training: settings, tokenizer, models, optimizers."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import torch
import transformers

from pcrl_gym.episodes.tokenizers import train_byte_level
from pcrl_gym.micro.families import FAMILIES
from pcrl_gym.micro.tasks import draw
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import AlpacaTemplate


@dataclass(frozen=True)
class Config:
    """Settings that determine the weights of one generator."""

    kind: str
    steps: int = 11_200
    batch: int = 128
    pool: int = 16  # batches drawn together and sorted by length
    warmup: int = 200
    restart: int = 8_800  # step at which the learning rate is zero and restarts lower
    restart_rate: float = 0.3
    decay: float = 0.27  # share of the steps before `restart` in which the learning rate falls
    # Steps in which most prompts have no filler: they teach tasks at half the cost, earlier steps
    # teach skipping filler, and later ones both.
    short: tuple[int, int] = (3_600, 6_400)
    short_share: float = 0.85
    matrix_lr: float = 0.02
    other_lr: float = 3e-3
    vocab: int = 1536
    positions: int = 384
    seed: int = 0


def prompt_text(prompt: Prompt) -> str:
    """Return the text that a generator reads."""
    return AlpacaTemplate().render(prompt).text


def train_tokenizer(config: Config) -> transformers.PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer trained on micro prompts."""
    rng = Random(f"{config.seed}:tokenizer")
    prompts = [draw(rng, FAMILIES) for _ in range(30_000)]
    texts = [text for prompt in prompts for text in (prompt_text(prompt), " " + prompt.output)]
    return train_byte_level(texts, config.vocab, config.positions)


def build_model(config: Config) -> Any:
    """Return a randomly initialized generator: GPT-2 (1.9M parameters) or T5 (2.0M)."""
    torch.manual_seed(config.seed)  # runs in its own process, so no state to preserve
    # Eager, as the backward pass of fused attention takes over half of a CPU step (torch 2.13).
    if config.kind == "causal":
        gpt2 = transformers.GPT2Config(
            vocab_size=config.vocab, n_positions=config.positions, n_embd=160, n_layer=5, n_head=5,
            activation_function="gelu_pytorch_tanh",
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            bos_token_id=None, eos_token_id=1, pad_token_id=0,
        )  # fmt: skip
        return transformers.GPT2LMHeadModel._from_config(gpt2, attn_implementation="eager")
    decoder: dict[str, Any] = {"decoder_start_token_id": 0}  # missing in T5Config's signature
    t5 = transformers.T5Config(
        vocab_size=config.vocab, d_model=128, d_kv=32, d_ff=512, num_layers=5, num_decoder_layers=3,
        num_heads=4, relative_attention_num_buckets=64, relative_attention_max_distance=128,
        dropout_rate=0.0, eos_token_id=1, pad_token_id=0, **decoder,
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration._from_config(t5, attn_implementation="eager")


def optimizers(model: Any, config: Config) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices inside the blocks, and AdamW for the rest.

    T5 does not scale its attention logits: with Muon's large steps on its query and key matrices,
    they saturate, and copying is learned late.
    """
    outside = ("wte", "wpe", "shared", "lm_head", "relative_attention_bias", ".q.", ".k.")
    named = dict(model.named_parameters())
    slow = [p for n, p in named.items() if ".q." in n or ".k." in n]
    matrices = [p for n, p in named.items() if p.ndim == 2 and not any(o in n for o in outside)]
    others = [p for p in named.values() if p not in {*slow, *matrices}]
    rates = ((others, config.other_lr), (slow, config.other_lr / 3))
    groups = [{"params": own, "lr": lr} for own, lr in rates]
    return [
        torch.optim.Muon(matrices, lr=config.matrix_lr, weight_decay=0.01),
        torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0),
    ]
