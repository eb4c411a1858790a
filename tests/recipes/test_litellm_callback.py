from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fault_server import FaultServer
from imports import ROOT
from recipe_fixtures import CHAT, TEXT, tokens

pytest.importorskip("litellm")

import litellm
from litellm.proxy.types_utils.utils import get_instance_fn

from examples.clients.litellm_callback import CompressChats


def complete(server: FaultServer, hook: Any, **request: Any) -> Any:
    """Send CHAT through a router, as the proxy does; it tries another deployment after errors."""
    litellm.callbacks = [hook]
    to = {"model": "openai/m", "api_base": server.url, "api_key": "k", "max_retries": 0}
    # Of two deployments the second is asked without a pause.
    models = [{"model_name": "m", "litellm_params": {**to, "timeout": 600 + i}} for i in range(2)]
    router = litellm.Router(model_list=models, num_retries=2)
    return asyncio.run(router.acompletion(model="m", **{"messages": CHAT, **request}))


@pytest.fixture(autouse=True)
def callbacks(monkeypatch):
    monkeypatch.setattr(litellm, "callbacks", [])


def test_each_attempt_sends_the_shorter_messages(server, compressor):
    hook = CompressChats(compressor, rate=0.3)
    server.fault = lambda text, attempt: "500" if attempt == 0 else None
    answer = complete(server, hook)
    done = compressor(messages=CHAT, rate=0.3)
    assert [request.body["messages"] for request in server.log] == [done.messages] * 2
    assert hook.savings.calls == 2
    assert tokens(hook.savings) == tuple(2 * count for count in tokens(done))

    server.log.clear()
    chat = [*CHAT, answer.choices[0].message]
    complete(server, hook, messages=chat)
    sent = server.log[0].body["messages"]
    assert sent[:2] == done.messages
    assert (sent[2]["role"], sent[2]["content"]) == ("assistant", "fig pear")


def test_it_fails_open(server, failing):
    complete(server, CompressChats(failing, rate=0.3))
    assert [request.body["messages"] for request in server.log] == [CHAT]
    assert failing.failures == {"RuntimeError": 1}


def test_other_requests_stay(compressor):
    hook = CompressChats(compressor, rate=0.3).async_pre_call_deployment_hook
    types = litellm.types.utils.CallTypes
    assert asyncio.run(hook({"messages": CHAT}, types.anthropic_messages)) is None
    assert asyncio.run(hook({"input": [TEXT]}, types.aembedding)) is None
    assert asyncio.run(hook({"messages": CHAT}, None)) is None
    assert asyncio.run(hook({"messages": CHAT}, types.acompletion)) is not None


def test_the_proxy_finds_the_callback_beside_its_configuration():
    """As its `config.yaml` names it; the proxy itself is not started."""
    config = ROOT / "examples" / "clients" / "config.yaml"
    found = get_instance_fn("litellm_callback.compression", config_file_path=str(config))
    assert isinstance(found, litellm.integrations.custom_logger.CustomLogger)
