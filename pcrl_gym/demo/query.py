"""A visitor's request to the demo, and the address that repeats it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from pcrl_gym.prompts.prompt import text_problem

_TEXTS = ("instruction", "input", "agent", "other")
MAX_CHARACTERS = 1000
"""Maximum number of characters of a prompt, instruction and input together.

An address holds up to 12 bytes per character, and servers reject those of more than 16,384.
"""


@dataclass(frozen=True, slots=True)
class Query:
    """A prompt and how to compress it.

    Attributes:
        instruction: The prompt's instruction.
        input: The prompt's input; may be empty.
        agent: Name of the agent. If empty, the first one on the page.
        other: Name of the agent shown beside it. If empty, there is none.
        rate: Share of the droppable units to drop, in [0, 1]. If None, the agent decides.

    Raises:
        ValueError: If the prompt is blank, longer than `MAX_CHARACTERS`, or not valid Unicode, or
            the rate is out of range. The message is shown to the visitor.

    Example:
        >>> query = Query("Sort, please.", "b a", agent="random", rate=0.25)
        >>> query.address
        '?instruction=Sort%2C+please.&input=b+a&agent=random&rate=0.25'
    """

    instruction: str
    input: str = ""
    agent: str = ""
    other: str = ""
    rate: float | None = None

    def __post_init__(self) -> None:
        for name in ("instruction", "input"):
            if problem := text_problem(getattr(self, name)):
                raise ValueError(f"The {name} {problem}")
        length = len(self.instruction) + len(self.input)
        if length > MAX_CHARACTERS:
            raise ValueError(
                f"This prompt has {length:,} characters, but instruction and input may have at "
                f"most {MAX_CHARACTERS:,} together: shorten it"
            )
        if not (self.instruction.strip() or self.input.strip()):
            raise ValueError("The prompt is empty: write an instruction")
        if self.rate is not None and not 0.0 <= self.rate <= 1.0:
            raise ValueError(f"The rate must be between 0 and 1, got {self.rate}")

    @property
    def address(self) -> str:
        """Query string of the address that restores this state, including the `?`."""
        fields = {name: getattr(self, name) for name in _TEXTS}
        if self.rate is not None:
            fields["rate"] = f"{self.rate:g}"
        return "?" + urlencode({name: value for name, value in fields.items() if value})

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> Query | None:
        """Return the query from an address, or None if it holds no prompt.

        Unknown parameters are ignored.

        Raises:
            ValueError: If a value is invalid; see the class.
        """
        if not {"instruction", "input"} & set(parameters):
            return None
        rate = parameters.get("rate")
        try:
            share = None if rate is None else float(rate)
        except ValueError:
            raise ValueError(
                f"The rate in the address must be between 0 and 1, got {rate!r:.40}"
            ) from None
        return cls(**{name: parameters.get(name, "") for name in _TEXTS}, rate=share)


EXAMPLES = {
    "sort": Query(
        "Could you please sort these words for me, I would be very happy: pear, fig, apple"
    ),
    "all but one": Query(
        "You are a helpful assistant. For my school project, please give all but the third word.",
        "stone river cloud lamp",
    ),
    "opposite": Query("What is the opposite of hot? I need it for my homework."),
    "odd one out": Query(
        "Hello! Which one doesn't belong, in your opinion?", "cow, sheep, taxi, pig"
    ),
    "months": Query("Would you be so kind as to tell me the months between March and July?"),
    "not a fruit": Query("Hi there! Which of these is not a fruit: pear, desk, fig? Thanks a lot."),
}
"""Prompts of the kind that micro's generators know, by label; the last one does not survive."""

REAL_EXAMPLES = {
    "opposite": Query(
        "Hey, I have a quick question for you. What is the opposite of hot? I need it for my "
        "homework, thanks!"
    ),
    "flight": Query(
        "Hi! I hope you had a nice weekend. My sister sent me this and I don't have the time to "
        "read it all. From which gate does her flight leave?",
        "Hi Tom, we land at noon and drive straight to the hotel. The flight leaves at 9:40 from "
        "gate B12, and Anna picks me up at six. Don't forget to water the plants. Love, Sue",
    ),
    "capital": Query(
        "Good morning! I'm helping my son with his geography homework, and we were wondering: what "
        "is the capital of Canada? Thank you so much in advance."
    ),
    "table": Query(
        "Which of these people works in Oslo? Reply with the name only, please.",
        "name,city,role\nIngrid,Oslo,engineer\nPaul,Lyon,cook\nMei,Taipei,nurse",
    ),
    "code": Query(
        "Hello there, I am new to programming. Could you write a Python function that returns the "
        "largest number of a list? I would be really grateful."
    ),
}
"""Prompts for language models, by label."""
