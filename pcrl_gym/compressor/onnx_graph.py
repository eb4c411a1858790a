"""Export a policy network as an ONNX graph with external weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pcrl_gym.compressor.backends import load_network
from pcrl_gym.compressor.network_files import GRAPH_FILE, WEIGHTS_FILE
from pcrl_gym.compressor.onnx_rater import OnnxRater
from pcrl_gym.compressor.torch_rater import TorchRater
from pcrl_gym.errors import MissingExtraError
from pcrl_gym.generators.torch_state import own_state

if TYPE_CHECKING:
    from pcrl_gym.compressor.network import KeepNetwork

_INPUTS = ("input_ids", "attention_mask", "droppable")
_EXAMPLE = (2, 3)
_TOLERANCE = 1e-3


class _Rating(nn.Module):
    """The part of a network that a compressor uses: one batch of prompts, without values."""

    def __init__(self, network: KeepNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attended: Tensor, droppable: Tensor) -> Tensor:
        return self.network._rate(input_ids, attended, droppable)[0]


def check_onnx(weights: set[torch.dtype]) -> None:
    """Check that a graph can be exported for stored weights of these data types.

    Raises:
        MissingExtraError: If the packages for the export are not installed.
        ValueError: If NumPy, which reads the weights without torch, does not support a data type.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "onnx=True needs optional packages: pip install 'pcrl-gym[onnx]'"
        ) from error
    if foreign := weights - {torch.float32, torch.float16}:
        raise ValueError(
            "onnx=True needs torch.float32 or torch.float16 weights, got "
            f"{', '.join(sorted(map(str, foreign)))}: set dtype accordingly"
        )


def write_graph(folder: Path) -> None:
    """Write the graph of a saved network next to its weights.

    Each weight in the file is an external initializer of the graph with the same name. Inputs are
    `input_ids`, int64 (batch, units), `attention_mask` and `droppable`, bool (batch, units). The
    output is `logits`, float32 (batch, units).

    Raises:
        ValueError: If the logits of ONNX Runtime differ from those of torch.
    """
    import onnx
    from safetensors import safe_open

    # Half-precision weights are loaded as float32.
    types = {"F16": onnx.TensorProto.FLOAT, "F32": onnx.TensorProto.FLOAT}
    types["I64"] = onnx.TensorProto.INT64
    network: Any = load_network(folder, "torch", "cpu")
    proto = _exported(network)
    with safe_open(folder / WEIGHTS_FILE, framework="numpy") as file:
        heads = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        external = [
            onnx.TensorProto(
                name=name,
                data_type=types[head.get_dtype()],
                dims=head.get_shape(),
                data_location=onnx.TensorProto.EXTERNAL,
                # No file has this name, so no program can read other bytes for it.
                external_data=[{"key": "location", "value": f"{WEIGHTS_FILE}#{name}"}],
            )
            for name, head in heads.items()
        ]
        # Weights with two names in the network are stored under one.
        stored = {name: name for name in heads} | (file.metadata() or {})
    graph = proto.graph
    names = {tensor.name: stored.get(_own_name(tensor.name)) for tensor in graph.initializer}
    others = [tensor for tensor in graph.initializer if names[tensor.name] is None]
    del graph.initializer[:]
    graph.initializer.extend([*others, *external])
    for node in graph.node:
        node.input[:] = [names.get(name) or name for name in node.input]
        node.ClearField("metadata_props")  # source locations
    # ONNX Runtime rejects weights that no node reads.
    unread = set(heads) - {name for node in graph.node for name in node.input}
    graph.node.extend(
        onnx.helper.make_node("Shape", [name], [f"{name}.shape"]) for name in sorted(unread)
    )
    facts = {"vocabulary_size": network.vocabulary_size, "max_units": network.max_units or 0}
    onnx.helper.set_model_props(proto, {name: str(value) for name, value in facts.items()})
    (folder / GRAPH_FILE).write_bytes(proto.SerializeToString())
    _check_equal(network, folder)


def _own_name(initializer: str) -> str:
    """Return the name of a weight without the prefix of `_Rating`."""
    return initializer.removeprefix("network.")


def _exported(network: KeepNetwork) -> Any:
    """Return the `ModelProto` of a network, with its weights."""
    rating = _Rating(network.float()).eval()
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("units", max=network.max_units)}
    attended = torch.ones(_EXAMPLE, dtype=torch.bool)
    # The same tensor twice would become one input.
    example = (attended.long(), attended, attended.clone())
    with own_state(rating):
        program = torch.export.export(rating, example, dynamic_shapes=(sizes,) * len(example))
        # Optimization would replace the weights of the file with others.
        written: Any = torch.onnx.export(
            program, input_names=_INPUTS, output_names=("logits",), optimize=False, verbose=False
        )
    return written.model_proto


def _check_equal(network: KeepNetwork, folder: Path) -> None:
    """Compare both backends on batches of shapes that differ from the traced example."""
    ours, theirs = TorchRater(network, "cpu"), OnnxRater(folder)
    rng = np.random.default_rng(0)
    for rows, longest in ((1, 1), (1, 5), (3, 17), (4, network.max_units or 64)):
        ids = rng.integers(0, network.vocabulary_size, (rows, longest))
        attended = np.arange(longest) < rng.integers(1, longest + 1, (rows, 1))
        droppable = attended & (rng.random((rows, longest)) < 0.5)
        expected = ours.rate(ids, attended, droppable)
        apart = float(np.abs(theirs.rate(ids, attended, droppable) - expected).max())
        if not apart <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise ValueError(
                f"ONNX Runtime and torch disagree (logits differ by {apart:.2g}), so this encoder "
                "cannot be exported: save the compressor with onnx=False"
            )
