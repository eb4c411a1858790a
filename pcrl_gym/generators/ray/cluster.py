"""The Ray cluster to work on: the one that runs, or a local one that is gone afterwards."""

from __future__ import annotations

import os
import secrets
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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
    made_here: bool = False
    local: bool = False
    environment: dict[str, str | None] = field(default_factory=dict)  # as it was before


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
            if _connection.users == 0 and _connection.made_here:
                ray.shutdown()  # does nothing once Ray has shut down by itself at the program's end
                _restore(_connection.environment)
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
        _connection.made_here = True
        return
    # By default workers are so nice (15) that beside other busy processes they hardly run.
    wanted = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        wanted["RAY_AUTH_TOKEN"] = _TOKEN
    # Ray sets the last two by itself.
    names = (*wanted, "RAY_AUTH_MODE", "PYTHONBREAKPOINT")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(wanted)
    # Workers are to find the modules that this process finds, those of a script's folder included.
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    try:
        ray.init(
            # As Ray would else join a cluster that somebody else has started on this machine.
            address="local",
            include_dashboard=False,
            runtime_env={"env_vars": {"PYTHONPATH": path}},
            _node_ip_address="127.0.0.1",
            **quiet,
        )
    except BaseException:
        _restore(before)
        raise
    _connection.made_here = _connection.local = True
    _connection.environment = before


def _restore(environment: dict[str, str | None]) -> None:
    for name, value in environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
