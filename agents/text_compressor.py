"""Agent that wraps any text compressor, in its own process and optionally environment."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from agents.base import check_share
from pcrl_gym.compressor.worker_process import (
    CompressorFailure,
    WorkerProcess,
    environment_python,
)

if TYPE_CHECKING:
    from pcrl_gym.envs.task import Task


class TextCompressorAgent:
    """Replaces the user's text with the output of a compressor, which may rewrite it.

    If the compressor fails, the original is sent. See `Scorer.score_texts` for how texts are
    scored.

    Args:
        target: `module:function` from text to text, or `module:Class` with a method `compress`; by
            default one that changes nothing.
        rate: Passed as `rate=`; None lets the compressor decide.
        requirements: Requirements file of a separate environment; "" uses the current one.
        timeout: Maximum seconds per text, above 0.

    Raises:
        ValueError: If a setting is out of range or `target` is malformed, or, from `attach`, if the
            compressor cannot be imported, takes no rate although one is given, or its environment
            cannot be created.
    """

    name = "compressor"

    def __init__(
        self,
        target: str = "copy:copy",
        rate: float | None = None,
        requirements: str = "",
        timeout: Annotated[float, Field(gt=0)] = 60.0,
    ) -> None:
        module, _, name = target.partition(":")
        if not module or not name:
            raise ValueError(f"target must be module:function or module:Class, got {target!r}")
        self.target = target
        self.rate = None if rate is None else check_share("rate", rate)
        self.requirements = requirements
        self.timeout = timeout

    @cached_property
    def _worker(self) -> WorkerProcess:
        python = environment_python(self.requirements) if self.requirements else None
        return WorkerProcess(self.target, python, self.rate, self.timeout)

    def attach(self, task: Task) -> None:
        """Import the compressor, so that an invalid one fails before anything is answered."""
        self._worker.start()

    def rewrite(self, texts: Sequence[str]) -> list[str | None]:
        """Return the compressed texts; None where the compressor failed."""
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> str | None:
        try:
            return self._worker.compress(text)
        except CompressorFailure as error:
            warnings.warn(f"{self.target}: {error}; the original is sent", stacklevel=2)
            return None
