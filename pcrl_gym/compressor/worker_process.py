"""Compressors that run in another process, in an environment of their own if need be."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
import threading
import venv
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from pcrl_gym.compressor import worker
from pcrl_gym.storage.user_cache import user_cache

STARTUP_SECONDS = 600.0
"""How long a compressor may take to be imported, its models included."""


class CompressorFailure(Exception):
    """A compressor raised, ended, took too long or returned no text."""


class WorkerProcess:
    """A compressor `module:function` in a process, started when it is first asked.

    A process that ends or takes too long is replaced by a new one for the next text.

    Args:
        spec: The function, or a class with a method `compress`, importable from the current folder.
        python: The Python that runs it; None: this one.
        rate: Passed on as `rate=`; None: it decides.
        timeout: Seconds that a text may take, above 0.
    """

    def __init__(
        self,
        spec: str,
        python: Path | None = None,
        rate: float | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.spec = spec
        self._command = [str(python or sys.executable), worker.__file__, spec]
        self._rate = rate
        self._timeout = timeout
        self._process: subprocess.Popen[str] | None = None
        self._answers: Queue[str] = Queue()
        self._used = False

    def start(self) -> None:
        """Start the process and import the compressor, unless that is done.

        Raises:
            ValueError: If it cannot be imported, or takes no rate although one is given.
        """
        if self._process is not None:
            return
        self._process = process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            encoding="utf-8",
        )  # fmt: skip
        self._answers = Queue()
        threading.Thread(target=_read, args=(process, self._answers), daemon=True).start()
        try:
            takes_rate = self._next(STARTUP_SECONDS)["takes_rate"]
        except CompressorFailure as error:
            self.close()
            raise ValueError(f"compressor {self.spec!r} cannot be used: {error}") from error
        if self._rate is not None and not takes_rate:
            self.close()
            raise ValueError(f"compressor {self.spec!r} has no argument 'rate', got {self._rate}")

    def compress(self, text: str) -> str:
        """Return what the compressor makes of a text.

        Raises:
            CompressorFailure: If it raises, ends, takes too long or returns something else, or
                cannot be started again after that.
            ValueError: If it cannot be imported at first, or takes no rate although one is given.
        """
        try:
            self.start()
        except ValueError as error:
            if not self._used:
                raise
            raise CompressorFailure(str(error)) from error
        self._used = True
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"text": text, "rate": self._rate}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            self.close()
            raise CompressorFailure("its process has ended") from error
        shorter: str = self._next(self._timeout)["text"]
        return shorter

    def _next(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=seconds)
        except Empty:
            self.close()
            raise CompressorFailure(f"it took more than {seconds:g} seconds") from None
        if not line:
            self.close()
            raise CompressorFailure("its process has ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise CompressorFailure(answer["error"])
        return answer

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
            self._process = None

    def __del__(self) -> None:
        self.close()


def _read(process: subprocess.Popen[str], answers: Queue[str]) -> None:
    """Pass on lines, and an empty one at the end."""
    assert process.stdout is not None
    try:
        for line in process.stdout:
            answers.put(line)
    except ValueError:  # closed while it was read
        pass
    answers.put("")


def environment_folder(requirements: str | Path) -> Path:
    """Return where `environment_python` makes the environment of a file of packages."""
    named = f"{platform.python_version()}\n".encode() + Path(requirements).read_bytes()
    return user_cache() / "environments" / hashlib.sha256(named).hexdigest()[:16]


def environment_python(requirements: str | Path) -> Path:
    """Return the Python of a virtual environment with some packages, made if need be.

    It lies in the user's cache, named after the file's content, and is used again.

    Args:
        requirements: File as `pip install -r` takes it.

    Raises:
        ValueError: If there is no such file, or pip cannot install what it names.
    """
    from filelock import FileLock

    file = Path(requirements)
    if not file.is_file():
        raise ValueError(f"there is no file {str(requirements)!r} with the compressor's packages")
    folder = environment_folder(file)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    done = folder / "complete"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # other processes wait until it is complete
        if not done.exists():
            print(f"Making an environment of {file} in {folder}", file=sys.stderr)
            venv.create(folder, clear=True, with_pip=True)
            command = [str(python), "-m", "pip", "install", "--quiet", "-r", str(file)]
            if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
                raise ValueError(f"pip could not install what {file} names; see above")
            done.touch()
    return python
