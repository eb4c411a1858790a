"""Exceptions of `pcrl_gym`, all derived from `PcrlError`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PcrlError(Exception):
    """Base class of the errors that `pcrl_gym` raises on purpose."""


class DatasetError(PcrlError, ValueError):
    """A dataset cannot be read, or one of its rows violates the schema."""


class PromptTooLongError(PcrlError, ValueError):
    """A prompt does not fit the generator's context."""


class RunFolderError(PcrlError, ValueError):
    """The folder of a training or benchmark run holds another run, is damaged, or is in use."""


class UnknownArgumentError(PcrlError, ValueError, TypeError):
    """A keyword argument that does not exist.

    It is a TypeError, too, like Python's own: clients such as TorchRL try arguments out.
    """


class GeneratorError(PcrlError, RuntimeError):
    """A generator failed to answer; a failure never becomes a reward.

    Args:
        *args: The message.
        prompt: The prompt text that failed, if there was only one.
        prompts: The prompt texts that failed, if there were several.

    Attributes:
        prompts: The prompt texts that failed, as far as they are known.
    """

    def __init__(
        self, *args: object, prompt: str | None = None, prompts: Iterable[str] = ()
    ) -> None:
        super().__init__(*args)
        self.prompts = tuple(prompts) if prompt is None else (prompt,)

    @property
    def prompt(self) -> str | None:
        """The prompt text that failed, if there was only one."""
        return self.prompts[0] if len(self.prompts) == 1 else None


class BudgetExceededError(GeneratorError):
    """A generator has used up its budget of requests or tokens; no more requests are sent."""


class TrainingDivergedError(PcrlError, RuntimeError):
    """A reward, loss, or weight is not finite; later results cannot be trusted."""


class MissingExtraError(PcrlError, ImportError):
    """A feature needs an optional dependency that is not installed."""


def excerpt(text: str, size: int = 60) -> str:
    """Return a text, truncated to at most `size` characters for error messages."""
    return text if len(text) <= size else text[: size - 3] + "..."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: similar names, or else all known names.

    Known names may be dotted; the part after the last dot is also compared.

    >>> did_you_mean("generater", ["dataset", "generator"])
    '; did you mean generator?'
    >>> did_you_mean("rate", ["learn.rate", "learn.steps"])
    '; did you mean learn.rate?'
    >>> did_you_mean("foo", ["dataset", "generator"])
    '; known: dataset, generator'
    """
    known = list(known)
    ends = {full.rpartition(".")[2]: full for full in known}
    near = difflib.get_close_matches(name, known)
    near += [ends[end] for end in difflib.get_close_matches(name.rpartition(".")[2], ends)]
    similar = " or ".join(list(dict.fromkeys(near))[:3])
    return f"; did you mean {similar}?" if similar else f"; known: {', '.join(known)}"
