"""Turn the matrix products of an ONNX graph into products of 8-bit integers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

_LEVELS = 64.0
"""Largest quantized weight. x86 processors without VNNI add two products of an activation (at most
255) and a weight in 16 bits, which hold up to 32767; `2 * 255 * 64 = 32640`."""
_NARROW = 16
"""Products with fewer outputs cost next to nothing, so they stay in float32."""


def quantize(graph: GraphProto) -> None:
    """Replace `MatMul(x, Transpose(weight))` by an integer product, for each weight of the graph.

    Weights get one scale per output, `max |weight| / 64`, and activations one scale and zero point
    per call (ONNX's `DynamicQuantizeLinear`), which is why a call must have one prompt: others in
    the batch would change its numbers. The scales are computed from the float weights when the
    graph is loaded, so the graph fits any weights of the same network.
    """
    from onnx import TensorProto, helper

    outputs = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    wide = {
        node.output[0]
        for node in graph.node
        if node.op_type == "Transpose" and outputs.get(node.input[0], 0) >= _NARROW
    }
    constants = [
        helper.make_tensor("int8.levels", TensorProto.FLOAT, [], [_LEVELS]),
        # Avoids a division by zero where all weights of an output are zero.
        helper.make_tensor("int8.least", TensorProto.FLOAT, [], [1e-12]),
        helper.make_tensor("int8.axis", TensorProto.INT64, [1], [0]),
    ]
    nodes: list[NodeProto] = []
    for node in graph.node:
        integer = node.op_type == "MatMul" and node.input[1] in wide
        nodes.extend(_integer_product(node) if integer else [node])
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)


def _integer_product(node: NodeProto) -> Iterator[NodeProto]:
    from onnx import TensorProto, helper

    values, weight = node.input
    [product] = node.output

    def own(name: str) -> str:
        return f"{product}.{name}"

    def make(operator: str, inputs: list[str], name: str, **settings: Any) -> NodeProto:
        return helper.make_node(operator, inputs, [own(name)], **settings)

    yield make("Abs", [weight], "size")
    yield make("ReduceMax", [own("size"), "int8.axis"], "largest", keepdims=0)
    yield make("Div", [own("largest"), "int8.levels"], "step")
    yield make("Max", [own("step"), "int8.least"], "weight_scale")
    yield make("Sub", [own("step"), own("step")], "nothing")
    yield make("Cast", [own("nothing")], "weight_zero", to=TensorProto.INT8)
    quantized = [weight, own("weight_scale"), own("weight_zero")]
    yield make("QuantizeLinear", quantized, "weight_int8", axis=1)
    parts = [own(name) for name in ("int8", "scale", "zero")]
    yield helper.make_node("DynamicQuantizeLinear", [values], parts)
    yield make("MatMulInteger", [parts[0], own("weight_int8"), parts[2]], "integers")
    yield make("Cast", [own("integers")], "floats", to=TensorProto.FLOAT)
    yield make("Mul", [parts[1], own("weight_scale")], "scales")
    yield helper.make_node("Mul", [own("floats"), own("scales")], [product])
