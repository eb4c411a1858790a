"""Exceptions of `pcrl_gym`; every one derives from `PcrlError`."""

from __future__ import annotations

from collections.abc import Iterable


class PcrlError(Exception):
    """Base class of the errors that `pcrl_gym` raises on purpose."""


class DatasetError(PcrlError, ValueError):
    """A dataset cannot be read, or one of its rows breaks the schema."""


class PromptTooLongError(PcrlError, ValueError):
    """A prompt does not fit into the context of the generator."""


class GeneratorError(PcrlError, RuntimeError):
    """A generator failed to answer; a failure never becomes a reward.

    Args:
        *args: The message.
        prompt: The text that it failed on, if it was a single one.
        prompts: The texts that it failed on, if there were several.

    Attributes:
        prompts: The texts that it failed on, as far as it knows.
    """

    def __init__(
        self, *args: object, prompt: str | None = None, prompts: Iterable[str] = ()
    ) -> None:
        super().__init__(*args)
        self.prompts = tuple(prompts) if prompt is None else (prompt,)

    @property
    def prompt(self) -> str | None:
        """The text that it failed on, if it was a single one."""
        return self.prompts[0] if len(self.prompts) == 1 else None


class BudgetExceededError(GeneratorError):
    """A generator has used the requests or tokens it was allowed; nothing more is sent."""


class MissingExtraError(PcrlError, ImportError):
    """A feature needs an optional dependency that is not installed."""


def excerpt(text: str, size: int = 60) -> str:
    """Returns a text, or as much of its beginning as an error message has room for."""
    return text if len(text) <= size else text[: size - 3] + "..."
