"""A benchmark run on several processes of this machine."""

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
"""What a worker does jobs of."""


def run_on_processes(benchmark: Benchmark, processes: int) -> list[Row]:
    """Do what `Benchmark.run` does, on several processes of this machine.

    Each has a generator of its own, and computes with one thread. All write into the result folder,
    so what is finished, checkpoints of trainings included, is kept whatever happens. After a
    failure, which is shown with its job and raised as it is, no other job begins, and those that
    run are finished. If a process was killed, that is a ChildProcessError.
    """
    folder = benchmark.prepare()
    # Training takes longest, so it begins first.
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
        message = "a process was killed, perhaps for lack of memory: use fewer"
        raise ChildProcessError(message) from failure
    if failure:
        raise failure
    return write_leaderboard(folder)


def _begin(benchmark: Benchmark) -> None:
    global _benchmark
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _benchmark = benchmark
    benchmark.prepare(record=False)


def _end_with_parent() -> None:
    """End this process if the first one is killed: the same command is to find no other at work."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _do(job: Job) -> None:
    _benchmark.do(job)


@contextmanager
def _pool(processes: int, benchmark: Benchmark) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool; if the block is left by an exception, such as Ctrl-C, its processes end now."""
    others = set(multiprocessing.active_children())
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, _begin, (benchmark,)) as pool:
        try:
            yield pool
        except BaseException:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise
