"""Names of the files that hold a policy network."""

CONFIG_FILE = "network.json"
"""What the network is made of."""

WEIGHTS_FILE = "network.safetensors"
"""Its weights."""

GRAPH_FILE = "network.onnx"
"""What it computes, for ONNX Runtime, without the weights; not in every folder."""
