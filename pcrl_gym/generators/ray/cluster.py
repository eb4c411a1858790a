"""The Ray cluster to work on: the one that runs, or a local one that is gone afterwards."""

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

# One for the life of the process, as Ray reads it only once.
_TOKEN = secrets.token_hex(32)
_QUIET = {"log_to_driver": False, "logging_level": "ERROR"}
_local = False  # whether the cluster was started here


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
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "work on a Ray cluster needs Ray: pip install 'pcrl-gym[ray]'"
        ) from error
    with hold("ray", lambda: (lambda: None) if ray.is_initialized() else _connect(ray)):
        yield ray


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
    need = f"{count} {what} need {'; '.join(lacks)}"
    if lacks and _local:
        raise ValueError(
            f"the local Ray cluster is too small: {need}. Ask for fewer, or for less of each "
            "(num_cpus=0.5, num_gpus=0)"
        )
    if lacks:
        warnings.warn(f"waiting for the Ray cluster to grow: {need}", stacklevel=3)


def _connect(ray: Any) -> Callable[[], None]:
    """Connect to a cluster, and return what ends that."""
    with ExitStack() as undo:
        if address := os.environ.get("RAY_ADDRESS"):
            ray.init(address=address, **_QUIET)
        else:
            _start_local(ray, undo)
        undo.callback(ray.shutdown)  # does nothing once Ray has shut down at the program's end
        end, process = undo.pop_all().close, os.getpid()
    return lambda: end() if os.getpid() == process else None  # never in a fork


def _start_local(ray: Any, undo: ExitStack) -> None:
    # By default workers are so nice (15) that beside other busy processes they hardly run.
    wanted = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        wanted["RAY_AUTH_TOKEN"] = _TOKEN
    names = (*wanted, "RAY_AUTH_MODE", "PYTHONBREAKPOINT")  # Ray sets these two by itself
    undo.callback(_leave_local, {name: os.environ.get(name) for name in names})
    os.environ.update(wanted)
    # Workers are to find the modules that this process finds, those of a script's folder included.
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    ray.init(
        address="local",  # Ray would else join what somebody else has started on this machine
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
