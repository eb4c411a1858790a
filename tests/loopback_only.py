"""Runs a program that may reach this machine alone.

    python tests/loopback_only.py MODULE_OR_FILE ARGUMENTS

What it looks up or connects to elsewhere is refused, and told on stderr after `REFUSED`.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any

REFUSED = "refused to reach"
HERE = {None, "", "localhost", "127.0.0.1", "::1", b"localhost", b"127.0.0.1"}


def refuse(event: str, args: tuple[Any, ...]) -> None:
    """An audit hook."""
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(args[1], tuple):
        host = args[1][0]
    else:
        return
    if host not in HERE:
        print(REFUSED, repr(host), file=sys.stderr, flush=True)
        raise PermissionError(f"{REFUSED} {host!r}")


if __name__ == "__main__":
    sys.addaudithook(refuse)
    program, sys.argv = sys.argv[1], sys.argv[1:]
    sys.path[0] = ""
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
