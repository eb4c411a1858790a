from __future__ import annotations

import json
from typing import Any

import pytest

from fault_server import FaultServer
from recipe_fixtures import CHAT, TEXT, tokens

pytest.importorskip("openai")

import openai

from examples.clients.openai_wrapper import compress_chats


@pytest.fixture
def client(server: FaultServer) -> Any:
    return openai.OpenAI(base_url=server.url, max_retries=0)


def test_it_sends_shorter_messages(client, server, compressor):
    savings = compress_chats(client, compressor, rate=0.3)
    answer = client.chat.completions.create(model="m", messages=CHAT, temperature=0.5)
    assert answer.choices[0].message.content == "fig pear"
    done = compressor(messages=CHAT, rate=0.3)
    assert server.log[0].body == {"model": "m", "messages": done.messages, "temperature": 0.5}
    assert done.messages[0] == CHAT[0]
    assert done.messages[1] == {**CHAT[1], "content": compressor(TEXT, rate=0.3).text} != CHAT[1]
    assert (savings.calls, *tokens(savings)) == (1, *tokens(done))

    # The answer, an object of the client, is part of the next request.
    chat = [*CHAT, answer.choices[0].message, {"role": "user", "content": TEXT}]
    client.chat.completions.create(model="m", messages=iter(chat))
    sent = server.log[1].body["messages"]
    assert sent[:2] == done.messages  # so that what a server caches still fits
    assert sent[2] == {"role": "assistant", "content": "fig pear"}
    assert sent[3] == {"role": "user", "content": compressor(TEXT, rate=0.3).text}
    assert savings.calls == 2


def test_streams_pass_through(client, server, compressor):
    compress_chats(client, compressor, rate=0.3)
    parts = [{"choices": [{"index": 0, "delta": {"content": x}}]} for x in ("fig ", "pear")]
    lines = [f"data: {json.dumps(part)}\n\n" for part in parts]
    server.error = (200, "".join([*lines, "data: [DONE]\n\n"]))
    stream = client.chat.completions.create(model="m", messages=CHAT, stream=True)
    assert "".join(part.choices[0].delta.content for part in stream) == "fig pear"
    assert server.log[0].body["stream"] is True
    assert server.log[0].body["messages"] == compressor(messages=CHAT, rate=0.3).messages


def test_it_fails_open(client, server, failing):
    savings = compress_chats(client, failing, rate=0.3)
    client.chat.completions.create(model="m", messages=CHAT)
    assert server.log[0].body["messages"] == CHAT
    assert failing.failures == {"RuntimeError": 1}
    assert (savings.calls, *tokens(savings)) == (1, 0, 0)
