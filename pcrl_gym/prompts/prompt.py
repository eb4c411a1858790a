"""The prompt: an instruction with its input and, if known, its gold answer."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Prompt:
    """One row of a dataset.

    Attributes:
        id: ID of the prompt, unique within its dataset.
        instruction: The task for the generator; may be empty if the input is self-contained.
        input: The input of the task; empty if the instruction is self-contained. Datasets reject
            prompts in which both are empty.
        output: Gold answer; empty if unknown.
        source: Task family or origin of the row; empty if unknown.
        check: Programmatic check of an answer against the gold answer, see `scoring.checks`; empty
            if there is none.

    Raises:
        ValueError: If a field is not a string or contains half a surrogate pair, which no tokenizer
            and no file can represent.

    Example:
        >>> Prompt(id="0", instruction="Sort the numbers.", input="3 1 2", output="1 2 3").input
        '3 1 2'
    """

    id: str
    instruction: str
    input: str = ""
    output: str = ""
    source: str = ""
    check: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            problem = text_problem(getattr(self, field.name))
            if problem:
                raise ValueError(f"Prompt.{field.name} {problem}")


def text_problem(value: object) -> str:
    """Return why a value cannot be the text of a prompt, or "" if it can.

    Example:
        >>> text_problem("fine")
        ''
        >>> text_problem(3)
        'must be a string, got int'
    """
    if not isinstance(value, str):
        return f"must be a string, got {type(value).__name__}"
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return f"is not valid Unicode: unpaired surrogate at character {error.start}"
    return ""
