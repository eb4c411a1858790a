"""Connection to a Ray cluster: an existing one or a temporary local one."""

from __future__ import annotations

import os
import secrets
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pcrl_gym.errors import MissingExtraError
from pcrl_gym.process_state import hold

# One for the lifetime of the process, because Ray reads it only once.
_TOKEN = secrets.token_hex(32)
_QUIET = {"log_to_driver": False, "logging_level": "ERROR"}
_local = False  # whether the cluster was started here


@contextmanager
def connected() -> Iterator[Any]:
    """Connect to a Ray cluster for the duration of a block, unless already connected.

    The cluster is the one at `RAY_ADDRESS`, or else a new one on this machine, reachable only over
    loopback, without a dashboard, usage reports, or files in the home folder (where Ray would keep
    its access token; unless a token is set, a new one is kept in the environment). When the last
    block ends, the local cluster and everything running in it is stopped. An existing connection
    made with `ray.init` is used and left open.

    Yields:
        The module `ray`.

    Raises:
        MissingExtraError: If Ray is not installed.
        ConnectionError: If there is no cluster at `RAY_ADDRESS`.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "using a Ray cluster needs Ray: pip install 'pcrl-gym[ray]'"
        ) from error
    with hold("ray", lambda: (lambda: None) if ray.is_initialized() else _connect(ray)):
        yield ray


def check_room(ray: Any, count: int, num_cpus: float, num_gpus: float, what: str) -> None:
    """Check that a cluster has room for `count` actors, called `what` in messages.

    Raises:
        ValueError: If the cluster is local, and thus cannot grow, and is too small.

    Warns:
        UserWarning: If another cluster is currently too small; it may grow.
    """
    has = ray.cluster_resources()
    lacks = [
        f"{count * each:g} {kind}s (it has {has.get(kind, 0):g})"
        for kind, each in (("CPU", num_cpus), ("GPU", num_gpus))
        if count * each > has.get(kind, 0)
    ]
    need = f"{count} {what} need {' and '.join(lacks)}"
    if lacks and _local:
        raise ValueError(
            f"the local Ray cluster is too small: {need}. Use fewer, or fewer resources for each "
            "(num_cpus=0.5, num_gpus=0)"
        )
    if lacks:
        warnings.warn(f"waiting for the Ray cluster to grow: {need}", stacklevel=3)


def _connect(ray: Any) -> Callable[[], None]:
    """Connect to a cluster and return a function that disconnects."""
    with ExitStack() as undo:
        if address := os.environ.get("RAY_ADDRESS"):
            ray.init(address=address, **_QUIET)
        else:
            _start_local(ray, undo)
        undo.callback(ray.shutdown)  # does nothing if Ray has already shut down at exit
        end, process = undo.pop_all().close, os.getpid()
    return lambda: end() if os.getpid() == process else None  # never in a fork


def _start_local(ray: Any, undo: ExitStack) -> None:
    # With the default niceness of 15, workers hardly run next to other busy processes.
    wanted = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        wanted["RAY_AUTH_TOKEN"] = _TOKEN
    names = (*wanted, "RAY_AUTH_MODE", "PYTHONBREAKPOINT")  # Ray sets the last two itself
    undo.callback(_leave_local, {name: os.environ.get(name) for name in names})
    os.environ.update(wanted)
    # Workers must find the same modules as this process, including those in a script's folder.
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    ray.init(
        address="local",  # otherwise Ray would join any cluster already running on this machine
        include_dashboard=False,
        runtime_env={"env_vars": {"PYTHONPATH": path}},
        _node_ip_address="127.0.0.1",
        **_QUIET,
    )
    global _local
    _local = True


def _leave_local(environment: dict[str, str | None]) -> None:
    global _local
    _local = False
    for name, value in environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
