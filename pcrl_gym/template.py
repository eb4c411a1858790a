"""Templates: the fixed text around a prompt, known by position and never searched for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pcrl_gym.prompt import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Line breaks, quotes and angle brackets show up templates that escape what they are given. The
# second sentinel shows up templates whose own text depends on the content.
_SENTINELS = ('sentinel "1"\n<one>', "another <sentinel>,\n'two'")


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """The text that a generator reads for one prompt.

    Attributes:
        text: The whole text.
        fixed: Character ranges `(start, end)` of `text` that are the template's own, sorted, not
            overlapping, none empty. Everything else is user content.
    """

    text: str
    fixed: tuple[tuple[int, int], ...]


@runtime_checkable
class Template(Protocol):
    """Turns a prompt into text. `render` must be deterministic."""

    @property
    def name(self) -> str:
        """Name that results are reported under."""
        ...

    def render(self, prompt: Prompt) -> RenderedPrompt:
        """Return the text of the prompt and the ranges that belong to the template."""
        ...


class AlpacaTemplate:
    r"""The template of PCRL: labels for instruction, input and output.

    `Instruction: {instruction}\nInput: {input}\nOutput: \n`, without the input line where the
    input is empty. Instruction and input are stripped of white space at both ends.

    Example:
        >>> rendered = AlpacaTemplate().render(Prompt(id="0", instruction="Add.", input="1 2"))
        >>> rendered.text
        'Instruction: Add.\nInput: 1 2\nOutput: \n'
        >>> rendered.fixed
        ((0, 13), (17, 25), (28, 38))
    """

    name = "alpaca"

    def render(self, prompt: Prompt) -> RenderedPrompt:
        """Return the text of the prompt and the ranges that belong to the template."""
        user_input = prompt.input.strip()
        pieces = [("Instruction: ", True), (prompt.instruction.strip(), False)]
        if user_input:
            pieces += [("\nInput: ", True), (user_input, False)]
        return _join([*pieces, ("\nOutput: \n", True)])


class ChatTemplate:
    """The generator's own chat template, with the prompt as the only user message.

    The content of the message is the instruction, and in a new line the input if there is one,
    both stripped. The template's text ends where the generator's answer begins.

    Args:
        tokenizer: The generator's tokenizer.

    Raises:
        ValueError: If the tokenizer has no chat template, or one that does not write the content
            of the message exactly once and unchanged.
    """

    name = "chat"

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        frame = chat_frame(tokenizer)
        if frame is None:
            found = "a chat template that changes, repeats or refuses the content of a user message"
            raise ValueError(
                "template='chat' needs a generator whose tokenizer has a chat template that writes "
                f"a user message once and unchanged; {_tokenizer_name(tokenizer)} has "
                f"{found if tokenizer.chat_template else 'no chat template'}. "
                "Use template='alpaca' or pass a Template object."
            )
        self._prefix, self._suffix = frame

    def render(self, prompt: Prompt) -> RenderedPrompt:
        """Return the text of the prompt and the ranges that belong to the template."""
        parts = (prompt.instruction.strip(), prompt.input.strip())
        content = "\n".join(part for part in parts if part)
        return _join([(self._prefix, True), (content, False), (self._suffix, True)])


def make_template(
    spec: str | Template, tokenizer: PreTrainedTokenizerFast | None = None
) -> Template:
    """Return the template that a name stands for; a `Template` object is returned as it is.

    Args:
        spec: `"alpaca"`, `"chat"` or an object with `name` and `render`.
        tokenizer: The generator's tokenizer; only `"chat"` needs it.

    Raises:
        ValueError: If the name is unknown, or `"chat"` is not possible with this tokenizer.
    """
    if spec == "alpaca":
        return AlpacaTemplate()
    if spec == "chat":
        if tokenizer is None:
            raise ValueError(
                "template='chat' needs the generator's tokenizer, and this generator has none; "
                "use template='alpaca' or pass a Template object"
            )
        return ChatTemplate(tokenizer)
    if isinstance(spec, Template):
        return spec
    raise ValueError(
        f"template must be 'alpaca', 'chat' or an object with `name` and `render`, got {spec!r}"
    )


def chat_frame(tokenizer: PreTrainedTokenizerFast) -> tuple[str, str] | None:
    """Return the text that a tokenizer's chat template writes before and after a user message.

    The generation prompt belongs to the text after it. The frame is found by rendering two
    different messages and comparing what stands around them.

    Returns:
        `(prefix, suffix)`, or None if there is no chat template or none that can be split so:
        it changes the content, writes it twice or not at all, or refuses a lone user message.
    """
    if not tokenizer.chat_template:
        return None
    from jinja2 import TemplateError

    frames = set()
    for sentinel in _SENTINELS:
        message = [{"role": "user", "content": sentinel}]
        try:
            text = tokenizer.apply_chat_template(
                message, tokenize=False, add_generation_prompt=True
            )
        except TemplateError:  # how chat templates refuse a conversation
            return None
        assert isinstance(text, str)  # tokenize=False, one conversation
        parts = text.split(sentinel)
        if len(parts) != 2:
            return None
        frames.add((parts[0], parts[1]))
    return frames.pop() if len(frames) == 1 else None


def _join(pieces: Sequence[tuple[str, bool]]) -> RenderedPrompt:
    """Join `(text, is template text)` pieces, skipping empty ones."""
    fixed = []
    end = 0
    for text, is_fixed in pieces:
        start, end = end, end + len(text)
        if is_fixed and text:
            fixed.append((start, end))
    return RenderedPrompt("".join(text for text, _ in pieces), tuple(fixed))


def _tokenizer_name(tokenizer: PreTrainedTokenizerFast) -> str:
    return tokenizer.name_or_path or type(tokenizer).__name__
