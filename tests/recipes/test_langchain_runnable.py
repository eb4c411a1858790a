from __future__ import annotations

import asyncio
from typing import Any

import pytest

from recipe_fixtures import TEXT

pytest.importorskip("langchain_core")

from langchain_core.language_models import ParrotFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate

from examples.clients.langchain_runnable import compress_messages
from pcrl_gym.compressor.saving import Savings


@pytest.fixture
def messages() -> list[Any]:
    parts = [{"type": "text", "text": TEXT}, {"type": "image_url", "image_url": {"url": "a"}}]
    return [
        SystemMessage(TEXT), HumanMessage(TEXT, id="1", name="Ada"), AIMessage(TEXT),
        HumanMessage(parts),
    ]  # fmt: skip


def test_messages_of_people_are_shorter(messages, compressor):
    savings = Savings()
    done = compress_messages(compressor, savings, rate=0.3).invoke(messages)
    shorter = compressor(TEXT, rate=0.3).text
    assert shorter != TEXT
    assert done[0] == messages[0]
    assert done[2] == messages[2]
    assert done[1] == messages[1].model_copy(update={"content": shorter})
    assert (done[1].id, done[1].name) == ("1", "Ada")
    assert done[3].content == [{"type": "text", "text": shorter}, messages[3].content[1]]
    assert messages[1].content == messages[3].content[0]["text"] == TEXT
    assert savings.calls == 1
    assert 0 < savings.compressed_tokens < savings.original_tokens


@pytest.mark.parametrize("how", ["invoke", "ainvoke", "batch"])
def test_a_chain_with_a_prompt_and_a_model(compressor, how: str):
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief"), ("human", "{text}")])
    compress = compress_messages(compressor, Savings(), rate=0.3)
    chain = prompt | compress | ParrotFakeChatModel()
    if how == "batch":
        [answer] = chain.batch([{"text": TEXT}])
    elif how == "ainvoke":
        answer = asyncio.run(chain.ainvoke({"text": TEXT}))
    else:
        answer = chain.invoke({"text": TEXT})
    assert answer.content == compressor(TEXT, rate=0.3).text


def test_it_fails_open(messages, failing):
    assert compress_messages(failing, Savings(), rate=0.3).invoke(messages) == messages
    assert failing.failures == {"RuntimeError": 1}
