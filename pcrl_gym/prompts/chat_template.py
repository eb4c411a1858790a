"""A model's chat template as a `Template`, rendered once and independent of the date."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pcrl_gym.prompts.prompt_text import RenderedPrompt, join_pieces
from pcrl_gym.spec_strings import check_settings, format_spec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from pcrl_gym.prompts.prompt import Prompt

DATE = datetime.date(2024, 7, 26)
"""The date that chat templates use as today, the same as Llama's templates without a clock."""

# Line breaks, quotes, and angle brackets reveal templates that escape their input. The second
# sentinel reveals templates whose own text depends on the content.
_SENTINELS = ('sentinel "1"\n<one>', "another <sentinel>,\n'two'")
# Variables that `chat_frame` itself passes to a chat template.
_NOW = "strftime_now"
_TAKEN = ("messages", "add_generation_prompt", _NOW)


class ChatTemplate:
    """The generator's own chat template, with the prompt as the only user message.

    The content of the message is the stripped instruction, followed by the stripped input on a new
    line if there is one. The template's text ends where the generator's answer begins. The template
    is rendered once, on construction, and does not depend on the clock: if it writes today's date,
    it uses `date`.

    Args:
        tokenizer: The generator's tokenizer.
        system: The system message; None for none or the default of the chat template.
        date: The date that the chat template uses as today, `YYYY-MM-DD`; None for `DATE`.
        **chat_template_kwargs: Variables of the chat template, such as `enable_thinking=False`,
            which must be JSON values.

    Attributes:
        name: `"chat"`, with the settings if there are any; accepted by `make_template`.
        prefix: The text before the user's message.
        suffix: The text after it.

    Raises:
        ValueError: If the tokenizer has no chat template, or its chat template does not write the
            content of the message exactly once and unchanged, does not write the system message,
            or does not use one of the settings.

    Example:
        >>> ChatTemplate(tokenizer, system="Be brief.", enable_thinking=False)  # doctest: +SKIP
        ChatTemplate('chat:enable_thinking=false,system=Be brief.')
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        system: str | None = None,
        *,
        date: str | None = None,
        **chat_template_kwargs: Any,
    ) -> None:
        own = {"system": system, "date": date}
        settings = {key: value for key, value in own.items() if value is not None}
        settings |= chat_template_kwargs
        self.name = format_spec("chat", settings)
        day = check_chat_settings(settings)
        model = tokenizer.name_or_path or type(tokenizer).__name__
        who = f"the chat template of {model}"
        source = _source(tokenizer)
        words = {name: name for name in chat_template_kwargs} | ({"date": _NOW} if date else {})
        unused = [name for name, word in words.items() if source and not _mentions(source, word)]
        if unused:
            raise ValueError(f"{who} does not use {', '.join(unused)}: leave it out")
        frame = chat_frame(tokenizer, system, day, chat_template_kwargs)
        if frame is None:
            if system is not None and chat_frame(tokenizer, None, day, chat_template_kwargs):
                raise ValueError(f"{who} rejects system messages: leave system out")
            fault = "a chat template that changes, repeats, or rejects a user message"
            raise ValueError(
                "template='chat' needs a generator whose tokenizer has a chat template that "
                f"includes a user message once and unchanged; {model} has "
                f"{fault if tokenizer.chat_template else 'no chat template'}; "
                "use template='alpaca' or pass a Template object"
            )
        self.prefix, self.suffix = frame
        if system is not None and system.strip() not in self.prefix:
            raise ValueError(f"{who} does not include the system message: leave system out")

    @classmethod
    def from_frame(cls, frame: Sequence[str], name: str = "chat") -> ChatTemplate:
        """Return a template from a rendered `frame`, which may be a tuple or a list.

        Raises:
            ValueError: If the frame does not consist of two strings.
        """
        if not isinstance(frame, (tuple, list)) or [type(part) for part in frame] != [str, str]:
            raise ValueError(
                f"the frame of a chat template must be a prefix and a suffix, got {frame!r}"
            )
        made = cls.__new__(cls)
        made.name = name
        made.prefix, made.suffix = frame
        return made

    @property
    def frame(self) -> tuple[str, str]:
        """`(prefix, suffix)`, the argument of `from_frame`."""
        return self.prefix, self.suffix

    def render(self, prompt: Prompt) -> RenderedPrompt:
        """Return the text of the prompt and the ranges that belong to the template."""
        parts = (prompt.instruction.strip(), prompt.input.strip())
        content = "\n".join(part for part in parts if part)
        return join_pieces([(self.prefix, True), (content, False), (self.suffix, True)])

    def __repr__(self) -> str:
        return f"ChatTemplate({self.name!r})"


def check_chat_settings(settings: Mapping[str, Any]) -> datetime.date:
    """Check the settings as far as possible without a tokenizer and return the date.

    Raises:
        ValueError: If a setting of `ChatTemplate` has the wrong type or form.
    """
    return _day(**check_settings(settings, _day, "chat"))


def _day(system: str | None = None, date: str | None = None, **variables: Any) -> datetime.date:
    if taken := [name for name in _TAKEN if name in variables]:
        raise ValueError(f"{taken[0]} is set by the template itself and cannot be passed")
    try:
        return DATE if date is None else datetime.date.fromisoformat(date)
    except ValueError as error:
        raise ValueError(f"date must have the form '2024-07-26', got {date!r}") from error


def chat_frame(
    tokenizer: PreTrainedTokenizerFast,
    system: str | None = None,
    date: datetime.date = DATE,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> tuple[str, str] | None:
    """Return the text that a tokenizer's chat template writes before and after a user message.

    The text after it includes the generation prompt. The frame is found by rendering two different
    messages and comparing the surrounding text. The arguments are those of `ChatTemplate`.

    Returns:
        `(prefix, suffix)`, or None if there is no chat template or it has no such frame because it
        changes the content, writes it twice or not at all, or rejects the conversation.
    """
    source = _source(tokenizer)
    if source is None:
        return None
    from jinja2 import TemplateError

    frames = set()
    for sentinel in _SENTINELS:
        messages = [] if system is None else [{"role": "system", "content": system}]
        try:
            text = tokenizer.apply_chat_template(
                [*messages, {"role": "user", "content": sentinel}],
                chat_template=_pinned(source, date),
                tokenize=False,
                add_generation_prompt=True,
                **(chat_template_kwargs or {}),
            )
        except TemplateError:  # raised by chat templates to reject a conversation
            return None
        assert isinstance(text, str)  # tokenize=False, one conversation
        parts = text.split(sentinel)
        if len(parts) != 2:
            return None
        frames.add((parts[0], parts[1]))
    return frames.pop() if len(frames) == 1 else None


def _source(tokenizer: PreTrainedTokenizerFast) -> str | None:
    """Return the Jinja source that `apply_chat_template` renders; of several, the default one."""
    template: Any = tokenizer.chat_template
    return (template.get("default") if isinstance(template, dict) else template) or None


def _pinned(source: str, date: datetime.date) -> str:
    """Add a fixed `strftime_now` to a chat template that uses the current time.

    It is written in Jinja, because transformers passes no functions to chat templates.
    """
    if not _mentions(source, _NOW):
        return source
    moment = datetime.datetime.combine(date, datetime.time())
    steps = "".join(
        f"|replace({json.dumps(directive)}, {json.dumps(moment.strftime(directive))})"
        for directive in sorted(set(re.findall(r"(?<!{)%-?[a-zA-Z]", source)))
    )
    # The empty string keeps the end of the macro from swallowing a line break that follows it.
    macro = "{% macro strftime_now(format) %}{{ format" + steps + " }}{% endmacro %}{{ '' }}"
    return macro + source


def _mentions(source: str, word: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", source) is not None
