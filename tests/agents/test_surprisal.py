"""Surprisals are minus log-probabilities, shared out to units by characters."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from agent_fixtures import by_hand
from agents.surprisal import MICRO_PROMPTS, Surprisal


@pytest.fixture(scope="module")
def surprisal(gpt2_folder: Path) -> Surprisal:
    return Surprisal.load(str(gpt2_folder), device="cpu")


def test_one_unit_per_token(surprisal: Surprisal, gpt2_folder: Path) -> None:
    text = "Sort the words b, c and a."
    tokens = by_hand(gpt2_folder, text)
    [nats] = surprisal([text], [[span for span, _ in tokens]])
    np.testing.assert_allclose(nats, [value for _, value in tokens], rtol=1e-4)


def test_units_of_several_tokens_and_parts_of_one(surprisal: Surprisal, gpt2_folder: Path) -> None:
    text = "Sort the words."
    tokens = by_hand(gpt2_folder, text)
    total = sum(value for _, value in tokens)
    [[whole]] = surprisal([text], [[(0, len(text))]])
    assert whole == pytest.approx(total, rel=1e-4)
    (start, end), value = next(item for item in tokens if item[0][1] - item[0][0] > 1)
    [[first]] = surprisal([text], [[(start, start + 1)]])
    assert first == pytest.approx(value / (end - start), rel=1e-4)


def test_batches_and_padding_change_nothing(surprisal: Surprisal) -> None:
    texts = ["a", "Sort the words b, c and a.", "", "one two three"]
    spans = [[(i, i + 1) for i in range(len(text))] for text in texts]
    together = surprisal(texts, spans)
    for text, own, nats in zip(texts, spans, together, strict=True):
        np.testing.assert_allclose(surprisal([text], [own])[0], nats, atol=1e-4)
        assert len(nats) == len(own)
        assert (nats >= 0).all()


def test_a_unit_without_characters_has_no_surprise(surprisal: Surprisal) -> None:
    [nats] = surprisal(["abc"], [np.array([(0, 3), (3, 3), (3, 3)])])
    assert nats[0] > 0
    assert nats[1:].tolist() == [0, 0]


def test_long_texts_go_through_in_windows(surprisal: Surprisal, gpt2_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(gpt2_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(gpt2_folder)
    context = model.config.n_positions - 1
    rng = np.random.default_rng(0)
    text = " ".join(rng.choice(["sort", "the", "fig", "not", "red"], 2 * context))
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    assert len(ids) > context + 5
    [nats] = surprisal([text], [[(start, end) for start, end in offsets]])
    start = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    # The last of the first window, and three that are scored in the second one, which begins half
    # a context before them.
    for place, first in ((context - 1, 0), *((context + i, context // 2) for i in range(3))):
        with torch.no_grad():
            logits = model(torch.tensor([[start, *ids[first:place]]])).logits[0, -1].double()
        expected = torch.logsumexp(logits, 0) - logits[ids[place]]
        assert nats[place] == pytest.approx(expected.item(), rel=1e-3)


def test_micro_has_a_model_of_its_prompts() -> None:
    """It expects prompts of micro: far below the log of its vocabulary per token."""
    text = "Instruction: Which word is the longest?\nInput: pear, banana, fig\nOutput: \n"
    model = Surprisal.load(MICRO_PROMPTS, device="cpu")
    tokens = len(model._encoder.encodings([text])[0].ids)
    [[nats]] = model([text], [[(0, len(text))]])
    assert nats / tokens < 0.6 * math.log(1536)


def test_encoder_decoders_are_refused(t5_folder: Path) -> None:
    with pytest.raises(ValueError, match="causal language model"):
        Surprisal.load(str(t5_folder), device="cpu")
