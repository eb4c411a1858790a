"""The prompt: one instruction with its input and, where it is known, its gold answer."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Prompt:
    """One row of a dataset.

    Attributes:
        id: Name of the prompt, unique within its dataset.
        instruction: What the generator is asked to do; may be empty if the input says it all.
        input: What the instruction is about; empty if the instruction says it all. Datasets refuse
            prompts in which both are empty.
        output: Gold answer; empty if unknown.
        source: Task family or origin of the row; empty if unknown.
        check: How a program checks an answer against the gold one, see `scoring.checks`; empty if
            it cannot.

    Raises:
        ValueError: If a field is not a string, or holds half a surrogate pair (no tokenizer and
            no file can hold such a string).

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
    """Say what keeps a value from being the text of a prompt; empty if nothing does.

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
            return f"is no valid Unicode: half a surrogate pair at character {error.start}"
    return ""
