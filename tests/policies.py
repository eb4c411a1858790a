"""Small untrained compressors for tests."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from pcrl_gym.compressor.certificate import Certificate
from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.compressor.network import KeepNetwork, small_encoder
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import RenderedPrompt


def network(vocabulary: int, *, bias: float | None = None, seed: int = 0) -> KeepNetwork:
    """A network of random weights that keeps about half; with a bias, all units get that logit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = KeepNetwork(small_encoder(vocabulary, 16, 1, 2), initial_keep=0.5)
        with torch.no_grad():
            # Far apart, so that units differ in what becomes of them.
            made.keep_head[-1].weight.normal_(0.0, 0.0 if bias is not None else 4.0)
            made.droppable_embedding.weight.normal_()
            made.keep_head[-1].bias[1] = bias or 0.0
    return made.eval()


def compressor(tokenizer: PreTrainedTokenizerFast, **settings: Any) -> Compressor:
    """A compressor on the CPU; `bias` and `seed` go to the network."""
    made = {name: settings.pop(name) for name in ("bias", "seed") if name in settings}
    return Compressor(network(len(tokenizer), **made), tokenizer, device="cpu", **settings)


TEXT = "Could you please write these three words in reverse order: apple, banana, cherry"

CERTIFICATE = Certificate(
    rate=0.5,
    risk=0.1,
    confidence=0.9,
    prompts=100,
    lost=4,
    compression_ratio=0.375,
    lost_by=("likelihood", "check"),
    tolerance=0.1,
    max_new_tokens=30,
    data="toy, split train",
    data_sha256="ab" * 32,
    generator="fake",
    generator_fingerprint=None,
    date="2025-01-31",
    version="0.1.0",
)


class Shouting:
    name = "shouting"

    def render(self, prompt: Prompt) -> RenderedPrompt:
        return RenderedPrompt(f">{prompt.instruction.upper()}", ((0, 1),))
