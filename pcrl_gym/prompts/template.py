"""Templates: the fixed text around a prompt, tracked by position rather than by searching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pcrl_gym.prompts.chat_template import ChatTemplate as ChatTemplate
from pcrl_gym.prompts.chat_template import check_chat_settings
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.prompt_text import PromptText as PromptText
from pcrl_gym.prompts.prompt_text import RenderedPrompt as RenderedPrompt
from pcrl_gym.prompts.prompt_text import join_pieces
from pcrl_gym.spec_strings import parse_spec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@runtime_checkable
class Template(Protocol):
    """Converts a prompt to text. `render` must be deterministic."""

    @property
    def name(self) -> str:
        """Name of the template in results."""
        ...

    def render(self, prompt: Prompt) -> RenderedPrompt:
        """Return the text of the prompt and the ranges that belong to the template."""
        ...


class AlpacaTemplate:
    r"""The template of PCRL, with labels for instruction, input, and output.

    `Instruction: {instruction}\nInput: {input}\nOutput: \n`, without the input line if the input is
    empty. Instruction and input are stripped of whitespace.

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
        instruction, user_input = prompt.instruction.strip(), prompt.input.strip()
        pieces = [("Instruction: ", True), (instruction, False)]
        if user_input:
            pieces += [("\nInput: ", True), (user_input, False)]
        return join_pieces([*pieces, ("\nOutput: \n", True)])


def make_template(
    spec: str | Template, tokenizer: PreTrainedTokenizerFast | None = None
) -> Template:
    """Make a template from its name; a `Template` object is returned unchanged.

    Args:
        spec: `"alpaca"`, `"chat"`, `"chat:system=You are terse.,enable_thinking=false"` with any
            settings of `ChatTemplate`, or an object with `name` and `render`. A value that contains
            a comma must be in double quotes, see `pcrl_gym.spec_strings.parse_spec`.
        tokenizer: The generator's tokenizer, needed only for `"chat"`.

    Raises:
        ValueError: If the name is unknown, a setting is invalid, or the tokenizer does not support
            `"chat"`.
    """
    if not isinstance(spec, str) and isinstance(spec, Template):
        return spec
    settings = check_template(spec)
    if settings is None:
        return AlpacaTemplate()
    if tokenizer is None:
        raise ValueError(
            "template='chat' needs the generator's tokenizer, and this generator has none; "
            "use template='alpaca' or pass a Template object"
        )
    return ChatTemplate(tokenizer, **settings)


def check_template(spec: Any) -> dict[str, Any] | None:
    """Check the spec of a template as far as possible without a tokenizer.

    Returns:
        The settings of `ChatTemplate` if the spec selects it, else None.

    Raises:
        ValueError: If the name is unknown or a setting is invalid.
    """
    if spec == "alpaca":
        return None
    name, settings = parse_spec(spec) if isinstance(spec, str) else ("", {})
    if name != "chat":
        raise ValueError(
            "template must be 'alpaca', 'chat', or an object with `name` and `render`, got "
            f"{spec!r}"
        )
    check_chat_settings(settings)
    return settings
