"""Benchmark run on several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice

from benchmarks.cluster.jobs import Job
from benchmarks.runner import Benchmark
from benchmarks.tables import Row, write_leaderboard
from pcrl_gym.progress import progress_bar

_benchmark: Benchmark
"""Benchmark of a worker process."""


def run_on_processes(benchmark: Benchmark, processes: int) -> list[Row]:
    """Do the work of `Benchmark.run` on several processes of this machine.

    Each process has its own generator and computes with one thread. All write into the result
    folder, so finished parts, including training checkpoints, are always kept. After a failure,
    which is shown with its job and re-raised, no other job starts, and running ones are finished.
    If a process was killed, ChildProcessError is raised.
    """
    folder = benchmark.prepare()
    # Training takes longest, so it starts first.
    todo = [job for job in benchmark.jobs() if job.unfinished(folder)]
    waiting = iter(sorted(todo, key=lambda job: not job.entry.trainable))
    running: dict[Future[None], Job] = {}
    failure: BaseException | None = None
    with (
        _pool(processes, benchmark) as pool,
        progress_bar(total=len(todo), unit="job", disable=not todo) as bar,
    ):
        while True:
            free = 0 if failure else processes - len(running)
            running |= {pool.submit(_do, job): job for job in islice(waiting, free)}
            if not running:
                break
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                job, error = running.pop(done), done.exception()
                bar.write(f"{'failed' if error else 'done'}: {job}", sys.stderr)
                bar.update(0 if error else 1)
                failure = failure or error
    if isinstance(failure, BrokenProcessPool):
        message = "a process was killed, perhaps out of memory: use fewer processes"
        raise ChildProcessError(message) from failure
    if failure:
        raise failure
    return write_leaderboard(folder)


def _begin(benchmark: Benchmark) -> None:
    global _benchmark
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _benchmark = benchmark
    benchmark.prepare(record=False)


def _end_with_parent() -> None:
    """End this process if the main one is killed, so that no worker disturbs a resumed run."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _do(job: Job) -> None:
    _benchmark.do(job)


@contextmanager
def _pool(processes: int, benchmark: Benchmark) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool whose processes end at once if the block raises, for example by Ctrl-C."""
    others = set(multiprocessing.active_children())
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, _begin, (benchmark,)) as pool:
        try:
            yield pool
        except BaseException:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise
