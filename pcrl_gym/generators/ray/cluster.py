"""The Ray cluster to work on: the one that runs, or a local one that is gone afterwards."""

from __future__ import annotations

import os
import secrets
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pcrl_gym.errors import MissingExtraError

# One for the life of the process, as Ray reads it only once.
_TOKEN = secrets.token_hex(32)
_lock = threading.RLock()


@dataclass
class _Connection:
    """What `connected` has made in this process."""

    users: int = 0
    local: bool = False
    undo: ExitStack = field(default_factory=ExitStack)


_connection = _Connection()


@contextmanager
def connected() -> Iterator[Any]:
    """Connect to a Ray cluster for the time of a block, unless this process is connected already.

    The cluster is the one that `RAY_ADDRESS` names, or else a new one on this machine: reachable
    over loopback alone, without a dashboard, usage reports or a file in the home folder (Ray would
    keep its access token there; this one lives in the environment, unless one is set). The last
    block to end stops it and all that runs in it. A connection that the caller has made with
    `ray.init` is used as it is and left open.

    Yields:
        The module `ray`.

    Raises:
        MissingExtraError: If Ray is not installed.
        ConnectionError: If there is no cluster at `RAY_ADDRESS`.
    """
    global _connection
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "work on a Ray cluster needs Ray: pip install 'pcrl-gym[ray]'"
        ) from error
    with _lock:
        if not ray.is_initialized():
            _start(ray)
        _connection.users += 1
    try:
        yield ray
    finally:
        with _lock:
            _connection.users = max(0, _connection.users - 1)
            if _connection.users == 0:
                _connection.undo.close()
                _connection = _Connection()


def check_room(ray: Any, count: int, num_cpus: float, num_gpus: float, what: str) -> None:
    """Check that a cluster has room for so many actors, which messages call `what`.

    Raises:
        ValueError: If the local cluster, which cannot grow, is too small.

    Warns:
        UserWarning: If another cluster is too small now; it may grow.
    """
    has = ray.cluster_resources()
    lacks = [
        f"{count * each:g} {kind}s, and it has {has.get(kind, 0):g}"
        for kind, each in (("CPU", num_cpus), ("GPU", num_gpus))
        if count * each > has.get(kind, 0)
    ]
    if not lacks:
        return
    need = f"{count} {what} need {'; '.join(lacks)}"
    if _connection.local:
        raise ValueError(
            f"the local Ray cluster is too small: {need}. Ask for fewer, or for less of each "
            "(num_cpus=0.5, num_gpus=0)"
        )
    warnings.warn(f"waiting for the Ray cluster to grow: {need}", stacklevel=3)


def _start(ray: Any) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address := os.environ.get("RAY_ADDRESS"):
        ray.init(address=address, **quiet)
        _connection.undo.callback(ray.shutdown)
        return
    # By default workers are so nice (15) that beside other busy processes they hardly run.
    wanted = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        wanted["RAY_AUTH_TOKEN"] = _TOKEN
    # Ray sets the last two by itself.
    names = (*wanted, "RAY_AUTH_MODE", "PYTHONBREAKPOINT")
    # Workers are to find the modules that this process finds, those of a script's folder included.
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    with ExitStack() as undo:
        undo.callback(_restore, {name: os.environ.get(name) for name in names})
        os.environ.update(wanted)
        ray.init(
            # As Ray would else join a cluster that somebody else has started on this machine.
            address="local",
            include_dashboard=False,
            runtime_env={"env_vars": {"PYTHONPATH": path}},
            _node_ip_address="127.0.0.1",
            **quiet,
        )
        undo.callback(ray.shutdown)  # does nothing once Ray has shut down at the program's end
        _connection.undo = undo.pop_all()
    _connection.local = True


def _restore(environment: dict[str, str | None]) -> None:
    for name, value in environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
