"""Load a saved policy network with torch or ONNX Runtime."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from pcrl_gym.compressor.network_files import GRAPH_FILE, INT8_GRAPH_FILE
from pcrl_gym.compressor.onnx_rater import OnnxRater
from pcrl_gym.errors import MissingExtraError

if TYPE_CHECKING:
    from pcrl_gym.compressor.network import KeepNetwork
    from pcrl_gym.compressor.windows import Rater

Backend: TypeAlias = Literal["auto", "torch", "onnx", "int8"]


def check_backend(backend: str, device: str) -> None:
    """Check that a backend exists and supports the device, before anything is loaded.

    Raises:
        ValueError: If the backend is unknown or does not support the device.
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be 'auto', 'torch', 'onnx', or 'int8', got {backend!r}")
    if backend in ("onnx", "int8") and device not in ("auto", "cpu"):
        raise ValueError(
            f"backend={backend!r} runs on the CPU: device must be 'auto' or 'cpu', got {device!r}"
        )


def load_network(folder: Path, backend: Backend, device: str) -> KeepNetwork | OnnxRater:
    """Return the network of a saved compressor; see `Compressor.from_pretrained`.

    Raises:
        MissingExtraError: If the backend is not installed.
        ValueError: If the network cannot be loaded, or there is no such device.
    """
    has_torch = find_spec("torch") is not None
    if backend == "auto" and not has_torch and (folder / GRAPH_FILE).is_file():
        backend = "onnx"
    if backend in ("onnx", "int8"):
        check_backend(backend, device)
        return OnnxRater(folder, INT8_GRAPH_FILE if backend == "int8" else GRAPH_FILE)
    if not has_torch:
        raise MissingExtraError(
            f"loading {folder} needs torch, because it has no {GRAPH_FILE}: pip install torch"
            if backend == "auto"
            else "backend='torch' needs torch: pip install torch"
        )
    import torch

    from pcrl_gym.compressor.network import KeepNetwork
    from pcrl_gym.generators.pretrained import choose_device

    choose_device(device)
    with torch.random.fork_rng(devices=[]):  # weights are initialized before they are loaded
        return KeepNetwork.from_pretrained(folder)


def make_rater(network: KeepNetwork | OnnxRater, device: str) -> Rater:
    """Return a rater for a network on a device.

    Raises:
        ValueError: If there is no such device, or ONNX Runtime does not run on it.
    """
    if isinstance(network, OnnxRater):
        check_backend("onnx", device)
        return network
    from pcrl_gym.compressor.torch_rater import TorchRater

    return TorchRater(network, device)
