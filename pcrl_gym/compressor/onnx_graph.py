"""Export a policy network as ONNX graphs with external weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pcrl_gym.compressor.backends import load_network
from pcrl_gym.compressor.int8_graph import quantize
from pcrl_gym.compressor.network_files import GRAPH_FILE, INT8_GRAPH_FILE, WEIGHTS_FILE
from pcrl_gym.compressor.onnx_rater import OnnxRater
from pcrl_gym.compressor.torch_rater import TorchRater
from pcrl_gym.errors import MissingExtraError
from pcrl_gym.generators.torch_state import own_state

if TYPE_CHECKING:
    from pcrl_gym.compressor.network import KeepNetwork

_TOLERANCE = 1e-3
_INT8_TOLERANCE = 0.2
"""Root mean square of the errors of int8, relative to that of the logits."""


class _Rating(nn.Module):
    """The part of a network that a compressor uses: one batch of prompts, without values."""

    def __init__(self, network: KeepNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, input_ids: Tensor, droppable: Tensor, attended: Tensor | None = None
    ) -> Tensor:
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


def write_graphs(folder: Path) -> None:
    """Write two graphs of a saved network next to its weights: float32, and int8 for one prompt.

    Each weight in the file is an external initializer of the graphs with the same name. Inputs are
    `input_ids`, int64 (batch, units), `attention_mask` and `droppable`, bool (batch, units). The
    output is `logits`, float32 (batch, units). The int8 graph (see `int8_graph.quantize`) has batch
    size 1 and no `attention_mask`.

    Raises:
        ValueError: If the logits of ONNX Runtime differ from those of torch by more than rounding,
            or those of int8 by more than 20% of their root mean square.
    """
    import onnx

    network: Any = load_network(folder, "torch", "cpu")
    rating = _Rating(network.float()).eval()
    batch, one = _exported(rating, (2, 3)), _exported(rating, (1, 3))
    for proto, name in ((batch, GRAPH_FILE), (one, INT8_GRAPH_FILE)):
        _read_weights(proto, folder / WEIGHTS_FILE)
        if name == INT8_GRAPH_FILE:
            quantize(proto.graph)
        facts = {"vocabulary_size": network.vocabulary_size, "max_units": network.max_units or 0}
        onnx.helper.set_model_props(proto, {key: str(value) for key, value in facts.items()})
        (folder / name).write_bytes(proto.SerializeToString())
    _check_equal(network, folder)


def _read_weights(proto: Any, file: Path) -> None:
    """Replace a graph's weights by references to those of the file."""
    import onnx
    from safetensors import safe_open

    # Half-precision weights are loaded as float32.
    types = {"F16": onnx.TensorProto.FLOAT, "F32": onnx.TensorProto.FLOAT}
    types["I64"] = onnx.TensorProto.INT64
    with safe_open(file, framework="numpy") as opened:
        heads = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
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
        stored = {name: name for name in heads} | (opened.metadata() or {})
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


def _own_name(initializer: str) -> str:
    """Return the name of a weight without the prefix of `_Rating`."""
    return initializer.removeprefix("network.")


def _exported(rating: _Rating, shape: tuple[int, int]) -> Any:
    """Return the `ModelProto` of a rating, with its weights, for batches like one of the shape.

    One prompt has a batch size of 1 and no `attention_mask`.
    """
    units = torch.export.Dim("units", max=rating.network.max_units)
    every = torch.ones(shape, dtype=torch.bool)
    # The same tensor twice would become one input.
    example = {"input_ids": every.long(), "droppable": every}
    sizes = {1: units}
    if shape[0] > 1:
        example["attention_mask"] = every.clone()
        sizes[0] = torch.export.Dim("batch")
    given = tuple(example.values())
    with own_state(rating):
        program = torch.export.export(rating, given, dynamic_shapes=(sizes,) * len(given))
        # Optimization would replace the weights of the file with others.
        written: Any = torch.onnx.export(
            program, input_names=list(example), output_names=("logits",), optimize=False,
            verbose=False,
        )  # fmt: skip
    return written.model_proto


def _check_equal(network: KeepNetwork, folder: Path) -> None:
    """Compare the graphs with torch on batches of shapes that differ from the traced example."""
    ours, theirs, int8 = (
        TorchRater(network, "cpu"), OnnxRater(folder), OnnxRater(folder, INT8_GRAPH_FILE),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    largest, apart, squares, errors = 1.0, 0.0, 1e-12, 0.0
    for rows, longest in ((1, 1), (1, 5), (3, 17), (4, network.max_units or 64)):
        ids = rng.integers(0, network.vocabulary_size, (rows, longest))
        attended = np.arange(longest) < rng.integers(1, longest + 1, (rows, 1))
        droppable = attended & (rng.random((rows, longest)) < 0.5)
        expected = ours.rate(ids, attended, droppable)
        largest = max(largest, float(np.abs(expected).max()))
        apart = max(apart, float(np.abs(theirs.rate(ids, attended, droppable) - expected).max()))
        squares += float(np.square(expected).sum())
        errors += float(np.square(int8.rate(ids, attended, droppable) - expected).sum())
    rough = (errors / squares) ** 0.5
    if not (apart <= _TOLERANCE * largest and rough <= _INT8_TOLERANCE):
        raise ValueError(
            f"ONNX Runtime and torch disagree (logits differ by up to {apart:.2g}, and those of "
            f"int8 by {rough:.0%}), so this encoder cannot be exported: save the compressor with "
            "onnx=False"
        )
