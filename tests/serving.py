"""Real servers on loopback: started, waited for, and stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from imports import ROOT

needs_serving = pytest.mark.skipif(
    find_spec("uvicorn") is None or find_spec("fastapi") is None,
    reason="needs pip install 'transformers[serving]'",
)


class Served:
    """A server's process.

    Attributes:
        output: What it has printed; all of it once it has ended.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.output = ""

    def wait_for(self, text: str) -> None:
        """Read its output up to a line that holds a text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if text in line:
                return
        pytest.fail(self.output)

    def interrupt(self) -> int:
        """End it as Ctrl-C does; returns its exit status."""
        self.process.send_signal(signal.SIGINT)
        self.output += self.process.communicate(timeout=60)[0]
        return self.process.returncode


@contextmanager
def served(command: Sequence[str], ready: str, **environment: str) -> Iterator[Served]:
    """Run a server until the end of the block.

    Args:
        command: What follows the interpreter or, if it is an absolute path, all of it.
        ready: Text of a line of its output that tells that it answers.
        environment: Variables besides those of the tests.
    """
    whole = list(command) if Path(command[0]).is_absolute() else [sys.executable, *command]
    process = subprocess.Popen(
        whole,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        # Tests that run in the background ignore Ctrl-C, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    server = Served(process)
    try:
        server.wait_for(ready)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
            server.output += process.communicate()[0]


def free_port() -> str:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return str(listening.getsockname()[1])


@contextmanager
def transformers_serve(folder: str) -> Iterator[str]:
    """Run `transformers serve` on a saved model.

    Yields:
        The server's base URL, once it answers.
    """
    port = free_port()
    command = [str(Path(sys.executable).with_name("transformers")), "serve", folder]
    command += ["--device", "cpu", "--host", "127.0.0.1", "--port", port]
    with served(command, "Uvicorn running on", HF_HUB_OFFLINE="1"):
        yield f"http://127.0.0.1:{port}/v1"
