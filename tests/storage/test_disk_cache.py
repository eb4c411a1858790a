from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcrl_gym.storage import disk_cache
from pcrl_gym.storage.disk_cache import DiskCache

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


def test_what_was_put_is_there_for_the_next_one_to_open(path: Path):
    values = {"a": None, "b": [1, 2.5, "x"], "c": {"k": True}, "d": "", "": 0}
    with DiskCache(path) as cache:
        cache.put("scope", values)
    with DiskCache(path) as cache:
        assert cache.get("scope", [*values, "e"]) == values
        assert cache.get("scope", []) == {}


def test_scopes_do_not_mix_however_the_texts_are_cut(path: Path):
    cuts = [("", "abc"), ("a", "bc"), ("ab", "c"), ("abc", ""), ("a\0", "b"), ("a", "\0b")]
    with DiskCache(path) as cache:
        for i, (scope, key) in enumerate(cuts):
            cache.put(scope, {key: i})
        assert [cache.get(scope, [key]) for scope, key in cuts] == [
            {key: i} for i, (_, key) in enumerate(cuts)
        ]


def test_the_last_value_wins_and_the_others_stay(path: Path):
    with DiskCache(path) as cache:
        cache.put("scope", {"a": 1, "b": 1})
        cache.put("scope", {"a": 2})
        assert cache.get("scope", ["a", "b"]) == {"a": 2, "b": 1}


@pytest.fixture(scope="module")
def one_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DiskCache]:
    with DiskCache(tmp_path_factory.mktemp("texts") / "cache.db") as cache:
        yield cache


@given(scope=ANY_TEXT, values=st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=5))
def test_any_text_is_a_scope_a_key_and_a_value(one_cache: DiskCache, scope: str, values: dict):
    one_cache.put(scope, values)
    assert one_cache.get(scope, list(values)) == values


def test_lone_surrogates_differ_from_the_character_they_would_make(path: Path):
    values = {"\ud83d\ude00": "two halves \ud83d", "\U0001f600": "one character", "\ud800": "half"}
    with DiskCache(path) as cache:
        cache.put("\udfff", values)
        assert cache.get("\udfff", list(values)) == values


def test_batches_may_exceed_the_variables_of_a_statement(path: Path):
    values = {f"key {i}": i for i in range(5000)}
    absent = [f"none {i}" for i in range(35_000)]
    with DiskCache(path) as cache:
        cache.put("scope", values)
        assert cache.get("scope", [*absent, *values, *values]) == values


def test_no_statement_has_more_variables_than_every_sqlite_takes(path: Path):
    with DiskCache(path) as cache:
        statements: list[str] = []
        cache._connected().set_trace_callback(statements.append)
        cache.get("scope", [str(i) for i in range(2500)])
        assert len(statements) == 3
        assert max(statement.count(",") for statement in statements) < 999


def test_a_batch_with_a_value_that_is_not_json_puts_nothing(path: Path):
    with DiskCache(path) as cache:
        for bad in (float("nan"), object(), b"x"):
            with pytest.raises(ValueError, match="expected a JSON value, got"):
                cache.put("scope", {"good": 1, "bad": bad})
        assert cache.get("scope", ["good"]) == {}


def test_folders_are_made_and_the_path_is_kept_absolute(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with DiskCache("new/folder/cache.db") as cache:
        monkeypatch.chdir("/")
        assert cache.path == tmp_path / "new/folder/cache.db"
        copy = pickle.loads(pickle.dumps(cache))
        copy.put("scope", {"a": 1})
        assert cache.get("scope", ["a"]) == {"a": 1}
        copy.close()


def test_the_file_holds_neither_scope_nor_key(path: Path):
    with DiskCache(path) as cache:
        cache.put("the-scope", {"the-key": "the-value"})
    content = path.read_bytes()
    assert b"the-value" in content
    assert b"the-scope" not in content
    assert b"the-key" not in content


# ---- what is not a cache


def make_text(path: Path) -> None:
    path.write_text("dear diary, " * 500)


def make_foreign_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE accounts (id INTEGER)")
    connection.close()


def make_other_version(path: Path) -> None:
    DiskCache(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_text, "expected a cache of pcrl_gym .*file is not a database"),
        (make_foreign_database, "expected a cache of pcrl_gym .*another program"),
        (make_other_version, "schema version 1, got version 7"),
    ],
)
def test_a_file_that_is_no_such_cache_is_refused_and_left_alone(path: Path, make, message: str):
    make(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        DiskCache(path)
    assert path.read_bytes() == before


def test_a_folder_and_a_path_below_a_file_are_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "cache.db"):
        with pytest.raises(ValueError, match=r"cannot use the cache .*readable and writable"):
            DiskCache(path)


def test_an_empty_file_becomes_a_cache(path: Path):
    path.touch()
    with DiskCache(path) as cache:
        cache.put("scope", {"a": 1})
        assert cache.get("scope", ["a"]) == {"a": 1}


def test_a_file_damaged_in_its_middle_is_an_error_not_a_missing_value(path: Path):
    values = {str(i): "x" * 100 for i in range(1000)}
    with DiskCache(path) as cache:
        cache.put("scope", values)
    content = bytearray(path.read_bytes())
    content[4096 : len(content)] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with DiskCache(path) as cache, pytest.raises(ValueError, match=r"malformed.*move the file"):
        cache.get("scope", list(values))


def test_a_closed_cache_refuses_work(path: Path):
    cache = DiskCache(path)
    cache.close()
    cache.close()
    with pytest.raises(ValueError, match="is closed"):
        cache.get("scope", ["a"])
    with pytest.raises(ValueError, match="is closed"):
        pickle.loads(pickle.dumps(cache)).put("scope", {"a": 1})


# ---- threads and processes


def test_threads_share_one_cache(path: Path):
    with DiskCache(path) as cache, ThreadPoolExecutor(8) as pool:

        def work(i: int) -> dict:
            cache.put("scope", {str(i): i, "shared": i})
            return cache.get("scope", [str(i)])

        assert list(pool.map(work, range(200))) == [{str(i): i} for i in range(200)]
        assert len(cache.get("scope", [*map(str, range(200)), "shared"])) == 201


def write_many(path: Path, writer: int, barrier) -> None:
    barrier.wait()  # so that all of them make the file at once
    with DiskCache(path) as cache:
        for i in range(50):
            cache.put("scope", {f"{writer} {i}": [writer, i], "shared": writer})


def test_processes_make_and_write_one_file_at_once(path: Path):
    writers = 4
    barrier = SPAWN.Barrier(writers)
    processes = [SPAWN.Process(target=write_many, args=(path, w, barrier)) for w in range(writers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * writers
    with DiskCache(path) as cache:
        expected = {f"{w} {i}": [w, i] for w in range(writers) for i in range(50)}
        assert cache.get("scope", list(expected)) == expected
        assert cache.get("scope", ["shared"])["shared"] in range(writers)


def test_threads_that_open_one_new_file_at_once_agree(tmp_path: Path):
    """Many more chances than with processes to meet the moment in which the file is made."""

    def work(i: int) -> None:
        with DiskCache(tmp_path / f"{i // 8}.db") as cache:
            cache.put("scope", {str(i): i})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(160)))
    for k in range(20):
        with DiskCache(tmp_path / f"{k}.db") as cache:
            keys = [str(i) for i in range(8 * k, 8 * k + 8)]
            assert list(cache.get("scope", keys)) == keys


WRITER = """
import sys
from pcrl_gym.storage.disk_cache import DiskCache
cache = DiskCache(sys.argv[1])
i = 0
while True:
    cache.put("scope", {f"{i} {k}": "x" * 500 for k in range(3)})
    print(i, flush=True)
    i += 1
"""


def test_kill_9_loses_nothing_that_was_committed(path: Path):
    with DiskCache(path) as reader:
        for round_ in range(3):
            command = [sys.executable, "-c", WRITER, str(path)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            for _ in range(40 * (round_ + 1)):
                last = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            # What it had said before it died counts too, less a line that may be cut.
            last = max([last, *map(int, process.stdout.read().split()[:-1])])
            process.stdout.close()
            assert process.wait() == -signal.SIGKILL
            keys = [f"{i} {k}" for i in range(last + 1) for k in range(3)]
            assert len(reader.get("scope", keys)) == len(keys)
    with DiskCache(path) as cache:  # and when the file is opened anew
        assert len(cache.get("scope", keys)) == len(keys)
        # A batch is there as a whole or not at all.
        later = [f"{last + 1 + i} {k}" for i in range(5) for k in range(3)]
        assert len(cache.get("scope", later)) % 3 == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_cache_opens_the_file_anew_even_if_a_thread_held_the_lock(path: Path):
    with DiskCache(path) as cache:
        cache.put("scope", {"parent": 1})
        with ThreadPoolExecutor(1) as pool:
            pool.submit(cache._lock.acquire).result()
            child = os.fork()
            if child == 0:  # pragma: no cover
                signal.alarm(30)  # rather than to hang
                try:
                    assert cache.get("scope", ["parent"]) == {"parent": 1}
                    cache.put("scope", {"child": 2})
                finally:
                    os._exit(0 if "child" in cache.get("scope", ["child"]) else 1)
            pool.submit(cache._lock.release).result()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert cache.get("scope", ["parent", "child"]) == {"parent": 1, "child": 2}


def test_a_writer_waits_while_another_holds_the_file(path: Path):
    with DiskCache(path) as cache, ThreadPoolExecutor(1) as pool:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        waiting = pool.submit(cache.put, "scope", {"a": 1})
        assert cache.path == path  # readers and other members are not held up
        other.execute("COMMIT")
        waiting.result()
        assert cache.get("scope", ["a"]) == {"a": 1}
        other.close()


def test_opening_waits_even_where_sqlite_itself_does_not(path: Path, monkeypatch):
    """SQLite refuses at once to change the journal of a file that is being written to."""
    DiskCache(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode = DELETE")
    other.execute("BEGIN IMMEDIATE")
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        other.execute("COMMIT")

    clock = SimpleNamespace(sleep=sleep, monotonic=time.monotonic)
    monkeypatch.setattr(disk_cache, "time", clock)
    with DiskCache(path) as cache:
        cache.put("scope", {"a": 1})
        assert len(waits) == 1
    other.close()


def test_a_file_that_stays_busy_is_an_error_that_says_so(path: Path, monkeypatch):
    monkeypatch.setattr(disk_cache, "_BUSY_SECONDS", 0.01)
    with DiskCache(path) as cache:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ValueError, match=r"cannot use the cache .*locked"):
            cache.put("scope", {"a": 1})
        other.execute("COMMIT")
        cache.put("scope", {"a": 1})
        other.close()


def test_values_are_json_and_the_journal_is_a_write_ahead_log(path: Path):
    with DiskCache(path) as cache:
        cache.put("scope", {"a": {"é": [1]}})
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        ((value,),) = connection.execute("SELECT value FROM entries")
        assert json.loads(value) == {"é": [1]}
        connection.close()
