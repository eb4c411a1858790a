"""Invented facts, and the questions about them."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcrl_gym.instruct.data import held_out_texts
from pcrl_gym.instruct.fact_tasks import arranged, fact_tasks
from pcrl_gym.instruct.filters import without_duplicates

SEEDS = st.integers(0, 2**32)


@given(SEEDS)
def test_equal_seeds_give_equal_prompts_without_open_slots(seed: int) -> None:
    first, second = (list(fact_tasks(3, Random(seed))) for _ in range(2))
    assert first == second
    for prompt in first:
        text = prompt.instruction + prompt.input
        slots = ("{x}", "{v}", "{one}", "{column}", "{of}", "{Of}", "{fact}")
        assert [slot for slot in slots if slot in text] == []


@given(SEEDS, st.sampled_from(["Rosa sang.", "a,b\n1,2"]))
def test_a_layout_keeps_question_and_material(seed: int, material: str) -> None:
    row = arranged("Who sang?", material, Random(seed))
    text = f"{row['instruction']}\n\n{row['input']}"
    assert text.count("Who sang?") == text.count(material) == 1


def test_prompts_are_varied_and_unlike_the_held_out_ones() -> None:
    prompts = list(fact_tasks(400, Random(0)))
    texts = [f"{prompt.instruction} {prompt.input}" for prompt in prompts]
    assert len(without_duplicates(texts, held_out_texts())) > 0.9 * len(texts)
    assert len({len(text.split()) for text in texts}) > 60


@pytest.mark.parametrize("form", ["| --- |", "Question: ", "\n\nHello", '{"', "Dear "])
def test_each_form_occurs(form: str) -> None:
    prompts = fact_tasks(400, Random(1))
    assert any(form in f"{prompt.instruction}\n\n{prompt.input}" for prompt in prompts)
