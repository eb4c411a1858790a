"""Names of the files that hold a policy network."""

CONFIG_FILE = "network.json"
"""Architecture of the network."""

WEIGHTS_FILE = "network.safetensors"
"""Weights of the network."""

GRAPH_FILE = "network.onnx"
"""Optional ONNX graph of the network, without the weights."""

INT8_GRAPH_FILE = "network.int8.onnx"
"""Optional ONNX graph that multiplies 8-bit integers, for one prompt at a time."""
