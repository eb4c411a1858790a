from __future__ import annotations

import asyncio
import builtins
import json
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from env_fixtures import ID, PROMPTS
from fakes import CountingGenerator, first_and_last_word
from fault_server import FAULTS, KEY, Fault, FaultServer, seeded_faults, set_surroundings
from pcrl_gym.episodes.episode import EpisodeBuilder
from pcrl_gym.episodes.tokenizers import TextEncoder
from pcrl_gym.errors import BudgetExceededError, GeneratorError, MissingExtraError
from pcrl_gym.generators.base import Answer, Generator
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.generators.openai import generator as openai
from pcrl_gym.generators.openai import sender as openai_sender
from pcrl_gym.generators.openai.generator import OpenAIGenerator
from pcrl_gym.generators.openai.replies import read_reply, retry_after
from pcrl_gym.micro import weights_folder
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import AlpacaTemplate
from pcrl_gym.scoring.rewards import make_reward
from pcrl_gym.scoring.scorer import Scorer
from pcrl_gym.storage.disk_cache import DiskCache
from serving import needs_serving, transformers_serve

# Long, so that a busy machine does not make timeouts of its own; tests of timeouts set theirs.
PATIENT = 60.0


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    set_surroundings(monkeypatch)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def connect(server: FaultServer, **options: Any) -> OpenAIGenerator:
    return at(server.url, **options)


def at(url: str, **options: Any) -> OpenAIGenerator:
    return OpenAIGenerator("m", url, **{"timeout": PATIENT, "backoff": 0.0, **options})


def texts(n: int) -> list[str]:
    return [f"word{i} stands between these{i}" for i in range(n)]


def choice(message: dict[str, Any], reason: str | None = "stop") -> dict[str, Any]:
    """The part of a chat reply that holds the answer."""
    return {"choices": [{"message": message, "finish_reason": reason}]}


def answers_to(prompts: Sequence[str]) -> list[Answer]:
    return [Answer(first_and_last_word(prompt)) for prompt in prompts]


# ---- what is asked, and what comes back


def test_it_is_a_generator(server: FaultServer):
    generator = connect(server)
    assert isinstance(generator, Generator)
    assert generator.name == f"openai:m@{server.url}"
    assert generator.max_prompt_tokens is None
    assert load_generator(generator) is generator


def test_a_chat_request_has_the_prompt_as_its_only_message(server: FaultServer):
    answers = connect(server).generate(["Say   it\nnow "], 5)
    assert answers == [Answer("Say now")]
    [request] = server.log
    assert request.path == "/v1/chat/completions"
    assert request.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Say   it\nnow "}],
        "temperature": 0,
        "max_tokens": 5,
    }
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_a_completion_request_has_the_bare_text_and_the_answer_is_stripped(server: FaultServer):
    answers = connect(server, api="completions").generate(["Say it now"], 5)
    assert answers == [Answer("Say now")]
    [request] = server.log
    assert request.path == "/v1/completions"
    assert request.body == {
        "model": "m",
        "prompt": "Say it now",
        "temperature": 0,
        "max_tokens": 5,
    }


def test_fields_can_be_added_and_the_limit_renamed(server: FaultServer):
    extra = {"chat_template_kwargs": {"enable_thinking": False}}
    generator = connect(server, extra_body=extra, limit_field="max_completion_tokens")
    generator.generate(["a b"], 5)
    body = server.log[0].body
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["max_completion_tokens"] == 5
    assert "max_tokens" not in body


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_answers_come_in_the_order_of_the_prompts_and_equal_prompts_are_sent_once(
    server: FaultServer, api: Any
):
    prompts = [*texts(20), *reversed(texts(20)), "words"]
    generator = connect(server, api=api)
    assert generator.generate(prompts, 5) == answers_to(prompts)
    assert Counter(server.asked) == Counter([*texts(20), "words"])
    usage = generator.usage
    assert (usage.requests, usage.retries, usage.cache_hits) == (21, 0, 0)
    assert usage.prompt_tokens == 20 * 4 + 1 + 21 * 7 * (api == "chat")
    assert usage.completion_tokens == 21 * 2
    assert generator.generate([], 5) == []


def test_the_limit_cuts_answers_and_is_checked(server: FaultServer):
    generator = connect(server)
    assert generator.generate(["first and last"], 1) == [Answer("first")]
    assert generator.generate(["first and last"], 2) == [Answer("first last")]
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, got 0"):
        generator.generate(["a"], 0)


def test_no_more_requests_are_in_flight_than_allowed_whatever_the_threads(
    server: FaultServer,
):
    generator = connect(server, concurrency=3)
    one_more = threading.Barrier(4)
    met = []

    def answer(text: str) -> str:
        try:
            # Passes as soon as four are here; that they are not has to be waited for once.
            one_more.wait(timeout=0.3)
            met.append(text)
        except threading.BrokenBarrierError:
            pass
        return first_and_last_word(text)

    server.answer = answer
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(generator.generate, part, 5) for part in (texts(9), texts(18)[9:])]
        assert [a for job in both for a in job.result()] == answers_to(texts(18))
    assert met == []
    assert server.most_in_flight <= 3


def test_it_works_inside_a_running_event_loop(server: FaultServer):
    async def cell() -> list[Answer]:
        return connect(server).generate(["a b c"], 5)

    assert asyncio.run(cell()) == [Answer("a c")]


def test_a_likelihood_reward_is_refused_before_anything_is_asked(server: FaultServer):
    with pytest.raises(ValueError, match=r"needs log-likelihoods, but .* does not provide them"):
        Scorer(connect(server), make_reward("likelihood"))
    assert not server.log


def test_likelihoods_are_refused_with_what_to_do(server: FaultServer):
    with pytest.raises(GeneratorError, match='use reward="threshold", or a local generator'):
        connect(server).log_likelihood(["a"], [Answer("b")])
    assert not server.log


# ---- faults


class WordCounts(CountingGenerator):
    """The in-process counterpart of the server, with the token counts of a tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.encoder = TextEncoder(tokenizer)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.encoder.prompt_ids(texts, add_special_tokens=False)]


def episodes_and_masks(n: int, tokenizer: PreTrainedTokenizerFast) -> tuple[list, list]:
    prompts = [
        Prompt(f"p{i}", f"Please name number{i} of these, be so kind", f"one{i} two three{i}")
        for i in range(n)
    ]
    episodes = EpisodeBuilder(tokenizer, AlpacaTemplate(), unit="word")(prompts)
    rng = np.random.default_rng(0)
    masks = [(rng.random(len(e)) < 0.7).astype(np.int8) for e in episodes]
    return list(episodes), masks


def last_words(text: str) -> str:
    """An answer that some compressions change: survival must not be the same for all."""
    return " ".join(text.split()[-4:-1])


def test_rewards_over_a_failing_server_are_those_computed_in_process(
    gpt2_tokenizer: PreTrainedTokenizerFast,
):
    """500 prompts, 30% of the requests fail: 429, 500, stalls, cut or no replies, broken JSON."""
    episodes, masks = episodes_and_masks(260, gpt2_tokenizer)
    local = WordCounts(gpt2_tokenizer)
    local.answer = last_words
    expected = Scorer(local, make_reward("threshold"))(episodes, masks)
    assert 20 < (expected.reward > 0).sum() < 240
    distinct = len(set(expected.prompts) | set(expected.compressed_prompts))
    assert distinct >= 500
    schedule = seeded_faults(seed=1, kinds=tuple(k for k in FAULTS if k != "stall") * 4)

    def fault(text: str, attempt: int) -> Fault | None:
        # One stall in forty texts: each costs a timeout.
        stalls = attempt == 0 and hash_of(text) % 40 == 0
        return "stall" if stalls else schedule(text, attempt)

    with FaultServer(answer=last_words, fault=fault) as server:
        generator = connect(
            server, timeout=0.25, max_retries=50, concurrency=16, tokenizer=gpt2_tokenizer
        )
        scores = Scorer(generator, make_reward("threshold"))(episodes, masks)
    for name in ("reward", "similarity", "compression_ratio", "original_tokens"):
        np.testing.assert_array_equal(getattr(scores, name), getattr(expected, name))
    assert scores.outputs == expected.outputs
    assert scores.compressed_outputs == expected.compressed_outputs
    assert {request.fault for request in server.log} == {None, *FAULTS}
    assert server.faults > 0.2 * len(server.log)
    usage = generator.usage
    assert usage.requests == distinct + usage.retries
    # Requests that a busy machine let time out may reach the server late or as one more.
    assert distinct + server.faults <= len(server.log) <= usage.requests


def hash_of(text: str) -> int:
    return sum(text.encode())


def test_every_fault_costs_one_request_more_and_nothing_is_asked_twice():
    prompts = texts(300)
    kinds = tuple(kind for kind in FAULTS if kind != "stall")
    with FaultServer(fault=seeded_faults(seed=2, kinds=kinds)) as server:
        generator = connect(server)
        assert generator.generate(prompts, 5) == answers_to(prompts)
        assert Counter(server.answered) == Counter(prompts)
        assert {request.fault for request in server.log} == {None, *kinds}
        assert len(server.log) == len(prompts) + server.faults == generator.usage.requests
        assert generator.usage.retries == server.faults > 60
        # A second time nothing is sent.
        assert generator.generate(prompts, 5) == answers_to(prompts)
        assert generator.usage.requests == len(server.log) == len(prompts) + server.faults
        assert generator.usage.cache_hits == len(prompts)


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_fault_that_lasts_becomes_an_error_and_never_an_answer(kind: Fault, api: Any):
    with FaultServer(fault=lambda text, attempt: kind if text == "bad one" else None) as server:
        patience = 0.05 if kind == "stall" else PATIENT
        generator = connect(server, api=api, max_retries=2, timeout=patience)
        with pytest.raises(GeneratorError, match=r"'bad one': failed 3 times: ") as caught:
            generator.generate(["bad one"], 5)
    assert type(caught.value) is GeneratorError
    assert caught.value.prompt == "bad one"
    assert pickle.loads(pickle.dumps(caught.value)).prompt == "bad one"
    assert generator.usage.requests == 3


@pytest.mark.parametrize(
    ("reply", "temporary", "message"),
    [
        ({"choices": [{"message": {"content": 3}}]}, True, "unreadable reply"),
        ({"choices": [{"message": {"content": [{"type": "text"}]}}]}, True, "unreadable reply"),
        ({"choices": [{"message": "text"}]}, True, "unreadable reply"),
        ({"choices": [None]}, True, "unreadable reply"),
        ({"choices": {}, "error": {"message": "upstream is down"}}, True, "upstream is down"),
        (choice({"content": "half an ans"}, "error"), True, "the server aborted the reply"),
        (choice({"content": "half an ans"}, "abort"), True, "the server aborted the reply"),
        (choice({"content": "I ca"}, "content_filter"), False, "content filter"),
        (choice({}, "content_filter"), False, "content filter.*leave the prompt out"),
        (choice({"content": None, "refusal": "I won't."}), False, r"refused.*I won't\."),
        (choice({"content": [{"type": "refusal", "refusal": "No."}]}), False, r"refused.*No\."),
        (choice({"content": None, "tool_calls": [{}]}, "tool_calls"), False, "called a tool"),
        (choice({"content": "", "tool_calls": [{}]}), False, "called a tool"),
        (choice({"content": None, "function_call": {}}), False, "contains no answer"),
        (choice({"content": None}), False, "contains no answer"),
        (choice({}, None), False, "contains no answer"),
    ],
)
def test_a_reply_that_is_no_answer_is_a_failure(
    server: FaultServer, reply: dict, temporary: bool, message: str
):
    server.reply = reply
    with pytest.raises(GeneratorError, match=f"'a b': failed.*{message}") as caught:
        connect(server, max_retries=1).generate(["a b"], 5)
    assert caught.value.prompt == "a b"
    assert len(server.log) == 1 + temporary


# Replies whose limit was reached before the answer began.
CUT = [
    {"content": ""},
    {"content": " \n"},
    {"content": None},
    {},
    {"content": "", "reasoning_content": "Hmm"},
    {"content": None, "reasoning_content": "Hmm"},
    {"content": "", "reasoning": "Hmm"},
    {"content": []},
    {"content": [{"type": "thinking", "thinking": "Hmm"}]},
    {"content": [{"type": "thinking", "thinking": "Hmm"}, {"type": "text", "text": ""}]},
    {"content": "<think>\nHmm, the user"},
    {"content": "\n<think>Hmm</think>\n\n"},
    {"content": "<think>Hmm</think><think>Well"},
    {"content": "[THINK]Hmm"},
    {"content": "Hmm</think>"},
]


@pytest.mark.parametrize("message", CUT, ids=str)
@pytest.mark.parametrize("reason", ["length", "MAX_TOKENS"])
def test_an_answer_that_was_cut_before_it_began_is_an_error_with_advice_and_never_kept(
    server: FaultServer, tmp_path: Path, message: dict, reason: str
):
    server.reply = choice(message, reason) | {
        "usage": {"prompt_tokens": 87, "completion_tokens": 30}
    }
    generator = connect(server, cache=tmp_path / "a.db")
    advice = (
        r"'a b': failed: .*cut off before it began.*raise max_new_tokens.*enable_thinking=false"
    )
    with pytest.raises(GeneratorError, match=advice) as caught:
        generator.generate(["a b"], 30)
    assert caught.value.prompt == "a b"
    assert len(server.log) == 1
    assert (generator.usage.prompt_tokens, generator.usage.completion_tokens) == (87, 30)
    server.reply = {}
    assert connect(server, cache=tmp_path / "a.db").generate(["a b"], 30) == [Answer("a b")]
    assert len(server.log) == 2


def test_a_completion_that_was_cut_before_it_began_is_an_error(server: FaultServer):
    server.reply = {"choices": [{"text": "", "finish_reason": "length"}]}
    with pytest.raises(GeneratorError, match="cut off before it began"):
        connect(server, api="completions").generate(["a b"], 30)
    assert len(server.log) == 1


@pytest.mark.parametrize(
    "message",
    [
        {"content": "<think>Hmm, the user"},
        {"content": [{"type": "thinking", "thinking": "Hmm"}]},
        {"content": None, "reasoning_content": "Hmm"},
    ],
)
def test_thinking_that_ended_without_an_answer_is_no_answer(server: FaultServer, message: dict):
    server.reply = choice(message, "stop")
    with pytest.raises(GeneratorError, match=r"contains no answer.*turn off the model's thinking"):
        connect(server).generate(["a b"], 30)


def test_thoughts_alone_earn_no_reward(server: FaultServer):
    server.reply = choice({"content": "", "reasoning_content": "Hmm"}, "length") | {
        "usage": {"completion_tokens": 30}
    }
    env = gym.make(ID, dataset=PROMPTS[:1], generator=connect(server, tokenizer="micro"))
    observation, _ = env.reset(seed=0)
    with pytest.raises(GeneratorError, match="raise max_new_tokens"):
        env.step(np.zeros_like(observation["attention_mask"]))


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Hmm"}]},
                {"type": "text", "text": "fig, pear"},
            ],
            "fig, pear",
        ),
        ([{"type": "text", "text": " fig,"}, {"type": "text", "text": " pear\n"}], "fig, pear"),
        ([{"type": "output_text", "text": "fig"}, ", ", {"text": "pear"}], "fig, pear"),
        ("<think>Hmm, <b></think>\n\nfig, pear", "fig, pear"),
        ("<think>\n\n</think>\n\nfig, pear", "fig, pear"),
        ("[THINK]Hmm[/THINK]fig, pear", "fig, pear"),
        ("<|channel>thought\nHmm<channel|>fig, pear", "fig, pear"),
        ("Hmm</think>\nfig, pear", "fig, pear"),
        ("The tag <think> opens, </think> closes", "The tag <think> opens, </think> closes"),
        ("<b>fig</b>, pear", "<b>fig</b>, pear"),
    ],
)
@pytest.mark.parametrize("reason", ["stop", "length", None])
def test_text_is_the_answer_and_thinking_is_not(
    server: FaultServer, content: object, answer: str, reason: str | None
):
    server.reply = choice({"content": content, "reasoning_content": "Hmm"}, reason)
    assert connect(server).generate(["a b"], 5) == [Answer(answer)]


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"\xff", b'{"choices": [{}]}'])
def test_a_body_that_is_no_reply_is_a_failure(content: bytes):
    failure = read_reply(content)
    assert getattr(failure, "temporary", None) is True


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"content": ""}, "stop"),
        ({"content": "\n"}, "eos_token"),
        ({"content": [{"type": "text", "text": ""}]}, "STOP"),
        ({"content": "<think>Hmm</think>\n"}, "stop"),
    ],
)
def test_an_empty_answer_that_the_model_ended_is_an_answer(
    server: FaultServer, message: dict, reason: str
):
    server.reply = choice(message, reason)
    generator = connect(server)
    assert generator.generate(["a"], 5) == generator.generate(["a"], 5) == [Answer("")]
    assert len(server.log) == 1


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "may be too long"),
        (401, "set OPENAI_API_KEY"),
        (403, "set OPENAI_API_KEY"),
        (404, "check the model and the base URL"),
        (422, "not support a field of the request"),
    ],
)
def test_errors_that_cannot_be_helped_fail_at_once(server: FaultServer, status: int, advice: str):
    server.error = (status, '{"error": {"message": "what the server says"}}')
    generator = connect(server)
    with pytest.raises(GeneratorError, match=f"'a b': failed: .*{advice}.*what the server") as e:
        generator.generate(["a b"], 5)
    assert e.value.prompt == "a b"
    assert len(server.log) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (402, {"message": "no money"}),
        (402, "no money"),
        (429, {"message": "no money", "code": "insufficient_quota"}),
        (429, {"message": "no money", "type": "insufficient_quota"}),
        (400, {"message": "no money", "code": "billing_hard_limit_reached"}),
    ],
)
def test_an_account_without_money_is_not_asked_again(
    server: FaultServer, status: int, error: object
):
    server.error = (status, json.dumps({"error": error}))
    advice = "'a b': failed: payment required: add credit for the key in OPENAI_API_KEY"
    with pytest.raises(GeneratorError, match=f"{advice}.*no money"):
        connect(server).generate(["a b"], 5)
    assert len(server.log) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (
            400,
            {
                "message": "filtered",
                "code": "content_filter",
                "param": "prompt",
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            },
        ),
        (400, {"message": "filtered", "innererror": {"code": "ResponsibleAIPolicyViolation"}}),
        (403, {"message": "filtered", "type": "content_policy_violation"}),
    ],
)
def test_a_prompt_that_a_filter_refuses_is_named_and_not_sent_again(
    server: FaultServer, status: int, error: object
):
    server.error = (status, json.dumps({"error": error}))
    with pytest.raises(
        GeneratorError, match=r"'a b': failed: the server's content filter .* leave it out"
    ) as e:
        connect(server).generate(["a b"], 5)
    assert e.value.prompt == "a b"
    assert len(server.log) == 1


@pytest.mark.parametrize(
    "body",
    ['{"error": "why"}', '{"detail": "why"}', '{"message": "why"}', '[{"error": "why"}]', "why"],
)
@pytest.mark.parametrize("status", [400, 503])
def test_what_the_server_says_is_shown_in_whatever_form(
    server: FaultServer, status: int, body: str
):
    server.error = (status, body)
    with pytest.raises(GeneratorError, match=f"Error code: {status} - .*why"):
        connect(server, max_retries=0).generate(["a b"], 5)


def test_a_failure_keeps_what_has_arrived_and_stops_the_rest(server: FaultServer):
    prompts = ["bad", *texts(40)]
    server.fault = lambda text, attempt: "500" if text == "bad" else None
    generator = connect(server, max_retries=0, concurrency=2)
    with pytest.raises(GeneratorError) as caught:
        generator.generate(prompts, 5)
    assert caught.value.prompt == "bad"
    before = list(server.answered)
    assert len(before) < 40  # not all the others were sent
    server.fault = lambda text, attempt: None
    assert generator.generate(prompts, 5) == answers_to(prompts)
    assert Counter(server.answered) == Counter(prompts)
    assert server.answered[: len(before)] == before


def test_a_server_that_is_not_there_is_an_error_after_the_retries():
    with FaultServer() as server:
        pass
    generator = connect(server, max_retries=1)
    with pytest.raises(GeneratorError, match=r"failed 2 times: no connection \(Connect"):
        generator.generate(["a b"], 5)


def test_a_prompt_that_cannot_be_encoded_is_an_error_with_its_text(server: FaultServer):
    with pytest.raises(GeneratorError, match="UnicodeEncodeError") as caught:
        connect(server).generate(["half a character \ud83d"], 5)
    assert caught.value.prompt == "half a character \ud83d"
    assert not server.log


# ---- waiting


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that there would be."""
    seconds: list[float] = []

    def pause(stop: threading.Event, wait: float) -> bool:
        seconds.append(wait)
        return stop.is_set()

    monkeypatch.setattr(openai_sender, "_pause", pause)
    return seconds


def test_waits_double_up_to_a_limit_and_vary(server: FaultServer, waits: list[float]):
    server.error = (500, "{}")
    for text in ("a", "b"):
        with pytest.raises(GeneratorError):
            connect(server, backoff=0.5, max_retries=8).generate([text], 5)
    full = np.array([0.5, 1, 2, 4, 8, 16, 30, 30])
    first, second = np.array(waits[:8]), np.array(waits[8:])
    for got in (first, second):
        assert (got >= full / 2).all()
        assert (got <= full).all()
    assert (first != second).all()


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited_for_if_it_is_longer(
    server: FaultServer, waits: list[float], status: int
):
    server.error, server.error_headers = (status, "{}"), {"Retry-After": "7"}
    with pytest.raises(GeneratorError):
        connect(server, backoff=3.0, max_retries=4).generate(["a"], 5)
    assert waits[:2] == [7, 7]  # longer than up to 3 and up to 6
    assert waits[3] >= 12  # shorter than 12 to 24


def test_retry_after_may_be_a_date(server: FaultServer, waits: list[float], monkeypatch):
    now = 1_800_000_000.0
    monkeypatch.setattr("pcrl_gym.generators.openai.replies.time.time", lambda: now)
    date = formatdate(now + 90, usegmt=True)
    server.error, server.error_headers = (429, "{}"), {"Retry-After": date}
    with pytest.raises(GeneratorError):
        connect(server, max_retries=1).generate(["a"], 5)
    assert waits == [90]


def test_a_server_that_asks_for_too_long_a_wait_is_not_waited_for(
    server: FaultServer, waits: list[float]
):
    server.error, server.error_headers = (429, "{}"), {"Retry-After": "3600"}
    with pytest.raises(GeneratorError, match="failed: the server asks to wait 3600 s"):
        connect(server).generate(["a"], 5)
    assert waits == []


@pytest.mark.parametrize("value", ["", "soon", "-5", "nan", "Wed, 99 Oct 2015", "0"])
def test_a_retry_after_without_sense_is_none(value: str):
    assert retry_after({"retry-after": value}) == 0.0


# ---- the cache


def test_answers_are_kept_on_disk_by_all_that_decides_them(server: FaultServer, tmp_path: Path):
    path = tmp_path / "answers.db"
    connect(server, cache=path).generate(["a b c"], 5)
    again = connect(server, cache=DiskCache(path))
    assert again.generate(["a b c"], 5) == [Answer("a c")]
    assert (len(server.log), again.usage.requests, again.usage.cache_hits) == (1, 0, 1)

    with FaultServer() as other:
        variants = [
            (connect(other, cache=path), 5, "a b c", other),
            (again, 6, "a b c", server),
            (again, 5, "a b  c", server),
            (connect(server, cache=path, api="completions"), 5, "a b c", server),
            (connect(server, cache=path, extra_body={"seed": 1}), 5, "a b c", server),
            (connect(server, cache=path, limit_field="max_completion_tokens"), 5, "a b c", server),
            (at(f"{server.url}?enable_thinking=false", cache=path), 5, "a b c", server),
            (at(f"{server.url}?api-version=1", cache=path), 5, "a b c", server),
            (at(f"{server.url}?api-version=2", cache=path), 5, "a b c", server),
            (OpenAIGenerator("m2", server.url, cache=path), 5, "a b c", server),
        ]
        for generator, limit, text, asked in variants:
            before = len(asked.log)
            assert generator.generate([text], limit) == [Answer("a c")]
            assert len(asked.log) == before + 1
        prints = [generator.fingerprint for generator, *_ in variants]
        assert len(set(prints)) == len(variants) - 1  # `again` is there twice


def test_empty_answers_that_earlier_versions_kept_are_not_used(server: FaultServer, tmp_path: Path):
    with DiskCache(tmp_path / "a.db") as cache:
        settings = json.dumps([server.url, "m", "chat", "{}"])
        cache.put(f"answer 30 {settings}", {"a b": ""})
    assert connect(server, cache=tmp_path / "a.db").generate(["a b"], 30) == [Answer("a b")]


def test_changing_the_callers_extra_body_changes_nothing(server: FaultServer):
    extra = {"chat_template_kwargs": {"enable_thinking": False}}
    generator = connect(server, extra_body=extra)
    fingerprint = generator.fingerprint
    extra["chat_template_kwargs"]["enable_thinking"] = True
    generator.generate(["a b"], 5)
    assert server.log[0].body["chat_template_kwargs"] == {"enable_thinking": False}
    assert generator.fingerprint == fingerprint


RESUMABLE = """
import sys
from pcrl_gym.generators.openai.generator import OpenAIGenerator
prompts = [f"word{i} stands between these{i}" for i in range(200)]
generator = OpenAIGenerator("m", sys.argv[1], cache=sys.argv[2], concurrency=4)
generator.generate(prompts, 5)
print("finished")
"""


def test_after_kill_9_nothing_that_was_answered_is_asked_again(server: FaultServer, tmp_path: Path):
    path = tmp_path / "answers.db"
    server.hold_after = 60
    command = [sys.executable, "-c", RESUMABLE, server.url, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    # Each of the four threads has its next request held, so it has stored what it got before.
    server.wait_until_held(4)
    process.send_signal(signal.SIGKILL)
    assert process.communicate()[0] == ""
    assert process.returncode == -signal.SIGKILL
    before = set(server.answered)
    assert len(before) == len(server.answered) == 60
    server.release()

    server.log.clear()
    generator = connect(server, cache=path)
    assert generator.generate(texts(200), 5) == answers_to(texts(200))
    assert generator.usage.cache_hits == 60
    assert Counter(server.asked) == Counter(text for text in texts(200) if text not in before)


def test_an_answer_is_on_disk_before_the_batch_has_ended(server: FaultServer, tmp_path: Path):
    server.hold_after = 10
    generator = connect(server, cache=tmp_path / "a.db", concurrency=2, timeout=PATIENT)
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(generator.generate, texts(20), 5)
        server.wait_until_held(2)
        reader = connect(server, cache=tmp_path / "a.db", max_requests=0)
        assert reader.generate(server.answered[:10], 5) == answers_to(server.answered[:10])
        server.release()
        assert job.result() == answers_to(texts(20))


def test_memory_forgets_the_oldest(server: FaultServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(openai, "_MAX_IN_MEMORY", 4)
    generator = connect(server, concurrency=1)
    generator.generate(["a", "b", "c"], 5)  # two entries each: answer and token count
    generator.generate(["c"], 5)
    assert len(server.log) == 3
    generator.generate(["a"], 5)
    assert len(server.log) == 4


def test_a_pickled_generator_goes_on_with_the_same_cache(server: FaultServer, tmp_path: Path):
    generator = connect(server, cache=tmp_path / "a.db", tokenizer="micro")
    generator.generate(["a b c"], 5)
    copy = pickle.loads(pickle.dumps(generator))
    assert copy.generate(["a b c", "d e"], 5) == [Answer("a c"), Answer("d e")]
    assert copy.count_tokens(["hello there"]) == generator.count_tokens(["hello there"])
    assert (copy.usage.requests, generator.usage.requests, len(server.log)) == (2, 1, 2)
    assert (
        copy.fingerprint == generator.fingerprint != connect(server, api="completions").fingerprint
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_generator_has_connections_and_locks_of_its_own(server: FaultServer):
    generator = connect(server)
    generator.generate(["a b c"], 5)
    parents = generator._sender.link()
    with parents.lock:  # as another thread may hold it
        child = os.fork()
        if child == 0:  # pragma: no cover
            signal.alarm(120)  # rather than to hang
            own = generator._sender.link()
            right = own.client is not parents.client and own.lock is not parents.lock
            os._exit(0 if right and generator.generate(["d e"], 5) == [Answer("d e")] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert generator._sender.link() is parents
    assert server.asked == ["a b c", "d e"]


# ---- token counts


def test_without_a_tokenizer_the_server_counts(server: FaultServer, tmp_path: Path):
    generator = connect(server, cache=tmp_path / "a.db")
    generator.generate(["one two three"], 5)
    # One is known from its answer, the other asked for; equal ones once.
    assert generator.count_tokens(["one two three", "four five", "four five"]) == [10, 9, 9]
    assert [r.body["max_tokens"] for r in server.log] == [5, 1]
    again = connect(server, cache=tmp_path / "a.db")
    assert again.count_tokens(["four five", "one two three"]) == [9, 10]
    assert len(server.log) == 2


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_count_needs_no_text_in_the_reply(server: FaultServer, reason: str):
    server.reply = {"choices": [{"message": {"content": None}, "finish_reason": reason}]}
    assert connect(server).count_tokens(["one two"]) == [9]


def test_a_server_that_reports_no_usage_is_an_error_that_asks_for_a_tokenizer(server: FaultServer):
    server.reply = {"usage": None}
    generator = connect(server)
    assert generator.generate(["a b"], 5) == [Answer("a b")]
    with pytest.raises(GeneratorError, match="pass a tokenizer"):
        generator.count_tokens(["a b"])


def test_with_a_tokenizer_nothing_is_asked(
    server: FaultServer, gpt2_tokenizer: PreTrainedTokenizerFast
):
    generator = connect(server, tokenizer=gpt2_tokenizer)
    expected = len(gpt2_tokenizer("one two <x>", add_special_tokens=False)["input_ids"])
    assert generator.count_tokens(["one two <x>", ""]) == [expected, 0]
    assert generator.tokenizer is gpt2_tokenizer
    assert not server.log


def test_the_constant_of_chat_servers_cancels_in_the_compression_ratio(
    server: FaultServer, gpt2_tokenizer: PreTrainedTokenizerFast
):
    episodes, masks = episodes_and_masks(10, gpt2_tokenizer)
    expected = Scorer(CountingGenerator(), make_reward("threshold"))(episodes, masks)
    scores = Scorer(connect(server), make_reward("threshold"))(episodes, masks)
    np.testing.assert_array_equal(scores.compression_ratio, expected.compression_ratio)
    np.testing.assert_array_equal(scores.original_tokens, expected.original_tokens + 7)
    np.testing.assert_array_equal(scores.reward, expected.reward)


# ---- the budget


def test_the_budget_of_requests_is_never_exceeded_and_answers_are_kept(
    server: FaultServer, tmp_path: Path
):
    generator = connect(server, cache=tmp_path / "a.db", max_requests=10)
    with pytest.raises(BudgetExceededError, match=r"max_requests=10 is used up \(10\)") as caught:
        generator.generate(texts(30), 5)
    assert isinstance(caught.value, GeneratorError)
    assert caught.value.prompt not in server.asked
    assert len(server.log) == generator.usage.requests == 10
    with pytest.raises(BudgetExceededError):
        generator.generate(texts(30), 5)
    assert len(server.log) == 10
    assert generator.generate(server.answered, 5) == answers_to(server.answered)
    more = connect(server, cache=tmp_path / "a.db", max_requests=20)
    assert more.generate(texts(30), 5) == answers_to(texts(30))
    assert Counter(server.asked) == Counter(texts(30))


def test_retries_count_as_requests(server: FaultServer):
    server.error = (500, "{}")
    with pytest.raises(BudgetExceededError, match="max_requests=3"):
        connect(server, max_requests=3, max_retries=5).generate(["a"], 5)
    assert len(server.log) == 3


def test_the_budget_of_tokens_stops_before_more_is_sent(server: FaultServer):
    generator = connect(server, max_total_tokens=40, concurrency=1)
    with pytest.raises(BudgetExceededError, match=r"max_total_tokens=40 is used up \(52\)"):
        generator.generate(texts(10), 5)
    # 4 words and 7 tokens of the chat template in, 2 words out: 13 a request.
    assert len(server.log) == 4


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (choice({"content": 3}), 200),
        ({"choices": []}, 200),
        ({"choices": "none"}, 200),
        (choice({"content": "half"}, "error"), 200),
        ({"error": {"message": "not now"}}, 500),
    ],
)
def test_tokens_of_failed_replies_count_before_more_is_sent(
    server: FaultServer, reply: dict, status: int
):
    usage = {"usage": {"prompt_tokens": 87, "completion_tokens": 30}}
    server.error = (status, json.dumps(reply | usage))
    generator = connect(server, max_total_tokens=50)
    with pytest.raises(BudgetExceededError, match=r"max_total_tokens=50 is used up \(117\)"):
        generator.generate(["a b"], 30)
    assert len(server.log) == 1
    assert (generator.usage.prompt_tokens, generator.usage.completion_tokens) == (87, 30)


def test_tokens_of_a_cut_answer_are_billed_once(server: FaultServer):
    server.reply = choice({"content": None}, "length") | {
        "usage": {"prompt_tokens": 87, "completion_tokens": 30}
    }
    generator = connect(server, max_total_tokens=50)
    with pytest.raises(GeneratorError, match="raise max_new_tokens"):
        generator.generate(["a b"], 30)
    with pytest.raises(BudgetExceededError):
        generator.generate(["c d"], 30)
    assert len(server.log) == 1


def test_a_budget_of_tokens_needs_a_server_that_counts(server: FaultServer):
    server.reply = {"usage": {"prompt_tokens": 3}}
    with pytest.raises(GeneratorError, match="set max_requests, not max_total_tokens"):
        connect(server, max_total_tokens=40, concurrency=1).generate(texts(10), 5)
    assert len(server.log) == 1


# ---- the key


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error.__dict__) + repr(error.args)


@pytest.mark.parametrize("status", [400, 401, 429, 500, 200])
def test_the_key_is_in_no_error_log_cache_or_pickle(
    server: FaultServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int
):
    # With a version the key is in two headers.
    generator = at(f"{server.url}?api-version=1", cache=tmp_path / "a.db", max_retries=0)
    errors = []
    with caplog.at_level(logging.DEBUG):
        generator.generate(["a b"], 5)
        # Some servers repeat the key: here in full, and wherever a long text may be cut.
        for padding in (0, *range(200, 400, 10)):
            said = "x" * padding + "{authorization}"
            server.error = (status, f'{{"error": {{"message": "{said}"}}}}')
            with pytest.raises(GeneratorError) as caught:
                generator.generate(["c d"], 5)
            errors.append(caught.value)
            assert caught.value.__cause__ is None
            assert caught.value.__context__ is None
    assert KEY in server.log[-1].headers["authorization"]
    assert "Bearer ***" in str(errors[0])
    seen = [*map(shown, errors), caplog.text, repr(generator), str(vars(generator))]
    stored = [pickle.dumps(generator), *map(pickle.dumps, errors)]
    stored += [path.read_bytes() for path in tmp_path.iterdir()]
    assert len(stored) >= 3
    for part in (KEY, KEY[:10]):
        assert not [text for text in seen if part in text]
        assert not [content for content in stored if part.encode() in content]


def test_the_key_can_come_from_another_variable_or_be_missing(server: FaultServer, monkeypatch):
    monkeypatch.setenv("OTHER_KEY", "sk-other")
    connect(server, api_key_env="OTHER_KEY").generate(["a"], 5)
    monkeypatch.delenv("OPENAI_API_KEY")
    connect(server).generate(["a"], 5)
    sent = [request.headers["authorization"] for request in server.log]
    assert sent[0] == "Bearer sk-other"
    assert KEY not in sent[1]


def test_a_url_with_a_password_is_refused_and_not_shown():
    with pytest.raises(ValueError, match="set the key in the environment") as caught:
        OpenAIGenerator("m", "https://me:hunter2@example.com/v1")
    assert "hunter2" not in str(caught.value)


# ---- making one


def test_short_form(server: FaultServer, tmp_path: Path):
    generator = load_generator(f"openai:org/model@v2@{server.url}", cache=tmp_path / "a.db")
    assert isinstance(generator, OpenAIGenerator)
    assert (generator.model, generator.base_url) == ("org/model@v2", server.url)
    generator.generate(["a b"], 5)
    assert server.log[0].body["model"] == "org/model@v2"
    assert (tmp_path / "a.db").exists()


def test_short_form_without_a_url_takes_that_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1234/v1/")
    assert load_generator("openai:some-model").name == "openai:some-model@http://localhost:1234/v1"


@pytest.mark.parametrize("variable", [None, ""])
def test_no_server_is_taken_that_was_not_named(
    monkeypatch: pytest.MonkeyPatch, variable: str | None
):
    if variable is not None:
        monkeypatch.setenv("OPENAI_BASE_URL", variable)
    with pytest.raises(ValueError, match=r"no default server.*or set OPENAI_BASE_URL"):
        load_generator("openai:some-model")
    with pytest.raises(ValueError, match="no default server"):
        OpenAIGenerator("some-model")


def test_azures_version_is_sent_and_its_key_header_too(server: FaultServer):
    base = server.url.removesuffix("/v1") + "/openai/deployments/d"
    generator = load_generator(f"openai:gpt@{base}/?api-version=2024-10-21")
    assert generator.name == f"openai:gpt@{base}?api-version=2024-10-21"
    assert generator.generate(["a b"], 5) == [Answer("a b")]
    [request] = server.log
    assert request.path == "/openai/deployments/d/chat/completions?api-version=2024-10-21"
    assert (request.headers["api-key"], request.headers["authorization"]) == (KEY, f"Bearer {KEY}")
    assert set(request.body) == {"model", "messages", "temperature", "max_tokens"}
    connect(server).generate(["a b"], 5)
    assert "api-key" not in server.log[1].headers


@pytest.mark.parametrize(("value", "thinks"), [("false", False), ("False", False), ("true", True)])
def test_thinking_can_be_switched_in_the_base_url(server: FaultServer, value: str, thinks: bool):
    generator = load_generator(f"openai:m@{server.url}?enable_thinking={value}")
    generator.generate(["a b"], 5)
    [request] = server.log
    assert request.path == "/v1/chat/completions"
    assert request.body["chat_template_kwargs"] == {"enable_thinking": thinks}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://h/v1/chat/completions", "use 'http://h/v1'$"),
        ("http://h/v1/chat/completions/", "use 'http://h/v1'$"),
        ("http://h/v1/Completions", "use 'http://h/v1' and api='completions'"),
        ("http://h/v1/responses", "use 'http://h/v1'$"),
        (
            "https://x.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
            r"use 'https://x.com/openai/deployments/d\?api-version=2024-10-21'$",
        ),
        ("http://h/v1?api-version=", "api-version=VERSION"),
        ("http://h/v1?enable_thinking=maybe", "'true' or 'false', got 'maybe'"),
        ("http://h/v1?temperature=1", "in extra_body"),
        ("http://h/v1?api-version=1&subscription-key=hunter2", "set keys in the environment"),
        ("http://h/v1?hunter2", "set keys in the environment"),
    ],
)
def test_a_base_url_that_would_not_work_is_refused_with_the_right_one(url: str, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        OpenAIGenerator("m", url)
    assert "hunter2" not in str(caught.value)


def test_thinking_is_switched_in_one_place():
    with pytest.raises(ValueError, match="got both: remove one"):
        OpenAIGenerator(
            "m",
            "http://h/v1?enable_thinking=false",
            extra_body={"chat_template_kwargs": {"enable_thinking": True}},
        )


@pytest.mark.parametrize(
    "spec",
    [
        "openai:",
        "openai:@http://localhost:8000/v1",
        "openai:m@",
        "openai:m@localhost:8000/v1",
        "openai:m@ftp://localhost/v1",
        "openai:m@http://",
        "openai:m@http://localhost:port/v1",
        "openai:m@2024",
        "openai:m@http://localhost/v1?key=1",
        "openai:m@http://localhost/v1#part",
        "openai:m@http://me:hunter2@localhost/v1",
    ],
)
def test_short_forms_that_are_wrong_say_what_is_expected(spec: str):
    with pytest.raises(ValueError, match="expected generator 'openai:MODEL@BASE_URL'") as caught:
        load_generator(spec)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"api": "responses"},
        {"limit_field": "n"},
        {"concurrency": 0},
        {"concurrency": 2.5},
        {"max_retries": -1},
        {"max_requests": -1},
        {"max_total_tokens": True},
        {"max_prompt_tokens": 0},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"backoff": -1},
        {"extra_body": {"a": object()}},
        {"extra_body": {"a": float("nan")}},
        {"extra_body": 5},
        {"tokenizer": "/no/such/folder"},
    ],
)
def test_arguments_out_of_range_are_refused(server: FaultServer, options: dict):
    with pytest.raises(ValueError, match=next(iter(options)) + r"|cannot load a tokenizer"):
        connect(server, **options)


def test_without_the_client_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    real_import: Callable = builtins.__import__

    def without(name: str, globals: Any = None, locals: Any = None, *rest: Any) -> Any:
        if name == "openai" and not (rest and rest[-1]):  # not our own module of that name
            raise ImportError(name)
        return real_import(name, globals, locals, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'pcrl-gym\[openai\]'"):
        OpenAIGenerator("m", "http://localhost:8000/v1")


def test_the_client_is_imported_only_when_a_generator_is_made():
    script = (
        "import sys, pcrl_gym.generators.openai.generator\n"
        "print({'openai', 'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_an_environment_takes_the_short_form(server: FaultServer):
    env = gym.make(ID, dataset=PROMPTS[:3], generator=f"openai:m@{server.url}", unit="word")
    observation, _ = env.reset(seed=0, options={"index": 0})
    *_, info = env.step(observation["attention_mask"])
    assert info["output"] == info["compressed_output"] == "Instruction: Output:"
    assert info["similarity"] == 1.0
    env.close()


def test_the_examples_in_the_manual_ask_the_server(
    server: FaultServer, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[3] / "docs" / "api-generators.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL))
    code = code.replace("http://localhost:8000/v1", server.url)
    code = code.replace('tokenizer="Qwen/Qwen3-0.6B"', 'tokenizer="micro"')
    names: dict[str, Any] = {}
    exec(code, names)
    assert {request.body["model"] for request in server.log} == {"Qwen/Qwen3-0.6B"}
    assert names["info"]["prompt"] in server.asked
    assert (tmp_path / "runs" / "answers.db").exists()
    assert names["generator"].usage.requests == len(server.log)


# ---- a real server


@pytest.mark.slow
@needs_serving
def test_micro_behind_transformers_serve_answers_as_in_process():
    folder = str(weights_folder("causal"))
    local = load_generator("micro", device="cpu")
    prompts = [AlpacaTemplate().render(prompt).text for prompt in PROMPTS[:4]]
    with transformers_serve(folder) as url:
        remote = OpenAIGenerator(folder, url, api="completions", timeout=600, tokenizer=folder)
        expected = local.generate(prompts, 16)
        assert [a.text for a in remote.generate(prompts, 16)] == [a.text for a in expected]
        assert remote.count_tokens(prompts) == local.count_tokens(prompts)
        counted = OpenAIGenerator(folder, url, api="completions", timeout=600)
        ours = np.array(local.count_tokens(prompts))
        assert len(set(counted.count_tokens(prompts) - ours)) == 1
