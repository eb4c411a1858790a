from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from pcrl_gym.instruct import sampling
from pcrl_gym.instruct.sampling import sample

PROMPTS = [[5, 6, 7], [9], [5, 6, 7, 8, 9, 10]]


@pytest.fixture(scope="module")
def model(llama_folder: Path):  # type: ignore[no-untyped-def]
    return AutoModelForCausalLM.from_pretrained(llama_folder).eval()


def test_the_most_probable_tokens_are_those_of_generate(
    model,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    monkeypatch.setattr(sampling, "TOP_K", 1)
    found = sample(model, PROMPTS, 12, seed=0)
    for prompt, (tokens, ended) in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([prompt])
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
        )[0, len(prompt) :].tolist()
        end = model.config.eos_token_id
        assert tokens == [token for token in output if token != end]
        assert ended == (end in output)


def test_the_seed_decides_and_the_global_state_does_not(model) -> None:  # type: ignore[no-untyped-def]
    before = torch.random.get_rng_state()
    first = sample(model, PROMPTS, 10, seed=1)
    torch.rand(3)
    assert sample(model, PROMPTS, 10, seed=1) == first
    assert sample(model, PROMPTS, 10, seed=2) != first
    torch.random.set_rng_state(before)
