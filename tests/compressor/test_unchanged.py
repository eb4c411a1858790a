from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
from pcrl_gym.compressor.messages import CompressedMessages
from pcrl_gym.compressor.question import CompressedContext
from pcrl_gym.compressor.unchanged import unchanged
from policies import compressor
from texts import nasty_text

HALF = compressor(models.gpt2_tokenizer(), max_units=24)
TEMPLATE = HALF.builder.template

messages = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user"]),
            "content": st.one_of(
                st.none(),
                nasty_text,
                st.builds(lambda text: [{"type": "text", "text": text}, {"type": "x"}], nasty_text),
            ),
        }
    ),
    max_size=3,
)
forms = st.one_of(
    st.fixed_dictionaries({"text": st.one_of(nasty_text, st.lists(nasty_text, max_size=3))}),
    st.fixed_dictionaries({"instruction": nasty_text}, optional={"input": nasty_text}),
    st.lists(st.tuples(nasty_text, nasty_text), min_size=1, max_size=3).map(
        lambda pairs: {"instruction": [a for a, _ in pairs], "input": [b for _, b in pairs]}
    ),
    st.fixed_dictionaries({"messages": messages}),
    st.fixed_dictionaries({"question": nasty_text, "context": st.lists(nasty_text, max_size=3)}),
)


def visible(result: Any) -> Any:
    """Type and texts of a result."""
    if isinstance(result, list):
        return [visible(one) for one in result]
    if isinstance(result, CompressedMessages):
        return CompressedMessages, result.messages
    if isinstance(result, CompressedContext):
        return CompressedContext, result.question, result.context
    return type(result), result.original, result.text


@given(forms)
def test_it_has_the_form_and_the_texts_of_a_call_that_drops_nothing(form: dict[str, Any]):
    form = dict(form)
    text = form.pop("text", None)
    done = unchanged(TEMPLATE, text, **form)
    assert visible(done) == visible(HALF(text, **form, rate=0))
    for one in done if isinstance(done, list) else [done]:
        one.to_dict()
        assert one.compression_ratio == 0.0
        assert one.summary() == "0% fewer tokens"


def test_a_text_is_one_unit_that_was_kept():
    done = unchanged(TEMPLATE, "Sort b a", rate=0.5)
    assert (done.units, done.kept_spans, done.dropped, done.drop_rate) == (
        ((0, 8),), ((0, 8),), (), 0.0,
    )  # fmt: skip
    assert unchanged(TEMPLATE, "").units == ()


def test_what_a_compressor_refuses_comes_back_too():
    other = object()  # such as a message of the client's own class
    given = [{"role": "user", "content": "Hi"}, other]
    done = unchanged(TEMPLATE, messages=given, roles=("user",), cache_until=7)
    assert done.messages == given
    assert done.messages[0] is not given[0]
    assert unchanged(TEMPLATE, "half \ud800").text == "half \ud800"


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({}, "pass exactly one of text"),
        ({"text": "a", "messages": []}, "pass exactly one of text"),
        ({"question": "a"}, "pass exactly one of text"),
        ({"text": 3}, "text must be a string or a list of strings, got 3"),
        ({"question": "a", "context": ["b", None]}, "context must be a string or a list"),
        ({"messages": {"role": "user"}}, "messages must be a list of messages, got dict"),
    ],
)
def test_without_an_original_there_is_an_error(form: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        unchanged(TEMPLATE, **form)
