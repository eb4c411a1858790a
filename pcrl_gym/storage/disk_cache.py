"""On-disk cache of answers, safe with several processes and after kill -9."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
# Marks a file as ours (PRAGMA application_id), so that no other SQLite database is written into.
APPLICATION_ID = int.from_bytes(b"pcrl", "big")
# SQLite builds differ in the maximum number of variables per statement; all support 999.
_KEYS_PER_QUERY = 900
_BUSY_SECONDS = 60.0


class DiskCache:
    """JSON values on disk by scope and key, in SQLite with WAL mode; safe with several processes.

    A value is visible to all processes as soon as `put` returns, and persists if the process is
    killed right after. If two processes put the same key, the last one wins. Threads may share one
    object; forked or unpickled objects reopen the file. Scopes and keys are stored only as hashes,
    so the file does not contain their texts.

    The file should be on a local disk: WAL mode needs shared memory, which network disks lack.

    Args:
        path: The file. The file and its folder are created if they do not exist.

    Attributes:
        path: The absolute path of the file.

    Raises:
        ValueError: If the file cannot be opened, is not a cache of this class, or has another
            schema version. The file is left unchanged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, DiskCache(f"{folder}/cache.db") as cache:
        ...     cache.put("word lengths", {"four": 4, "seven": 5})
        ...     cache.get("word lengths", ["seven", "eleven"])
        {'seven': 5}
    """

    _connection: sqlite3.Connection | None

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._set_up()
        with self._lock:
            self._connected()

    def get(self, scope: str, keys: Sequence[str]) -> dict[str, Any]:
        """Look values up.

        Args:
            scope: Namespace of the keys, such as a model with its settings.
            keys: Any number of keys; duplicates are allowed.

        Returns:
            The values of the keys that exist.

        Raises:
            ValueError: If the cache was closed or the file is damaged.
        """
        by_row = {_row_id(scope, key): key for key in keys}
        rows = list(by_row)
        found: dict[bytes, str] = {}
        with self._use() as connection:
            for start in range(0, len(rows), _KEYS_PER_QUERY):
                part = rows[start : start + _KEYS_PER_QUERY]
                marks = ",".join("?" * len(part))
                query = f"SELECT id, value FROM entries WHERE id IN ({marks})"
                found.update(connection.execute(query, part))
        return {key: json.loads(found[row]) for row, key in by_row.items() if row in found}

    def put(self, scope: str, values: Mapping[str, Any]) -> None:
        """Store values atomically (all or none), replacing existing values with the same keys.

        Args:
            scope: See `get`.
            values: JSON values by key: None, bools, finite numbers, strings, and lists and dicts
                with string keys of these.

        Raises:
            ValueError: If a value is not JSON, the cache was closed or the file is damaged.
        """
        rows = [(_row_id(scope, key), _to_json(value)) for key, value in values.items()]
        if not rows:
            return
        with self._use() as connection, connection:  # commits or rolls back
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?)", rows)

    def close(self) -> None:
        """Close the file; may be called twice, but any other use raises a ValueError."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __enter__(self) -> DiskCache:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"DiskCache({str(self.path)!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "closed": self._closed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._set_up(state["closed"])

    def _set_up(self, closed: bool = False) -> None:
        self._lock = threading.RLock()
        self._connection = None
        self._closed = closed
        _CACHES.add(self)

    def _connected(self) -> sqlite3.Connection:
        """Return this process's connection; the caller must hold the lock."""
        if self._closed:
            raise ValueError(f"{self!r} is closed: open it again")
        if self._connection is None:
            self._connection = _open(self.path)
        return self._connection

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._connected()
            with _refused(self.path):
                yield connection


_CACHES: weakref.WeakSet[DiskCache] = weakref.WeakSet()
_INHERITED: list[sqlite3.Connection] = []


def _reset_caches() -> None:
    for cache in _CACHES:
        if cache._connection is not None:
            # A child must not even close it, as garbage collection would do.
            _INHERITED.append(cache._connection)
        # Also a new lock, because another thread of the parent may have held the old one.
        cache._set_up(cache._closed)


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_reset_caches)


def _row_id(scope: str, key: str) -> bytes:
    # The length of the scope makes ("ab", "c") and ("a", "bc") differ. "surrogatepass" is needed
    # because texts may contain lone surrogates.
    first, second = (text.encode("utf-8", "surrogatepass") for text in (scope, key))
    return hashlib.sha256(len(first).to_bytes(8, "big") + first + second).digest()


def _to_json(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)  # ASCII, so that lone surrogates are stored too
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"expected a JSON value, got {type(value).__name__} ({error}): convert it first"
        ) from error


def _open(path: Path) -> sqlite3.Connection:
    """Connect to a file and turn it into a cache if it is new or empty."""
    with _refused(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Autocommit, so that we control where transactions begin; our lock synchronizes threads.
        connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            with connection:
                connection.execute("BEGIN")  # only reads, so an existing cache is not locked
                made = _is_ours(connection, path)
            if not made:
                _make(connection, path)
            _write_ahead(connection)
            # Commits survive a killed process; only a power failure may lose the latest ones.
            connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
    return connection


def _make(connection: sqlite3.Connection, path: Path) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if not _is_ours(connection, path):  # another process may have been first
            connection.execute(
                "CREATE TABLE entries (id BLOB PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
            )
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Return True for a cache and False for an empty database; raise for any other database.

    Must be called in a transaction, because another process may be creating the cache.
    """
    application, version, tables = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master) "
        "FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application == APPLICATION_ID and version != SCHEMA_VERSION:
        raise ValueError(
            f"expected a cache with schema version {SCHEMA_VERSION}, got version {version} in "
            f"{str(path)!r}: choose another path, or use the version of pcrl_gym that created it"
        )
    if application != APPLICATION_ID and (application or version or tables):
        raise ValueError(_NOT_OURS.format(path=str(path), cause="a database of another program"))
    return bool(application == APPLICATION_ID)


_NOT_OURS = (
    "expected a cache of pcrl_gym or no file at {path!r}, got {cause}: choose another path, or "
    "move the file (it was not changed)"
)


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Convert file and SQLite errors to a ValueError."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        # It is not a file, cannot be written, was busy for too long, or the disk is full.
        raise ValueError(
            f"cannot use the cache {str(path)!r}: {error}. Choose a readable and writable path on "
            "a local disk with free space"
        ) from error
    except sqlite3.DatabaseError as error:
        raise ValueError(_NOT_OURS.format(path=str(path), cause=str(error))) from error


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to WAL mode, retrying because SQLite fails instead of waiting while others write."""
    end = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)
