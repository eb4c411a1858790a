"""Batches by length: every row once, within the budget, and smaller where memory is short."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from pcrl_gym.errors import GeneratorError
from pcrl_gym.generators.batching import TOKEN_BUDGET, Batcher, is_out_of_memory, token_budget
from pcrl_gym.generators.hf import HFGenerator


def batches_of(batcher: Batcher, sizes: list[int]) -> list[list[int]]:
    done: list[list[int]] = []
    batcher.run(sizes, done.append)
    return done


@given(st.lists(st.integers(1, 700), max_size=60), st.integers(1, 2_000))
def test_batches_hold_each_row_once_within_the_budget(sizes: list[int], tokens: int) -> None:
    batches = batches_of(Batcher("auto", tokens), sizes)
    assert sorted(i for batch in batches for i in batch) == list(range(len(sizes)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(sizes[i] for i in batch) <= tokens
    longest = [max(sizes[i] for i in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 90)), max_size=60))
def test_rows_of_a_batch_are_alike(rows: list[tuple[int, int]]) -> None:
    done: list[list[int]] = []
    Batcher("auto", 200).run([size for _, size in rows], done.append, rows)
    assert sorted(i for batch in done for i in batch) == list(range(len(rows)))
    assert [rows[i] for batch in done for i in batch] == sorted(rows, reverse=True)
    for batch in done:
        assert len(batch) == 1 or len(batch) * max(rows[i][1] for i in batch) <= 200


def test_a_fixed_batch_size_is_taken_as_it_is() -> None:
    assert [len(b) for b in batches_of(Batcher(2, 10), [5, 1, 9, 9, 3])] == [2, 2, 1]


@settings(max_examples=30)  # each out-of-memory error collects garbage
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=40),
    st.integers(50, 400),
    st.one_of(st.just("auto"), st.integers(1, 16)),
)
def test_running_out_of_memory_loses_no_row(
    sizes: list[int], room: int, batch_size: int | str
) -> None:
    done: list[int] = []
    tried: list[int] = []

    def run(batch: list[int]) -> None:
        tried.append(len(batch))
        if len(batch) * max(sizes[i] for i in batch) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        done.extend(batch)

    batcher = Batcher(batch_size, tokens=10_000)
    batcher.run(sizes, run)
    assert sorted(done) == list(range(len(sizes)))
    # What did not fit is not tried again: a second run of the same rows fails nowhere.
    before = len(tried)
    if batch_size == "auto":
        done.clear()
        batcher.run(sizes, run)
        assert sorted(done) == list(range(len(sizes)))
        assert len(tried) - before <= before


def test_a_row_that_does_not_fit_alone_is_told() -> None:
    def run(batch: list[int]) -> None:
        raise MemoryError

    with pytest.raises(MemoryError, match="one row of 7 tokens"):
        Batcher("auto", 100).run([7, 7, 7], run)


def test_other_errors_go_through() -> None:
    def run(batch: list[int]) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        Batcher("auto", 100).run([7, 7, 7], run)


def test_what_memory_errors_look_like() -> None:
    with pytest.raises(RuntimeError) as failure:
        torch.empty(1 << 60)  # more than any machine has
    assert is_out_of_memory(failure.value)
    assert not is_out_of_memory(ValueError("memory"))


def test_a_generator_answers_all_prompts_although_memory_runs_out(tmp_path, monkeypatch) -> None:
    generator = HFGenerator.from_pretrained(str(models.build("gpt2", tmp_path)), device="cpu")
    prompts = [f"Write the {n} words" for n in range(12)]
    expected = generator.generate(prompts, 5)
    forward, largest = generator.model.forward, []

    def short_of_memory(*args: object, **kwargs: torch.Tensor) -> object:
        if len(kwargs["input_ids"]) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        largest.append(len(kwargs["input_ids"]))
        return forward(*args, **kwargs)

    monkeypatch.setattr(generator.model, "forward", short_of_memory)
    assert generator.generate_from(prompts, [""] * 12, 5) == expected
    assert 1 < max(largest) <= 3
    assert generator.generate(prompts, 5) == expected
    likelihoods = generator.log_likelihood(prompts, expected)
    assert len(likelihoods) == 12


def test_a_prompt_for_which_there_is_no_memory_is_an_error(tmp_path, monkeypatch) -> None:
    generator = HFGenerator.from_pretrained(str(models.build("gpt2", tmp_path)), device="cpu")

    def no_memory(*args: object, **kwargs: object) -> object:
        raise MemoryError

    monkeypatch.setattr(generator.model, "forward", no_memory)
    with pytest.raises(GeneratorError, match="1 prompts of up to"):
        generator.generate_from(["a", "b"], ["", ""], 5)


def test_the_budget_of_a_cpu_is_fixed(tmp_path) -> None:
    generator = HFGenerator.from_pretrained(str(models.build("gpt2", tmp_path)), device="cpu")
    assert token_budget(generator.model) == TOKEN_BUDGET["cpu"]
