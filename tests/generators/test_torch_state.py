"""What the caller has set in torch reaches neither generators nor policies, and is put back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.generators.base import Answer
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.generators.torch_state import initial_settings, own_state

PROMPTS = ["Instruction: Sort the words.\nInput: pear fig\nOutput: \n", "Is it true?"]
TEXT = "Could you please sort these words: pear, fig and 12 plums"

precision = torch._C._get_fp32_precision_getter


def state() -> list[Any]:
    """All that the caller may have set."""
    cuda = torch.backends.cuda
    return [
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cuda.flash_sdp_enabled(),
        cuda.mem_efficient_sdp_enabled(),
        cuda.math_sdp_enabled(),
        cuda.matmul.allow_bf16_reduced_precision_reduction,
        precision("generic", "all"),
        *(precision(kind, op) for kind in ("cuda", "mkldnn") for op in ("all", "matmul", "conv")),
    ]


def setting(
    write: Callable[[Any], object], value: Any, before: Any
) -> Callable[[], AbstractContextManager[None]]:
    @contextlib.contextmanager
    def changed() -> Iterator[None]:
        write(value)
        try:
            yield
        finally:
            write(before)

    return changed


def matmul(name: str) -> Callable[[Any], None]:
    return lambda value: setattr(torch.backends.cuda.matmul, name, value)


CALLERS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "double": setting(torch.set_default_dtype, torch.float64, torch.float32),
    "half": setting(torch.set_default_dtype, torch.float16, torch.float32),
    "device": setting(torch.set_default_device, "meta", None),
    "a device for a while": lambda: torch.device("meta"),
    "precision": setting(torch.set_float32_matmul_precision, "medium", "highest"),
    "tf32": setting(matmul("allow_tf32"), True, False),
    "reduction": setting(matmul("allow_bf16_reduced_precision_reduction"), False, True),
    "new precision": setting(
        lambda v: setattr(torch.backends, "fp32_precision", v), "tf32", "none"
    ),
    "deterministic": setting(torch.use_deterministic_algorithms, True, False),
    "gradients": lambda: torch.set_grad_enabled(True),
    "inference": torch.inference_mode,
    "one kernel": lambda: sdpa_kernel(SDPBackend.MATH),
}

Results = tuple[list[Answer], list[Answer], list[float], list[int], str]


@pytest.fixture(scope="module")
def generator() -> HFGenerator:
    made = load_generator("micro", device="cpu")
    assert isinstance(made, HFGenerator)
    return made


@pytest.fixture(scope="module")
def compressor() -> Compressor:
    return Compressor.from_pretrained("micro", device="cpu")


def results(generator: HFGenerator, compressor: Compressor) -> Results:
    answers = generator.generate(PROMPTS, 6)
    return (
        answers,
        generator.generate_from(PROMPTS, answers[::-1], 6),
        generator.log_likelihood(PROMPTS, answers),
        generator.count_tokens(PROMPTS),
        str(compressor(TEXT).keep_probabilities),
    )


@pytest.fixture(scope="module")
def expected(generator: HFGenerator, compressor: Compressor) -> Results:
    return results(generator, compressor)


@pytest.mark.parametrize("caller", CALLERS)
def test_results_do_not_depend_on_the_caller(
    caller: str, generator: HFGenerator, compressor: Compressor, expected: Results
) -> None:
    with CALLERS[caller]():
        before = state()
        assert results(generator, compressor) == expected
        assert state() == before


@pytest.mark.parametrize("caller", ["autocast", "half", "device", "a device for a while"])
def test_loading_does_not_depend_on_the_caller(
    caller: str, generator: HFGenerator, compressor: Compressor, expected: Results
) -> None:
    with CALLERS[caller]():
        made = load_generator("micro", device="cpu")
        policy = Compressor.from_pretrained("micro", device="cpu")
        assert isinstance(made, HFGenerator)
        assert results(made, policy) == expected


def test_a_model_that_is_set_to_training_answers_without_dropout(
    generator: HFGenerator, compressor: Compressor, expected: Results
) -> None:
    modules = [*generator.model.modules(), *compressor.network.modules()]
    before = [module.training for module in modules]
    try:
        for part in (generator.model, compressor.network.encoder):
            part.train()
            for module in part.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.5
        assert results(generator, compressor) == expected
        assert generator.model.training
        assert compressor.network.encoder.training
    finally:
        for module, mode in zip(modules, before, strict=True):
            module.training = mode


def test_no_random_numbers_are_drawn(generator: HFGenerator, compressor: Compressor) -> None:
    before = torch.get_rng_state()
    results(generator, compressor)
    Compressor.from_pretrained("micro", device="cpu")
    load_generator("micro", device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_state_is_put_back_after_an_error() -> None:
    model = torch.nn.Linear(2, 2)
    with CALLERS["half"](), CALLERS["precision"]():
        before = state()
        with pytest.raises(KeyError), own_state(model):
            raise KeyError
        assert state() == before
    assert model.training


def test_threads_share_the_initial_settings() -> None:
    """The last thread to leave puts the caller's settings back, in whatever order they leave."""
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with initial_settings():
            entered.set()
            leave.wait()

    with CALLERS["half"]():
        thread = threading.Thread(target=other)
        with initial_settings():
            thread.start()
            entered.wait()
        assert torch.get_default_dtype() is torch.float32  # the other one still works
        leave.set()
        thread.join()
        assert torch.get_default_dtype() is torch.float16
