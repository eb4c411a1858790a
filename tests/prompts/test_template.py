from __future__ import annotations

import datetime
import pickle

import pytest
from hypothesis import given
from transformers import PreTrainedTokenizerFast

from models import gpt2_tokenizer, llama_tokenizer
from pcrl_gym.envs.task import make_task
from pcrl_gym.prompts.chat_template import chat_frame
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import (
    AlpacaTemplate,
    ChatTemplate,
    RenderedPrompt,
    Template,
    check_template,
    make_template,
)
from texts import DATED, nasty_text, on_another_day

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
    with pytest.raises(ValueError, match=r"has no chat template; use template='alpaca'"):
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
    with pytest.raises(ValueError, match="'alpaca', 'chat', or an object"):
        make_template(spec)  # type: ignore[arg-type]


def test_make_template_chat_needs_a_tokenizer() -> None:
    with pytest.raises(ValueError, match="this generator has none"):
        make_template("chat")


SORT = Prompt(id="0", instruction="Sort.", input="b a")
SETTINGS_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n{% endif %}"
)


def with_template(chat_template: str) -> PreTrainedTokenizerFast:
    tokenizer = llama_tokenizer()
    tokenizer.chat_template = chat_template
    return tokenizer


def test_a_system_message_and_settings() -> None:
    tokenizer = with_template(SETTINGS_TEMPLATE)
    template = ChatTemplate(tokenizer, system="You are terse, very.", enable_thinking=False)
    rendered = template.render(SORT)
    assert pieces(rendered) == (
        [
            "<|im_start|>system\nYou are terse, very.<|im_end|>\n<|im_start|>user\n",
            "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n",
        ],
        ["", "Sort.\nb a", ""],
    )
    spec = 'chat:enable_thinking=false,system="You are terse, very."'
    assert template.name == spec
    again = make_template(spec, tokenizer)
    assert (again.name, again.render(SORT)) == (spec, rendered)
    thinking = make_template("chat:enable_thinking=true", tokenizer)  # what is done by default
    assert thinking.render(SORT) == ChatTemplate(tokenizer).render(SORT)
    assert thinking.name == "chat:enable_thinking=true"


@pytest.mark.parametrize(
    ("chat_template", "spec", "message"),
    [
        (SETTINGS_TEMPLATE, "chat:enable_thinkin=false", "does not use enable_thinkin:"),
        (SETTINGS_TEMPLATE, "chat:date=2024-01-01", "does not use date:"),
        ("{{ messages[-1]['content'] }}", "chat:system=x", "does not include the system message"),
        (
            "{% if messages | length > 1 %}{{ raise_exception('no') }}{% endif %}"
            "{{ messages[0]['content'] }}",
            "chat:system=x",
            "rejects system messages",
        ),
    ],
)
def test_settings_that_would_change_nothing_are_refused(
    chat_template: str, spec: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_template(spec, with_template(chat_template))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("chat:system=3", r"chat\.system: expected a valid string, got 3; put it in quotes"),
        ("chat:date=tomorrow", "date must have the form"),
        ("chat:messages=[]", "messages is set by the template itself"),
        ("chat:system", "key=value"),
        ("alpaca:system=x", "'alpaca', 'chat', or an object"),
        ("chatty", "'alpaca', 'chat', or an object"),
    ],
)
def test_wrong_names_are_refused_without_a_tokenizer(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_template(spec)
    with pytest.raises(ValueError, match=message):
        make_task(template=spec, generator="no-such/model")


def test_a_chat_template_with_a_date_is_the_same_on_every_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = with_template(DATED)
    frames = []
    for day in (datetime.date(2026, 1, 31), datetime.date(2026, 2, 1)):
        on_another_day(monkeypatch, day)
        assert f"{day:%d %b %Y}" in str(
            tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
        )
        frames.append(ChatTemplate(tokenizer).frame)
    assert frames == [("\n<s>Today is 26 Jul 2024. ", "</s>")] * 2
    dated = make_template("chat:date=2026-01-31", tokenizer)
    assert dated.render(SORT).text == "\n<s>Today is 31 Jan 2026. Sort.\nb a</s>"


def test_dates_are_written_as_the_clock_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """`strftime_now` may be asked for, tested for and given any format."""
    tokenizer = with_template(
        "{% if strftime_now is defined %}{% set now = strftime_now('%A, %-d. %B %Y (%H:%M)') %}"
        "{% endif %}{{ now }} {{ strftime_now(\"%y-%m-%d\") }} 5%{{ messages[0]['content'] }}"
    )
    day = datetime.date(2026, 2, 3)
    on_another_day(monkeypatch, day)
    now = tokenizer.apply_chat_template([{"role": "user", "content": ""}], tokenize=False)
    assert ChatTemplate(tokenizer, date="2026-02-03").prefix == now
    assert now == "Tuesday, 3. February 2026 (00:00) 26-02-03 5%"


def test_a_copied_chat_template_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    template = ChatTemplate(with_template(DATED))
    stored = pickle.dumps(template)
    on_another_day(monkeypatch, datetime.date(2030, 1, 1))
    assert pickle.loads(stored).render(SORT) == template.render(SORT)
    again = ChatTemplate.from_frame(list(template.frame), template.name)
    assert again.render(SORT) == template.render(SORT)


@pytest.mark.parametrize("frame", [("a",), ("a", 3), "ab", None, ("a", "b", "c")])
def test_a_frame_is_two_strings(frame: object) -> None:
    with pytest.raises(ValueError, match="a prefix and a suffix"):
        ChatTemplate.from_frame(frame)  # type: ignore[arg-type]
