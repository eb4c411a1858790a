from __future__ import annotations

import pytest
from hypothesis import given

from models import gpt2_tokenizer, llama_tokenizer
from pcrl_gym.prompt import Prompt
from pcrl_gym.template import (
    AlpacaTemplate,
    ChatTemplate,
    RenderedPrompt,
    Template,
    chat_frame,
    make_template,
)
from texts import nasty_text

CHAT = ChatTemplate(llama_tokenizer())


def pieces(rendered: RenderedPrompt) -> tuple[list[str], list[str]]:
    """Return the template's pieces and the user's."""
    template, user, end = [], [], 0
    for start, stop in rendered.fixed:
        assert end <= start < stop
        user.append(rendered.text[end:start])
        template.append(rendered.text[start:stop])
        end = stop
    return template, [*user, rendered.text[end:]]


def test_alpaca_with_input() -> None:
    rendered = AlpacaTemplate().render(Prompt(id="0", instruction=" Sort. ", input="b a\n"))
    assert rendered.text == "Instruction: Sort.\nInput: b a\nOutput: \n"
    assert pieces(rendered)[0] == ["Instruction: ", "\nInput: ", "\nOutput: \n"]


@pytest.mark.parametrize("user_input", ["", " \n"])
def test_alpaca_leaves_out_an_empty_input(user_input: str) -> None:
    rendered = AlpacaTemplate().render(Prompt(id="0", instruction="Sing.", input=user_input))
    assert rendered.text == "Instruction: Sing.\nOutput: \n"
    assert pieces(rendered) == (["Instruction: ", "\nOutput: \n"], ["", "Sing.", ""])


def test_alpaca_with_nothing_in_it_is_all_template() -> None:
    rendered = AlpacaTemplate().render(Prompt(id="0", instruction=""))
    assert "".join(pieces(rendered)[0]) == rendered.text == "Instruction: \nOutput: \n"


@given(nasty_text, nasty_text)
def test_alpaca_knows_its_text_by_position(instruction: str, user_input: str) -> None:
    rendered = AlpacaTemplate().render(Prompt(id="0", instruction=instruction, input=user_input))
    _, user = pieces(rendered)
    expected = [text for text in (instruction.strip(), user_input.strip()) if text]
    assert [text for text in user if text] == expected


@given(nasty_text, nasty_text)
def test_chat_knows_its_text_by_position(instruction: str, user_input: str) -> None:
    rendered = CHAT.render(Prompt(id="0", instruction=instruction, input=user_input))
    fixed, user = pieces(rendered)
    assert fixed == ["<s><|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"]
    parts = (instruction.strip(), user_input.strip())
    assert "".join(user) == "\n".join(part for part in parts if part)


def test_chat_is_what_the_tokenizer_writes() -> None:
    tokenizer = llama_tokenizer()
    rendered = ChatTemplate(tokenizer).render(Prompt(id="0", instruction="Sort.", input="b a"))
    assert rendered.text == tokenizer.apply_chat_template(
        [{"role": "user", "content": "Sort.\nb a"}], tokenize=False, add_generation_prompt=True
    )


def test_chat_without_a_chat_template() -> None:
    assert chat_frame(gpt2_tokenizer()) is None
    with pytest.raises(ValueError, match=r"has no chat template\. Use template='alpaca'"):
        ChatTemplate(gpt2_tokenizer())


@pytest.mark.parametrize(
    "chat_template",
    [
        "{{ messages[0]['content'] }}{{ messages[0]['content'] }}",
        "{{ messages[0]['content'] | upper }}",
        "{{ messages[0]['content'] | length }}: {{ messages[0]['content'] }}",
        "no content",
        "{{ raise_exception('a system message must come first') }}",
    ],
    ids=["twice", "changed", "counted", "never", "refused"],
)
def test_chat_templates_that_cannot_frame_a_message(chat_template: str) -> None:
    tokenizer = gpt2_tokenizer()
    tokenizer.chat_template = chat_template
    with pytest.raises(ValueError, match="once and unchanged"):
        ChatTemplate(tokenizer)


def test_make_template_by_name() -> None:
    assert make_template("alpaca").name == "alpaca"
    assert make_template("chat", llama_tokenizer()).name == "chat"


def test_make_template_passes_objects_through() -> None:
    class Bare:
        name = "bare"

        def render(self, prompt: Prompt) -> RenderedPrompt:
            return RenderedPrompt(prompt.instruction, ())

    template = Bare()
    assert isinstance(template, Template)
    assert make_template(template) is template


@pytest.mark.parametrize("spec", ["Alpaca", None, 3])
def test_make_template_refuses_everything_else(spec: object) -> None:
    with pytest.raises(ValueError, match="'alpaca', 'chat' or an object"):
        make_template(spec)  # type: ignore[arg-type]


def test_make_template_chat_needs_a_tokenizer() -> None:
    with pytest.raises(ValueError, match="this generator has none"):
        make_template("chat")
