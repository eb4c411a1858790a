"""Result of a compressor call that drops and counts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from pcrl_gym.compressor.arguments import Texts, check_form
from pcrl_gym.compressor.compression import Compression
from pcrl_gym.compressor.messages import CompressedMessages, Messages
from pcrl_gym.compressor.question import CompressedContext
from pcrl_gym.prompts.prompt import Prompt

if TYPE_CHECKING:
    from pcrl_gym.prompts.template import Template

Result: TypeAlias = Compression | list[Compression] | CompressedMessages | CompressedContext


def unchanged(
    template: Template,
    text: str | Texts | None = None,
    *,
    instruction: str | Texts | None = None,
    input: str | Texts | None = None,
    messages: Messages | None = None,
    question: str | None = None,
    context: Texts | None = None,
    **options: Any,
) -> Result:
    """Return the original in the form of a compressor call's result.

    The tokenizer is not used, as it may be what failed: token counts are 0, so the compression
    ratio is 0.0, and each text is one unit. Texts may be invalid Unicode, and messages may have any
    form.

    Args:
        template: The template for instruction and input.
        text: See `TextCompressor.__call__`, also for the next five arguments.
        instruction: An instruction, or a list of them.
        input: The input of the instruction, or a list of the same length.
        messages: Messages of a chat.
        question: A question.
        context: Its context.
        options: Further arguments of the call, which have no effect.

    Raises:
        ValueError: If the arguments match no call form, so that there is no original.

    Example:
        >>> from pcrl_gym.prompts.template import AlpacaTemplate
        >>> done = unchanged(AlpacaTemplate(), "Sort b a", rate=0.5)
        >>> done.text, done.compression_ratio
        ('Sort b a', 0.0)
    """
    check_form(
        *(text, instruction, input, messages, question, context),
        of_messages=False,
        of_question=False,
    )
    if messages is not None:
        if isinstance(messages, (str, Mapping)):
            raise ValueError(f"messages must be a list of messages, got {type(messages).__name__}")
        copies: list[Any] = [dict(m) if isinstance(m, Mapping) else m for m in messages]
        return CompressedMessages(copies, (), (), original_tokens=0, compressed_tokens=0)
    if question is not None:
        parts = tuple(_whole(part) for part in _strings("context", context))
        return CompressedContext(question, parts, original_tokens=0, compressed_tokens=0)
    if instruction is None:
        done = [_whole(one) for one in _strings("text", text)]
        return done[0] if isinstance(text, str) else done
    instructions = _strings("instruction", instruction)
    inputs = [""] * len(instructions) if input is None else _strings("input", input)
    prompts = [Prompt("0", *pair) for pair in zip(instructions, inputs, strict=True)]
    done = [_whole(str(template.render(prompt).text)) for prompt in prompts]
    return done[0] if isinstance(instruction, str) else done


def _strings(name: str, value: Any) -> list[str]:
    """Return the strings of an argument, which is a string or a list of strings."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(one, str) for one in texts):
        raise ValueError(f"{name} must be a string or a list of strings, got {value!r}")
    return list(texts)


def _whole(text: str) -> Compression:
    units = ((0, len(text)),) if text else ()
    return Compression(
        original=text,
        text=text,
        units=units,
        keep_probabilities=(1.0,) * len(units),
        droppable=(False,) * len(units),
        kept=(True,) * len(units),
        original_tokens=0,
        compressed_tokens=0,
    )
