"""Rate units with ONNX Runtime, without importing torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcrl_gym.compressor.network_files import GRAPH_FILE, WEIGHTS_FILE
from pcrl_gym.errors import MissingExtraError
from pcrl_gym.storage.model_folder import check_weights, loading


class OnnxRater:
    """Rates units with a saved policy network; see `pcrl_gym.compressor.windows.Rater`.

    It runs on the CPU, in the calling thread.

    Args:
        folder: Folder of a compressor that was saved with `onnx=True`.
        graph: Name of the graph in the folder. Without an input `attention_mask`, it rates one
            prompt at a time.

    Raises:
        MissingExtraError: If ONNX Runtime is not installed.
        ValueError: If the folder has no graph, or it is broken or does not match the weights.
    """

    device = "cpu"

    def __init__(self, folder: Path, graph: str = GRAPH_FILE) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError(
                "the backends 'onnx' and 'int8' need ONNX Runtime: pip install onnxruntime"
            ) from error
        if not (folder / graph).is_file():
            raise ValueError(
                f"{folder} has no {graph}, which this backend needs: save the compressor "
                "again with save_pretrained(..., onnx=True) where torch is installed"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # avoids warnings about unused weights
        with loading("the network in", folder):
            weights = _weights(folder / WEIGHTS_FILE)
            # These share memory with the arrays, which must live as long as the session.
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(own) for own in weights.values()]
            options.add_external_initializers(list(weights), values)
            session: Any = onnxruntime.InferenceSession(
                (folder / graph).read_bytes(), options, providers=["CPUExecutionProvider"]
            )
            facts = session.get_modelmeta().custom_metadata_map
            self.vocabulary_size = int(facts["vocabulary_size"])
            self.max_units = int(facts["max_units"]) or None
            self._batched = "attention_mask" in {given.name for given in session.get_inputs()}
        self._weights, self._session = weights, session

    def rate(
        self,
        ids: NDArray[np.int64],
        attended: NDArray[np.bool_],
        droppable: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Return keep logits, float64 (batch, units).

        `attended` marks the first units of each prompt; the others are padding.
        """
        if self._batched:
            return self._run({"input_ids": ids, "attention_mask": attended, "droppable": droppable})
        logits = np.zeros(ids.shape)
        for row, units in enumerate(attended.sum(axis=1).tolist()):
            if units:
                own = np.s_[row : row + 1, :units]
                logits[own] = self._run({"input_ids": ids[own], "droppable": droppable[own]})
        return logits

    def _run(self, given: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
        [logits] = self._session.run(["logits"], given)
        wide: NDArray[np.float64] = logits.astype(np.float64)
        return wide


def _weights(file: Path) -> dict[str, NDArray[Any]]:
    """Return the weights of a network, with half precision converted to float32."""
    from safetensors.numpy import load_file

    check_weights(file)
    return {
        name: weight.astype(np.float32) if weight.dtype == np.float16 else weight
        for name, weight in load_file(file).items()
    }
