"""Exceptions of `pcrl_gym`; every one derives from `PcrlError`."""

from __future__ import annotations


class PcrlError(Exception):
    """Base class of the errors that `pcrl_gym` raises on purpose."""


class DatasetError(PcrlError, ValueError):
    """A dataset cannot be read, or one of its rows breaks the schema."""


class PromptTooLongError(PcrlError, ValueError):
    """A prompt does not fit into the context of the generator."""


class GeneratorError(PcrlError, RuntimeError):
    """A generator failed to answer; a failure never becomes a reward.

    Attributes:
        prompt: The text that it failed on, if it was a single one.
    """

    def __init__(self, *args: object, prompt: str | None = None) -> None:
        super().__init__(*args)
        self.prompt = prompt


class BudgetExceededError(GeneratorError):
    """A generator has used the requests or tokens it was allowed; nothing more is sent."""


class MissingExtraError(PcrlError, ImportError):
    """A feature needs an optional dependency that is not installed."""
