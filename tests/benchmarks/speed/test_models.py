from __future__ import annotations

import pytest
import torch

from benchmarks.speed import models
from benchmarks.speed.models import SHAPES, build_generator, widened_tokenizer
from pcrl_gym.episodes.tokenizers import load_tokenizer


def test_widened_tokenizer_reads_like_micro_and_writes_a_word_per_id():
    micro, wide = load_tokenizer("micro"), widened_tokenizer(2_000)
    text = "Instruction: sort 3, 1 and 2 w1999\nInput: \nOutput:"
    assert len(wide) == 2_000
    assert wide(text)["input_ids"] == micro(text)["input_ids"]
    assert wide.decode([1_999, 1_536]) == " w1999 w1536"


def test_random_models_are_the_same_every_time(monkeypatch):
    sizes = {"vocab_size": 1_600, "n_embd": 8, "n_layer": 1, "n_head": 1}
    monkeypatch.setitem(SHAPES, "tiny", SHAPES["gpt2-29m"] | sizes)
    monkeypatch.setattr(models, "GPU_SHAPES", ("tiny",))
    before = torch.random.get_rng_state()
    first, again = (build_generator("tiny", "cpu").model.state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert first["transformer.wte.weight"].dtype is torch.bfloat16
    assert torch.get_default_dtype() is torch.float32
    assert torch.equal(before, torch.random.get_rng_state())


def test_shapes_have_the_sizes_of_their_models():
    millions = {
        "gpt2-29m": 28.6, "gpt2-124m": 124.4, "llama-135m": 134.5, "t5-60m": 60.5,
        "gpt2-xl": 1_557.6, "llama-7b": 6_738.4, "flan-t5-xl": 2_784.0,
    }  # fmt: skip
    assert millions.keys() == SHAPES.keys()
    with torch.device("meta"):
        found = {name: models.random_model(name, "float32") for name in SHAPES}
    sizes = {name: sum(p.numel() for p in own.parameters()) / 1e6 for name, own in found.items()}
    assert sizes == pytest.approx(millions, abs=0.06)
