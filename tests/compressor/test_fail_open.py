"""What goes out when a compressor fails, is late, or has no thread left; no test waits for time."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest

import models
from pcrl_gym.compressor import fail_open
from pcrl_gym.compressor.fail_open import FailOpen
from pcrl_gym.compressor.messages import CompressedMessages
from policies import TEXT, compressor

HALF = compressor(models.gpt2_tokenizer(), max_units=24)
LONG = 600.0  # seconds that no call takes; tests of late calls have 0
CHAT = [{"role": "user", "content": TEXT}]


class Scripted:
    """In place of a compressor: runs a function of its arguments."""

    builder = HALF.builder

    def __init__(self, run: Callable[..., Any]) -> None:
        self.run = run

    def __call__(self, text: Any = None, **given: Any) -> Any:
        return self.run(text, **given)


class Held:
    """A function that does not return before `release`; `calls` are those that have begun."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.begun = threading.Semaphore(0)
        self.release = threading.Event()

    def __call__(self, text: Any, **given: Any) -> Any:
        self.calls.append(text)
        self.begun.release()
        assert self.release.wait(LONG)
        return HALF(text, **given)


@pytest.fixture
def held():
    function = Held()
    yield function
    function.release.set()


def failing(error: BaseException) -> Callable[..., Any]:
    def run(*args: Any, **given: Any) -> Any:
        raise error

    return run


@pytest.mark.parametrize(
    "form",
    [
        {"text": TEXT, "rate": 0.3},
        {"text": [TEXT, "b a"]},
        {"instruction": TEXT, "input": "b a"},
        {"instruction": [TEXT]},
        {"messages": CHAT, "rate": 0.3},
        {"question": "b?", "context": [TEXT, ""], "context_rates": [0.3, None]},
    ],
)
def test_in_time_it_does_what_the_compressor_does(form: dict[str, Any]):
    wrapped = FailOpen(HALF, LONG)
    assert wrapped(**form) == HALF(**form)
    assert not wrapped.failures


def test_an_exception_gives_the_original_in_the_same_form(caplog):
    wrapped = FailOpen(Scripted(failing(RuntimeError("no memory"))), LONG)
    assert wrapped(TEXT, rate=0.3).text == TEXT
    assert [one.text for one in wrapped([TEXT, "b a"])] == [TEXT, "b a"]
    done = wrapped(messages=CHAT, roles=("user",))
    assert isinstance(done, CompressedMessages)
    assert done.messages == CHAT
    assert wrapped(question="b?", context=[TEXT]).context == [TEXT]
    assert wrapped(instruction="Sort", input="b a").text == HALF(
        instruction="Sort", input="b a", rate=0
    ).text  # fmt: skip
    assert wrapped.failures == {"RuntimeError": 5}
    [record] = caplog.records
    assert (record.name, record.levelno) == ("pcrl_gym.compressor.fail_open", logging.WARNING)
    assert "(RuntimeError)" in record.getMessage()
    assert "no memory" in caplog.text


def test_each_kind_of_failure_is_logged_once(caplog):
    errors = iter([ValueError("a"), KeyError("b"), ValueError("c"), KeyError("d")])
    wrapped = FailOpen(Scripted(lambda *_: failing(next(errors))()), LONG)
    for _ in range(4):
        assert wrapped(TEXT).text == TEXT
    assert wrapped.failures == {"ValueError": 2, "KeyError": 2}
    assert [record.getMessage().split("(")[1].split(")")[0] for record in caplog.records] == [
        "ValueError", "KeyError",
    ]  # fmt: skip


def test_texts_and_budgets_that_the_compressor_refuses_go_out_too():
    wrapped = FailOpen(HALF, LONG)
    assert wrapped("half \ud800").text == "half \ud800"
    assert wrapped(TEXT, target_tokens=1, force_keep=["apple"]).text == TEXT
    assert wrapped(messages=[object()]).compressions == ()
    assert wrapped.failures == {"ValueError": 3}


def test_without_an_original_the_error_remains():
    wrapped = FailOpen(HALF, LONG)
    with pytest.raises(ValueError, match="pass exactly one of text"):
        wrapped()
    with pytest.raises(ValueError, match="text must be a string"):
        wrapped(3)
    assert not wrapped.failures


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_what_ends_the_process_passes_through(error: BaseException):
    wrapped = FailOpen(Scripted(failing(error)), LONG)
    with pytest.raises(type(error)):
        wrapped(TEXT)
    assert not wrapped.failures


def test_a_late_result_is_discarded_and_its_thread_used_again(held: Held, monkeypatch):
    wrapped = FailOpen(Scripted(held), LONG, workers=1)
    make_late(wrapped, held, monkeypatch)
    held.release.set()
    wrapped._pool.submit(int).result()  # in the same thread, after the late call
    assert wrapped(TEXT, rate=0.3) == HALF(TEXT, rate=0.3)
    assert wrapped.failures == {"timeout": 1}


def test_the_original_goes_out_at_once_while_late_calls_occupy_all_threads(
    held: Held, monkeypatch, caplog
):
    wrapped = FailOpen(Scripted(held), LONG, workers=2)
    make_late(wrapped, held, monkeypatch)
    make_late(wrapped, held, monkeypatch)
    for _ in range(50):
        assert wrapped(messages=CHAT).messages == CHAT
    assert wrapped.failures == {"timeout": 2, "busy": 50}
    assert len(held.calls) == 2
    assert len(caplog.records) == 2


def test_a_free_thread_is_used_while_another_is_occupied(held: Held, monkeypatch):
    wrapped = FailOpen(Scripted(held), LONG, workers=2)
    make_late(wrapped, held, monkeypatch)
    wrapped.compressor = HALF
    assert wrapped(TEXT, rate=0.3) == HALF(TEXT, rate=0.3)
    assert wrapped.failures == {"timeout": 1}


def test_a_call_that_found_no_thread_in_time_never_runs(held: Held):
    wrapped = FailOpen(Scripted(held), timeout=0, workers=1)
    first = wrapped._pool.submit(held, "first")
    assert wrapped("second").text == "second"
    assert wrapped.failures == {"timeout": 1}
    held.release.set()
    assert first.result() == HALF("first")
    wrapped._pool.submit(int).result()
    assert held.calls == ["first"]


def test_an_interrupted_call_counts_as_late_and_passes_the_interrupt_on(held: Held, monkeypatch):
    wrapped = FailOpen(Scripted(held), LONG, workers=1)

    def interrupted(*args: Any) -> Any:
        assert held.begun.acquire(timeout=LONG)
        raise KeyboardInterrupt

    monkeypatch.setattr(fail_open, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wrapped(TEXT)
    assert not wrapped.failures
    assert wrapped(TEXT).text == TEXT
    assert wrapped.failures == {"busy": 1}


def test_threads_share_one():
    errors = Scripted(lambda text: HALF(text) if text else failing(ValueError())())
    wrapped = FailOpen(errors, LONG, workers=4)
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(wrapped, [TEXT, ""] * 100))
    assert done[::2] == [HALF(TEXT)] * 100
    assert {one.text for one in done[1::2]} == {""}
    assert wrapped.failures == {"ValueError": 100}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_has_threads_of_its_own():
    """A server may compress before it forks its workers."""
    answers = Scripted(lambda text: failing(ValueError())() if text == "fail" else text.upper())
    wrapped = FailOpen(answers, LONG, workers=1)
    assert wrapped("parent") == "PARENT"
    with wrapped._lock:  # as another thread may hold it
        child = os.fork()
        if child == 0:  # pragma: no cover
            signal.alarm(120)  # rather than to hang
            right = wrapped("child") == "CHILD" and wrapped("fail").text == "fail"
            os._exit(0 if right and wrapped.failures == {"ValueError": 1} else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def make_late(wrapped: FailOpen, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a call whose time is over once it has begun."""

    def time_is_over(futures: list[Future[Any]], timeout: float) -> Any:
        assert timeout == wrapped.timeout
        assert held.begun.acquire(timeout=LONG)
        return wait(futures, 0)

    with monkeypatch.context() as patch:
        patch.setattr(fail_open, "wait", time_is_over)
        assert wrapped(TEXT).text == TEXT


@pytest.mark.parametrize("timeout", [-1, True, "1", float("nan"), float("inf"), None])
def test_a_time_limit_is_a_number_of_seconds(timeout: Any):
    with pytest.raises(ValueError, match="timeout must be a number of seconds, at least 0"):
        FailOpen(HALF, timeout)


def test_there_is_a_thread():
    with pytest.raises(ValueError, match="workers must be an integer of at least 1, got 0"):
        FailOpen(HALF, workers=0)
