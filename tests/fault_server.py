"""An OpenAI-compatible server on loopback that answers by a function and fails by a schedule."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import pytest

from fakes import first_and_last_word

Fault = Literal["429", "500", "stall", "cut", "no reply", "broken json", "no choices"]
FAULTS: tuple[Fault, ...] = get_args(Fault)


@dataclass(frozen=True)
class Request:
    """One request as it came in, its path with the query, and the fault it met, if any."""

    path: str
    text: str
    body: dict[str, Any]
    headers: dict[str, str]
    fault: str | None


def no_faults(text: str, attempt: int) -> None:
    """A schedule without faults."""


def seeded_faults(
    seed: int, share: float = 0.3, kinds: tuple[Fault, ...] = FAULTS, most: int = 5
) -> Callable[[str, int], Fault | None]:
    """A schedule in which a share of the requests fails, the same whatever order they come in.

    Args:
        seed: Of the schedule.
        share: How many of the requests fail.
        kinds: In which ways they do.
        most: The most failures of one text, so that its retries cannot run out.
    """

    def fault(text: str, attempt: int) -> Fault | None:
        chance = random.Random(f"{seed} {attempt} {text}")
        failing = chance.random() < share and attempt < most
        return chance.choice(kinds) if failing else None

    return fault


KEY = "sk-very-secret-0123456789"


def set_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set `KEY`, and neither proxies nor settings of the machine."""
    for name in ("OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@dataclass
class FaultServer:
    """Runs within a `with` block.

    Attributes:
        answer: The text that follows a prompt.
        fault: By prompt and how often it came before, what goes wrong.
        overhead: Tokens that a chat prompt has besides its words.
        error: Status and body that every request gets, if set; "{authorization}" in the body
            becomes the header.
        hold_after: After so many answers, requests wait until `release`.
        reply: Fields that replace those of a proper reply.
        log: All requests.
    """

    answer: Callable[[str], str] = first_and_last_word
    fault: Callable[[str, int], Fault | None] = no_faults
    overhead: int = 7
    error: tuple[int, str] | None = None
    error_headers: dict[str, str] = field(default_factory=dict)
    hold_after: int | None = None
    reply: dict[str, Any] = field(default_factory=dict)
    log: list[Request] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    held: int = 0

    def __enter__(self) -> FaultServer:
        self.changed = threading.Condition()
        self.closing = threading.Event()
        self.attempts: Counter[tuple[str, str]] = Counter()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def asked(self) -> list[str]:
        """The prompts of all requests."""
        return [request.text for request in self.log]

    @property
    def faults(self) -> int:
        return sum(request.fault is not None for request in self.log)

    def release(self) -> None:
        with self.changed:
            self.hold_after = None
            self.changed.notify_all()

    def wait_until_held(self, n: int) -> None:
        """Waits until `n` requests are held."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.held >= n, timeout=300)


class _Server(ThreadingHTTPServer):
    owner: FaultServer
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave before the reply are part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open, as with real servers
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        owner = self.server.owner
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        chat = urlsplit(self.path).path.endswith("/chat/completions")
        text = body["messages"][0]["content"] if chat else body["prompt"]
        with owner.changed:
            # Asked for a count and asked for an answer, a text fails by the same schedule.
            attempt = owner.attempts[self.path, text]
            owner.attempts[self.path, text] += 1
            fault = owner.fault(text, attempt)
            owner.log.append(
                Request(
                    self.path, text, body, {k.lower(): v for k, v in self.headers.items()}, fault
                )
            )
            owner.in_flight += 1
            owner.most_in_flight = max(owner.most_in_flight, owner.in_flight)
        try:
            self._respond(owner, chat, text, body, fault)
        finally:
            with owner.changed:
                owner.in_flight -= 1

    def _respond(
        self, owner: FaultServer, chat: bool, text: str, body: dict[str, Any], fault: str | None
    ) -> None:
        limit = body.get("max_tokens", body.get("max_completion_tokens"))
        words = owner.answer(text).split()[:limit]
        message = {"message": {"role": "assistant", "content": " ".join(words)}}
        usage = {
            "prompt_tokens": len(text.split()) + owner.overhead * chat,
            "completion_tokens": len(words),
        }
        # White space around the answer, as models give it.
        choice = message if chat else {"text": f" {' '.join(words)}\n"}
        reply = {"choices": [{**choice, "finish_reason": "stop"}], "usage": usage, **owner.reply}
        if owner.error is not None:
            status, said = owner.error
            said = said.replace("{authorization}", self.headers.get("Authorization", ""))
            self._send(status, said, owner.error_headers)
        elif fault in ("429", "500"):
            said = json.dumps({"error": {"message": "not now"}})
            self._send(int(fault), said, {"Retry-After": "0"} if fault == "429" else {})
        elif fault == "stall":
            owner.closing.wait(60)  # the client will have left long before
            self.close_connection = True
        elif fault == "no reply":
            self.close_connection = True
        elif fault == "cut":
            self._send(200, json.dumps(reply), cut=True)
        elif fault == "broken json":
            self._send(200, json.dumps(reply)[:-9])
        elif fault == "no choices":
            self._send(200, json.dumps({**reply, "choices": []}))
        else:
            self._answer(owner, text, json.dumps(reply))

    def _answer(self, owner: FaultServer, text: str, reply: str) -> None:
        with owner.changed:
            if owner.hold_after is not None and len(owner.answered) >= owner.hold_after:
                owner.held += 1
                owner.changed.notify_all()
                owner.changed.wait_for(lambda: owner.hold_after is None)
                self.close_connection = True
                return
            owner.answered.append(text)
        self._send(200, reply)

    def _send(
        self, status: int, said: str, headers: dict[str, str] | None = None, cut: bool = False
    ) -> None:
        content = said.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection |= cut
