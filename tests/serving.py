"""A real OpenAI-compatible server on loopback, for slow tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from fault_server import FaultServer

needs_serving = pytest.mark.skipif(
    find_spec("uvicorn") is None or find_spec("fastapi") is None,
    reason="needs pip install 'transformers[serving]'",
)


@contextmanager
def transformers_serve(folder: str) -> Iterator[str]:
    """Run `transformers serve` on a saved model.

    Yields:
        The server's base URL, once it answers.
    """
    with FaultServer() as free:
        port = free.url.split(":")[2].split("/")[0]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", folder]
    command += ["--device", "cpu", "--host", "127.0.0.1", "--port", port]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    try:
        assert server.stdout is not None
        said = []
        for line in server.stdout:
            said.append(line)
            if "Uvicorn running on" in line:
                break
        else:
            pytest.fail("".join(said))
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.communicate()
