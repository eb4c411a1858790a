"""Runs models under fixed torch settings, independent of the caller's settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from pcrl_gym.process_state import Undo, hold

_AUTOCAST = ("cpu", "cuda", "mps", "xpu")


# Getter, setter, and initial value of a process-wide setting.
_Setting = tuple[Callable[[], Any], Callable[[Any], object], Any]


def _precision(backend: str, operator: str, initial: str = "none") -> _Setting:
    # torch.set_float32_matmul_precision and every `allow_tf32` set these values.
    read = partial(torch._C._get_fp32_precision_getter, backend, operator)
    return read, partial(torch._C._set_fp32_precision_setter, backend, operator), initial


def _matmul(name: str, initial: bool) -> _Setting:
    owner = torch.backends.cuda.matmul
    return partial(getattr, owner, name), partial(setattr, owner, name), initial


def _read_deterministic() -> tuple[bool, bool]:
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    return torch.are_deterministic_algorithms_enabled(), warn_only


def _write_deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


_cuda = torch.backends.cuda
_SETTINGS: tuple[_Setting, ...] = (
    (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    (_read_deterministic, _write_deterministic, (False, False)),
    # From general to specific: an unset value reads as the more general one.
    _precision("generic", "all"),
    _precision("mkldnn", "all"),
    _precision("mkldnn", "matmul"),
    _precision("mkldnn", "conv"),
    _precision("cuda", "all"),
    _precision("cuda", "matmul"),
    _precision("cuda", "conv", "tf32"),
    _matmul("allow_fp16_reduced_precision_reduction", True),
    _matmul("allow_bf16_reduced_precision_reduction", True),
    _matmul("allow_fp16_accumulation", False),
    (_cuda.flash_sdp_enabled, _cuda.enable_flash_sdp, True),
    (_cuda.mem_efficient_sdp_enabled, _cuda.enable_mem_efficient_sdp, True),
    (_cuda.math_sdp_enabled, _cuda.enable_math_sdp, True),
    (_cuda.cudnn_sdp_enabled, _cuda.enable_cudnn_sdp, True),
)


@contextmanager
def initial_settings() -> Iterator[None]:
    """Run a block under torch's initial settings, then restore the caller's.

    This covers autocast, default data type and device, float32 precision, deterministic algorithms,
    and attention kernels.
    """
    with ExitStack() as stack:
        for kind in _AUTOCAST:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device() != torch.device("cpu"):
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(hold("torch", _apply_initial))
        yield


@contextmanager
def own_state(model: nn.Module) -> Iterator[None]:
    """Run a block for inference: `initial_settings`, no gradients, no dropout."""
    with initial_settings(), hold(id(model), partial(_evaluate, model)), torch.inference_mode():
        yield


def _apply_initial() -> Undo:
    stack = ExitStack()
    for read, write, initial in _SETTINGS:
        if (value := read()) != initial:
            write(initial)
            stack.callback(write, value)
    return stack.close


def _evaluate(model: nn.Module) -> Undo:
    stack = ExitStack()
    for module in model.modules():
        if module.training:
            module.training = False
            stack.callback(setattr, module, "training", True)
    return stack.close
