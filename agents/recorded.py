"""Keep masks from a file: what another training loop decided, in the same table."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import numpy as np

from agents.base import Infos, Observations, keep_masks


class RecordedAgent:
    """Keeps what a file says, by the prompt's id.

    A file has a line `{"prompt_id": ..., "keep": [1, 0, ...]}` per prompt, as
    `pcrl_gym.envs.recording.RecordMasks` writes it: a 1 for each unit of the window that is kept.
    The last line of a prompt counts.

    Args:
        path: The file, or a folder of such files, `*.jsonl`.

    Raises:
        ValueError: If, in `act`, the file is missing or damaged, lacks a prompt, or has a mask for
            another number of units.
    """

    name = "recorded"

    def __init__(self, path: str = "masks.jsonl") -> None:
        self.path = path

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return the masks of the file; see `agents.base.Agent.act`."""
        present = observations["attention_mask"].astype(bool)
        drop = np.zeros(present.shape, np.bool_)
        for row, info in enumerate(infos):
            prompt_id, units = info["prompt_id"], int(present[row].sum())
            if prompt_id not in self._masks:
                raise ValueError(
                    f"{self.path} has no mask for prompt {prompt_id!r}: record every prompt of the "
                    "suite's splits"
                )
            mask = self._masks[prompt_id]
            if len(mask) != units:
                raise ValueError(
                    f"the mask for prompt {prompt_id!r} in {self.path} has {len(mask)} units, but "
                    f"the prompt has {units} here: record with the suite's tokenizer, template, "
                    "and max_units"
                )
            drop[row, :units] = mask == 0
        return keep_masks(observations, drop)

    @cached_property
    def _masks(self) -> dict[str, np.ndarray]:
        path, masks = Path(self.path), {}
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path] * path.is_file()
        if not files:
            raise ValueError(f"there is no mask file at {path}: create one with RecordMasks")
        for file in files:
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                try:
                    row = json.loads(line)
                    masks[row["prompt_id"]] = np.array(row["keep"], np.int8)
                except (KeyError, TypeError, ValueError, OverflowError) as error:
                    raise ValueError(
                        f"line {number} of {file} is damaged: expected a JSON object with "
                        f"prompt_id and keep, got {line[:80]!r}"
                    ) from error
        return masks
