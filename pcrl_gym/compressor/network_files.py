"""Names of the files that hold a policy network."""

CONFIG_FILE = "network.json"
"""Architecture of the network."""

WEIGHTS_FILE = "network.safetensors"
"""Weights of the network."""

GRAPH_FILE = "network.onnx"
"""Optional ONNX graph of the network, without the weights."""
