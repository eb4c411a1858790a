"""Compressors that run in a separate process, optionally in a separate environment."""

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
"""Maximum time to import a compressor, including its models."""


class CompressorFailure(Exception):
    """A compressor raised an exception, exited, timed out, or did not return a text."""


class WorkerProcess:
    """A compressor `module:function` in a separate process, which is started on first use.

    A process that exits or times out is replaced by a new one for the next text.

    Args:
        spec: The function, or a class with a method `compress`, importable from the current folder.
        python: The Python that runs it. If None, the current one.
        rate: Passed on as `rate=`. If None, the compressor decides.
        timeout: Maximum seconds per text, above 0.
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
        """Start the process and import the compressor, unless already done.

        Raises:
            ValueError: If it cannot be imported, or does not accept the given rate.
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
        """Return the compressed text.

        Raises:
            CompressorFailure: If it raises an exception, exits, times out, or returns no text, or
                cannot be restarted after that.
            ValueError: If it cannot be imported at first, or does not accept the given rate.
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
        """Stop the process if it is running."""
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
    """Put each output line in the queue, then an empty string at the end."""
    assert process.stdout is not None
    try:
        for line in process.stdout:
            answers.put(line)
    except ValueError:  # closed while being read
        pass
    answers.put("")


def environment_folder(requirements: str | Path) -> Path:
    """Return the folder in which `environment_python` creates an environment."""
    named = f"{platform.python_version()}\n".encode() + Path(requirements).read_bytes()
    return user_cache() / "environments" / hashlib.sha256(named).hexdigest()[:16]


def environment_python(requirements: str | Path) -> Path:
    """Return the Python of a virtual environment with the given packages, created if needed.

    It is stored in the user's cache, named after the file's content, and reused.

    Args:
        requirements: Requirements file for `pip install -r`.

    Raises:
        ValueError: If the file does not exist, or pip cannot install its packages.
    """
    from filelock import FileLock

    file = Path(requirements)
    if not file.is_file():
        raise ValueError(f"there is no requirements file {str(requirements)!r}")
    folder = environment_folder(file)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    done = folder / "complete"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # other processes wait until it is complete
        if not done.exists():
            print(f"Creating a virtual environment from {file} in {folder}", file=sys.stderr)
            venv.create(folder, clear=True, with_pip=True)
            command = [str(python), "-m", "pip", "install", "--quiet", "-r", str(file)]
            if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
                raise ValueError(f"pip could not install the packages in {file}; see above")
            done.touch()
    return python
