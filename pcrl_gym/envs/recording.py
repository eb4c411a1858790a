"""Wrappers that write keep masks into a file, from which `benchmarks run` makes a table row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv, VectorWrapper

Action = TypeVar("Action")


class MaskFile:
    """A new file of JSON lines, one per finished episode, complete after each call of `write`.

    A line is `{"prompt_id": ..., "keep": [...]}`, with a 1 for each unit that is kept.

    Args:
        path: The file to make.

    Raises:
        ValueError: If it exists already.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = path.open("x", encoding="utf-8")
        except FileExistsError:
            raise ValueError(
                f"{path} already exists: choose another file, or delete it first"
            ) from None

    def write(self, prompt_ids: Iterable[str], lengths: Any, kept: Any) -> None:
        """Add the masks of some prompts: `lengths` (n,) units each, `kept` (n, max_units)."""
        for prompt_id, length, mask in zip(prompt_ids, lengths, kept, strict=True):
            row = {"prompt_id": prompt_id, "keep": [int(bit) for bit in mask[:length]]}
            self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class RecordMasks(gym.Wrapper[Any, Action, Any, Action], RecordConstructorArgs):
    """Writes which units each finished episode kept, for a row in the table.

    Play every prompt of a suite's splits once, with a training loop of any kind and a file per
    split, and evaluate the folder: `python -m benchmarks run --suite micro --agents
    recorded:path=masks`. If a prompt was played several times, its last mask counts.

    Args:
        env: `PromptCompression-v0`, also inside wrappers that leave its infos as they are.
        path: The file to make, see `MaskFile`.

    Raises:
        ValueError: If the file exists already.

    Example:
        ```python
        env = RecordMasks(gym.make(id, split="validation_seen"), "masks/validation_seen.jsonl")
        for index in range(len(env.unwrapped.task.episodes)):
            observation, info = env.reset(options={"index": index})
            env.step(policy(observation))
        env.close()
        ```
    """

    def __init__(self, env: gym.Env[Any, Action], path: str | Path) -> None:
        RecordConstructorArgs.__init__(self, path=path)
        super().__init__(env)
        self._masks = MaskFile(path)
        self._prompt_id, self._length = "", 0

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(**arguments)
        self._prompt_id, self._length = info["prompt_id"], _length(info)
        return observation, info

    def step(self, action: Action) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step; the last one of an episode is written."""
        result = self.env.step(action)
        if result[2]:
            kept = (result[4]["action_mask"] > 0)[None]
            self._masks.write([self._prompt_id], [self._length], kept)
        return result

    def close(self) -> None:
        """Close file and environment."""
        self._masks.close()
        self.env.close()


class VectorRecordMasks(VectorWrapper, RecordConstructorArgs):
    """`RecordMasks` for the vector environment, with SAME_STEP autoreset."""

    def __init__(self, env: VectorEnv[Any, Any, Any], path: str | Path) -> None:
        RecordConstructorArgs.__init__(self, path=path)
        super().__init__(env)
        self._masks = MaskFile(path)
        self._infos: Mapping[str, Any] = {}

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """Begin the episodes."""
        observations, infos = self.env.reset(**arguments)
        self._infos = infos
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take a step; the last one of episodes is written."""
        result = self.env.step(actions)
        infos = result[4]
        if "final_info" in infos:
            begun = self._infos["action_mask"]
            kept = infos["final_info"]["action_mask"] > 0
            self._masks.write(self._infos["prompt_id"], (begun > 0).sum(1), kept)
            self._infos = infos
        return result

    def close(self, **arguments: Any) -> None:
        """Close file and environments."""
        self._masks.close()
        self.env.close(**arguments)


def _length(info: Mapping[str, Any]) -> int:
    """Return how many units the window shows at the start of an episode."""
    return int(np.count_nonzero(info["action_mask"]))
