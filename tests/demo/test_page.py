"""What the page's events do, the command that serves it, and the Space, without a browser."""

from __future__ import annotations

import ast
import importlib
import json
import re
import socket
import sys
import threading
import urllib.request
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError

import gradio
import pytest
import yaml

import agents.__main__
import models
import pcrl_gym.demo
import policies
from fakes import CountingGenerator
from html_reader import Reader
from imports import EXTRAS, ROOT
from loopback_only import REFUSED
from pcrl_gym import cli
from pcrl_gym.demo.compressing import Demo, PolicyAgent
from pcrl_gym.demo.page import MAX_WAITING, Handlers, launch, make_page
from pcrl_gym.demo.query import REAL_EXAMPLES
from pcrl_gym.demo.rate_limit import RateLimit
from pcrl_gym.errors import GeneratorError, MissingExtraError
from serving import free_port, served

SPACE = ROOT / "examples" / "space"
SECONDS = 60  # enough for a machine under load; nothing waits that long
PROTECTED = ", constraints protected"
READY = "The demo is running at http://127.0.0.1:"


class Stubborn(PolicyAgent):
    """An agent that takes no rate."""

    takes_rate = False


@pytest.fixture(scope="module")
def demo() -> Demo:
    compressor = policies.compressor(models.gpt2_tokenizer())
    agents = [PolicyAgent("first", compressor), Stubborn("stubborn", compressor)]
    return Demo(agents, CountingGenerator(max_prompt_tokens=500))


def request(session: str = "s", **parameters: str) -> Any:
    """What a handler reads of Gradio's request."""
    return SimpleNamespace(session_hash=session, query_params=parameters)


def fetch(url: str, data: bytes | None = None, kind: str = "application/json") -> str:
    asked = urllib.request.Request(url, data, {"Content-Type": kind})
    with urllib.request.urlopen(asked) as reply:
        return reply.read().decode()


def join(address: str, fields: list[Any], session: str) -> dict[str, Any]:
    """Ask as the page's button does."""
    listed = json.loads(fetch(f"{address.rstrip('/')}/config"))["dependencies"]
    (place,) = (event["id"] for event in listed if event["api_name"] == "compress")
    asked = {"data": fields, "fn_index": place, "session_hash": session}
    return json.loads(
        fetch(f"{address.rstrip('/')}/gradio_api/queue/join", json.dumps(asked).encode())
    )


def answers(address: str, session: str) -> str:
    """The result's HTML, once it is there."""
    stream = fetch(f"{address.rstrip('/')}/gradio_api/queue/data?session_hash={session}")
    told = [json.loads(line.removeprefix("data: ")) for line in stream.splitlines() if line]
    (done,) = (message for message in told if message["msg"] == "process_completed")
    return done["output"]["data"][0]


# Events


def test_fields_become_a_result_with_a_link(demo: Demo):
    html = Handlers(demo).compress("Please sort", "b a", "first", "", False, 1.0, request())
    read = Reader(html)
    assert read.texts["compressed"] == "Instruction: \nInput: \nOutput: \n"
    assert read.texts["prompt"] == "Instruction: Please sort\nInput: b a\nOutput: \n"
    assert read.links == ["?instruction=Please+sort&input=b+a&agent=first&rate=1"]
    free = Reader(Handlers(demo).compress("Please sort", "", "first", "", True, 1.0, request()))
    assert free.links == ["?instruction=Please+sort&agent=first"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("", " "), "The prompt is empty"),
        (("x" * 1001, ""), "This prompt has 1,001 characters"),
        (("x", "\ud800"), "The input is not valid Unicode"),
        (("x " * 450, ""), "too long for the generator 'counting', which takes at most 441 tokens"),
    ],
)
def test_what_is_wrong_is_told_on_the_page(demo: Demo, fields: tuple[str, str], message: str):
    html = Handlers(demo).compress(*fields, "first", "", True, 0.5, request())
    assert message in Reader(html).texts["problem"]


def test_a_generator_that_fails_is_told_on_the_page(demo: Demo, monkeypatch: pytest.MonkeyPatch):
    def fail(*args: Any) -> None:
        raise GeneratorError("no <answer> today")

    monkeypatch.setattr(demo.generator, "generate", fail)
    html = Handlers(demo).compress("Please sort", "", "first", "", True, 0.5, request())
    assert "no <answer> today" in Reader(html).texts["problem"]


def test_who_asks_too_often_is_told_to_wait(demo: Demo):
    now = [0.0]
    handlers = Handlers(demo, RateLimit(most=2, seconds=10.0, clock=lambda: now[0]))

    def answered(session: str = "a") -> bool:
        html = handlers.compress("Please sort", "", "first", "", True, 0.5, request(session))
        told = "The demo answers at most 2 prompts per 10 seconds: try again in 8 s"
        return Reader(html).texts.get("problem") != told

    assert answered()
    assert answered()
    now[0] = 2.5
    assert not answered()
    assert answered("b")
    now[0] = 10.0
    assert answered()
    # Blank prompts cost nothing.
    assert "prompt is empty" in handlers.compress("", "", "first", "", True, 0.5, request("a"))


def test_an_address_fills_the_fields_and_is_answered(demo: Demo):
    restore = Handlers(demo).restore
    asked = request(instruction="Please sort", input="b a", agent="first", rate="0.25")
    *fields, rate, html = restore(asked)
    assert fields == ["Please sort", "b a", "first", "", False]
    assert (rate.value, rate.interactive) == (0.25, True)
    assert Reader(html).links == ["?instruction=Please+sort&input=b+a&agent=first&rate=0.25"]
    # An agent that takes no rate is free, whatever the address says.
    assert restore(request(instruction="a", agent="stubborn", rate="0.25"))[2:5] == [
        "stubborn", "", True,
    ]  # fmt: skip
    assert restore(request(instruction="a"))[2:5] == ["first", "", True]


def test_without_a_prompt_in_the_address_the_first_example_is_answered(demo: Demo):
    instruction, input, agent, other, free, _, html = Handlers(demo).restore(request())
    example = next(iter(REAL_EXAMPLES.values()))
    assert (instruction, input) == (example.instruction, example.input)
    assert (agent, other, free) == ("first", "stubborn", True)
    assert [html.count(f">{name}</h2>") for name in ("first", "stubborn")] == [1, 1]


def test_two_agents_are_shown_side_by_side(demo: Demo):
    compress = Handlers(demo).compress
    html = compress("Please sort", "b a", "first", "stubborn", False, 1.0, request())
    assert html.count("verdict") == 2
    assert Reader(html).links[0].endswith("&agent=first&other=stubborn&rate=1")
    once = compress("Please sort", "b a", "first", "first", False, 1.0, request())
    assert once.count("verdict") == 1
    unknown = Handlers(demo).restore(request(instruction="a", other="<nobody>"))[-1]
    assert "There is no agent" in Reader(unknown).texts["problem"]


def test_a_wrong_address_leaves_the_fields(demo: Demo):
    restore = Handlers(demo).restore
    for parameters, told in (
        ({"instruction": "a", "agent": "<nobody>"}, "There is no agent '<nobody>'"),
        ({"instruction": "a" * 1001}, "1,001 characters"),
        ({"instruction": "a", "rate": "7"}, "must be between 0 and 1, got 7"),
    ):
        *fields, html = restore(request(**parameters))
        assert fields == [gradio.skip()] * 6
        assert told in "".join(Reader(html).texts.values())


def test_the_slider_goes_with_agent_and_checkbox(demo: Demo):
    def controls(agent: str, free: bool) -> tuple[bool, bool, bool]:
        checkbox, slider = Handlers(demo).controls(agent, free)
        return checkbox.value, checkbox.interactive, slider.interactive

    assert controls("first", True) == (True, True, False)
    assert controls("first", False) == (False, True, True)
    assert controls("stubborn", False) == (True, False, False)


def test_one_prompt_is_answered_at_a_time_and_few_wait():
    entered, release = threading.Semaphore(0), threading.Semaphore(0)
    inside: list[int] = []

    def answer(text: str) -> str:
        inside.append(threading.get_ident())
        entered.release()
        assert release.acquire(timeout=SECONDS)
        assert inside == [threading.get_ident()]  # nobody else came in meanwhile
        inside.clear()
        return "yes"

    agent = PolicyAgent("first", policies.compressor(models.gpt2_tokenizer()))
    page = make_page(Demo([agent], CountingGenerator(answer)))
    launch(page, "127.0.0.1", int(free_port()))

    def ask(session: int) -> dict[str, Any]:
        return join(
            page.local_url, [f"Please sort {session}", "", "first", "", False, 0.0], str(session)
        )

    try:
        assert "event_id" in ask(0)
        assert entered.acquire(timeout=SECONDS)
        assert all("event_id" in ask(session) for session in range(1, MAX_WAITING + 1))
        with pytest.raises(HTTPError, match="503"):
            ask(MAX_WAITING + 1)
        for _ in range(MAX_WAITING):
            release.release()
            assert entered.acquire(timeout=SECONDS)
        release.release()
        done = answers(page.local_url, "0")
        assert Reader(done).texts["original-answer"] == "yes"
    finally:
        page.close(verbose=False)


# Commands


def test_without_gradio_the_line_that_installs_it_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "pcrl_gym.demo.page")
    monkeypatch.delattr(pcrl_gym.demo, "page")
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'pcrl-gym[demo]'")):
        importlib.import_module("pcrl_gym.demo.page")
    # Told before a model is looked for.
    assert cli.main(["demo", "--model", "nowhere/none"]) == 2
    assert agents.__main__.main(["demo", "--model", "nowhere/none"]) == 2
    told = "error: the demo page needs Gradio: pip install 'pcrl-gym[demo]'\n"
    assert capsys.readouterr().err == told * 2


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x"])
def test_wrong_ports_exit_with_2(capsys, port: str):
    assert cli.main(["demo", "--port", port]) == 2
    assert "--port" in capsys.readouterr().err


def test_models_and_agents_that_are_not_there_exit_with_2(capsys, tmp_path):
    assert cli.main(["demo", "--model", str(tmp_path)]) == 2
    assert "error: " in capsys.readouterr().err
    assert agents.__main__.main(["demo", "--agents", "scst,random"]) == 2
    assert "has to be trained" in capsys.readouterr().err


def test_a_taken_port_exits_with_1(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert cli.main(["demo", "--port", port]) == 1
    err = capsys.readouterr().err
    assert f"error: cannot serve the page on 127.0.0.1, port {port}: choose another" in err


def test_commands_hand_their_arguments_on(monkeypatch, tmp_path):
    policies.compressor(models.gpt2_tokenizer()).save_pretrained(tmp_path / "mine")
    seen = []
    monkeypatch.setattr("pcrl_gym.demo.page.serve", lambda *args: seen.append(args))
    common = ["--model", "micro", "--model", str(tmp_path / "mine"), "--generator", "micro-seq2seq"]
    assert cli.main(["demo", *common, "--host", "::1", "--port", "80"]) == 0
    assert agents.__main__.main(["demo", *common, "--agents", "random, truncation"]) == 0
    (first, *where), (second, *default) = seen
    assert (where, default) == (["::1", 80], ["127.0.0.1", None])
    assert first.generator.name == second.generator.name == "micro-seq2seq"
    policies_ = [f"policy {name}{end}" for name in ("micro", "mine") for end in ("", PROTECTED)]
    assert list(first.agents) == policies_
    assert list(second.agents) == [*policies_, "random", "truncation"]


@pytest.mark.parametrize(("found", "name"), [(True, "instruct"), (False, "micro")])
def test_the_defaults_are_smollm2_and_its_policy_if_it_is_installed(monkeypatch, found, name):
    loaded = []
    monkeypatch.setattr("pcrl_gym.storage.gguf.smollm2_installed", lambda: found)
    monkeypatch.setattr(
        "pcrl_gym.generators.loading.load_generator",
        lambda given, device: loaded.append(given) or CountingGenerator(),
    )
    monkeypatch.setattr("pcrl_gym.demo.page.serve", lambda demo, *where: loaded.append(demo))
    assert cli.main(["demo"]) == 0
    generator, demo = loaded
    assert generator == ("smollm2" if found else "micro")
    assert list(demo.agents) == [f"policy {name}", f"policy {name}{PROTECTED}"]


@pytest.mark.slow
def test_ctrl_c_ends_the_command():
    command = ["-m", "pcrl_gym.cli", "demo", "--port", free_port()]
    with served(command, READY) as server:
        assert server.interrupt() == 0
    assert "Traceback" not in server.output


def test_ctrl_c_before_gradio_waits_for_it_closes_the_page(monkeypatch):
    closed = []

    def interrupted() -> None:
        raise KeyboardInterrupt

    page = SimpleNamespace(
        local_url="http://127.0.0.1:1",
        block_thread=interrupted,
        close=lambda verbose: closed.append(verbose),
    )
    module = importlib.import_module("pcrl_gym.demo.page")
    monkeypatch.setattr(module, "make_page", lambda demo: page)
    monkeypatch.setattr(module, "launch", lambda *given: None)
    module.serve(None)
    assert closed == [False]


# The Space


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """The Space's app as a Space runs it, but that it may reach this machine alone."""
    port = free_port()
    environment = {"GRADIO_SERVER_PORT": port, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "0"}
    command = ["tests/loopback_only.py", str(SPACE / "app.py")]
    with served(command, READY, **environment) as server:
        yield f"http://127.0.0.1:{port}"
    assert REFUSED not in server.output


def test_the_space_answers(space: str):
    prompt = "Could you please sort these words for me, I would be very happy: pear, fig, apple"
    join(space, [prompt, "", "policy micro", "", True, 0.5], "mine")
    read = Reader(answers(space, "mine"))
    assert read.texts["original-answer"] == read.texts["compressed-answer"] == "apple, fig, pear"
    assert "please" in read.texts["del"]


def test_the_space_takes_no_files_and_shows_no_api(space: str):
    assert "<title>" in fetch(f"{space}/") or "pcrl_gym demo" in fetch(f"{space}/")
    assert json.loads(fetch(f"{space}/gradio_api/info")) == {
        "named_endpoints": {}, "unnamed_endpoints": {},
    }  # fmt: skip
    boundary, line = "xyz", b'Content-Disposition: form-data; name="files"; filename="a.txt"'
    body = b"--xyz\r\n" + line + b"\r\n\r\nhello\r\n--xyz--\r\n"
    with pytest.raises(HTTPError, match="413"):
        fetch(f"{space}/gradio_api/upload", body, f"multipart/form-data; boundary={boundary}")


def test_the_space_is_described_as_the_hub_wants_it():
    _, head, text = (SPACE / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    described = yaml.safe_load(head)
    assert described["sdk"] == "gradio"
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert f"gradio=={described['sdk_version']}\n" in pins
    assert re.fullmatch(r"3\.1[0-3]", described["python_version"])
    assert described["license"] == "apache-2.0"
    assert len(described["short_description"]) <= 60
    app = SPACE / described["app_file"]
    assert ast.get_docstring(ast.parse(app.read_text(encoding="utf-8")))
    assert "pcrl-gym demo" in text
    needs = (SPACE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert "pcrl-gym[demo]" in needs
    assert "demo" in EXTRAS
