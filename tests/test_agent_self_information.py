"""Surprisals are those of the model, and the agent drops the least surprising units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from agent_fixtures import PREFIX, prompt_batch
from agents.self_information import SelfInformationAgent
from agents.surprisal import Surprisal

TEXTS = ["sort the 12 plums and apples, please", "hot or cold?", ""]


def by_hand(folder: Path, text: str) -> list[tuple[tuple[int, int], float]]:
    """Range and -log softmax of every token of a text, one prefix at a time."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = [tokenizer.bos_token_id, *encoded["input_ids"]]
    values = []
    for t in range(1, len(ids)):
        with torch.no_grad():
            logits = model(torch.tensor([ids[:t]])).logits[0, -1].double()
        values.append(float(torch.logsumexp(logits, 0) - logits[ids[t]]))
    return list(zip(encoded["offset_mapping"], values, strict=True))


@pytest.fixture(scope="module")
def surprisal(gpt2_folder: Path) -> Surprisal:
    return Surprisal(str(gpt2_folder), device="cpu")


def test_surprisal_of_a_token_is_minus_log_softmax(surprisal, gpt2_folder: Path) -> None:
    tokens = by_hand(gpt2_folder, TEXTS[0])
    (found,) = surprisal([TEXTS[0]], [[span for span, _ in tokens]])
    np.testing.assert_allclose(found, [value for _, value in tokens], rtol=1e-4)
    assert (found >= 0).all()


def test_a_token_of_several_units_is_split_by_characters(surprisal, gpt2_folder: Path) -> None:
    """Units of one character each: every character has its share of the token's surprisal."""
    text = TEXTS[0]
    (found,) = surprisal([text], [[(i, i + 1) for i in range(len(text))]])
    expected = np.zeros(len(text))
    for (start, end), value in by_hand(gpt2_folder, text):
        expected[start:end] += value / (end - start)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_unit_of_several_tokens_has_their_sum(surprisal, gpt2_folder: Path) -> None:
    text = TEXTS[0]
    values = [value for _, value in by_hand(gpt2_folder, text)]
    (whole,) = surprisal([text], [[(0, len(text))]])
    assert whole[0] == pytest.approx(sum(values), rel=1e-4)


def test_texts_of_a_batch_do_not_change_each_other(surprisal) -> None:
    spans = [[(0, 3), (3, len(text))] if text else [] for text in TEXTS]
    together = surprisal(TEXTS, spans)
    for text, own, expected in zip(TEXTS, spans, together, strict=True):
        np.testing.assert_allclose(surprisal([text], [own])[0], expected, rtol=1e-4)
    assert together[2].shape == (0,)


def test_encoder_decoders_are_refused(t5_folder: Path) -> None:
    with pytest.raises(ValueError, match="causal language model"):
        Surprisal(str(t5_folder), device="cpu")


def test_the_least_surprising_units_are_dropped(gpt2_folder: Path) -> None:
    observations, infos = prompt_batch(TEXTS)
    agent = SelfInformationAgent(rate=0.5, model=str(gpt2_folder), device="cpu")
    masks = agent.act(observations, infos)
    text, spans = infos[0]["prompt"], infos[0]["spans"]
    share = np.zeros(len(text))
    for (start, end), value in by_hand(gpt2_folder, text):
        share[start:end] += value / (end - start)
    information = [share[a:b].sum() for a, b in spans[1:8]]
    assert text[: spans[1, 0]] == PREFIX
    assert set(np.flatnonzero(masks[0, 1:8] == 0)) == set(np.argsort(information)[:3])
    np.testing.assert_array_equal(masks[:, 8:], 0)


@pytest.fixture(scope="module")
def agent(gpt2_folder: Path) -> SelfInformationAgent:
    return SelfInformationAgent(model=str(gpt2_folder), device="cpu")


@settings(max_examples=15)
@given(rate=st.floats(0, 1), counts=st.lists(st.integers(0, 12), min_size=1, max_size=3))
def test_the_rate_is_met_exactly(agent, rate: float, counts: list[int]) -> None:
    observations, infos = prompt_batch([" ".join("abcdefghijkl"[:n]) for n in counts], 10)
    agent.rate = rate
    masks = agent.act(observations, infos)
    droppable = observations["droppable"].astype(bool)
    dropped = (droppable & (masks == 0)).sum(1)
    np.testing.assert_array_equal(dropped, np.floor(rate * droppable.sum(1) + 1e-9))
    assert (masks[:, 0] == 1).all()


def test_the_model_is_loaded_late_and_settings_are_checked_early() -> None:
    SelfInformationAgent(model="no such folder")
    with pytest.raises(ValueError, match="rate must be a share"):
        SelfInformationAgent(rate=1.5)
