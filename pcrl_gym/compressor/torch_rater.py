"""Rate units with torch, with NumPy arrays as input and output."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pcrl_gym.compressor.network import KeepNetwork
from pcrl_gym.generators.pretrained import choose_device
from pcrl_gym.generators.torch_state import own_state


class TorchRater:
    """Rates units with a policy network; see `pcrl_gym.compressor.windows.Rater`.

    Args:
        network: The policy. It is moved to the device and set to evaluation mode.
        device: "auto" (a GPU if there is one), "cpu", "cuda", ...

    Raises:
        ValueError: If there is no such device.
    """

    def __init__(self, network: KeepNetwork, device: str = "auto") -> None:
        self.device = choose_device(device)
        self.vocabulary_size = network.vocabulary_size
        self.max_units = network.max_units
        self._network = network.to(self.device).eval()

    def rate(
        self,
        ids: NDArray[np.int64],
        attended: NDArray[np.bool_],
        droppable: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Return keep logits, float64 (batch, units)."""
        arrays = (ids, attended, droppable)
        with own_state(self._network):
            tensors = (torch.from_numpy(array).to(self.device) for array in arrays)
            logits: NDArray[np.float64] = self._network(*tensors)[0].cpu().double().numpy()
        return logits
