"""Benchmark run on a Ray cluster: workers do the jobs, and results are merged here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.cluster.jobs import Job
from benchmarks.cluster.merge import join
from benchmarks.records import RunFolder
from benchmarks.runner import Benchmark
from benchmarks.tables import Row, write_leaderboard
from pcrl_gym.generators.ray.cluster import check_room, connected
from pcrl_gym.generators.ray.pool import ActorPool, LostCallError
from pcrl_gym.progress import progress_bar

Files = dict[str, bytes]
"""File contents by path in a result folder, as workers may not share a disk."""


def run_on_cluster(benchmark: Benchmark, workers: int | None = None) -> list[Row]:
    """Do the work of `Benchmark.run` on the workers of a Ray cluster.

    Each worker has a CPU, and a GPU if there are any. By default, there are as many workers as the
    cluster has GPUs, or CPUs without GPUs, but no more than jobs. The benchmark is not prepared
    here, so no generator is loaded. Finished jobs, and trained agents before their evaluation, are
    merged into the result folder as they arrive; the same call resumes from there. A job whose
    worker dies is repeated; after the last attempt, LostCallError is raised.
    """
    out = benchmark.out
    begun = RunFolder(out) if (out / "settings.json").exists() else None
    todo = [job for job in benchmark.jobs() if begun is None or job.unfinished(begun)]
    if todo:
        learning = [job for job in todo if job.entry.trained_here]  # longest, so it starts first
        others = [("do", job) for job in todo if job not in learning]
        with connected() as ray, closing(_pool(ray, benchmark, workers, len(todo))) as pool:
            _work(pool, [*(("train", job) for job in learning), *others], out)
            _work(pool, [("do", job) for job in learning], out)
    return write_leaderboard(RunFolder(out))


class Worker:
    """Actor that runs the benchmark in its own result folder."""

    def load(self, benchmark: Benchmark, node: str) -> None:
        """Prepare the benchmark, which comes from the machine `node`."""
        import ray

        self._home = TemporaryDirectory()
        benchmark.out = Path(self._home.name)
        # Workers on the same machine share the cache of a local run; others have their own.
        if ray.get_runtime_context().get_node_id() != node:
            benchmark.cache = benchmark.out / "answers.db"
        benchmark.prepare()
        self._benchmark = benchmark

    def work(self, what: str, job: Job, given: Files) -> Files:
        """Call "train" or "do" of the benchmark with a job; take and return its files."""
        out = self._benchmark.out
        write_files(out, given)
        getattr(self._benchmark, what)(job)
        about = {name: (out / name).read_bytes() for name in ("settings.json", "provenance.json")}
        return about | files_of(job, out)


def files_of(job: Job, out: Path) -> Files:
    """Return the files of a job in a result folder, by path: records and training."""
    if not (out / "settings.json").exists():
        return {}
    folder, name = RunFolder(out), job.entry.name
    training = folder.training(name, job.seed)
    found = [folder.part(name, split, job.seed) for split in job.splits]
    found += [training.with_name(f"{training.name}.json"), *training.rglob("*")]
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in found if file.is_file()}


def write_files(root: Path, files: Files) -> None:
    """Write files to their paths."""
    for place, content in files.items():
        file = root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _pool(ray: Any, benchmark: Benchmark, workers: int | None, most: int) -> ActorPool:
    there = ray.cluster_resources()
    num_gpus = 1 if there.get("GPU") else 0
    size = max(1, min(most, workers or int(there.get("GPU") or there.get("CPU", 1))))
    check_room(ray, size, 1, num_gpus, "workers")
    benchmark.cache = benchmark.cache.resolve()
    source = ray.put(benchmark), ray.get_runtime_context().get_node_id()
    print(f"Starting {size} workers ...", file=sys.stderr)
    actor_class = ray.remote(num_cpus=1, num_gpus=num_gpus)(Worker)
    return ActorPool(ray, actor_class, source, size, retries=2, start_timeout=1800.0)


def _work(pool: ActorPool, todo: Sequence[tuple[str, Job]], out: Path) -> None:
    """Run jobs on the pool, and merge their results."""
    calls = [partial(_send, what=what, job=job, out=out) for what, job in todo]
    with progress_bar(total=len(todo), unit="job") as bar:
        try:
            for index, files in pool.run(calls):
                what, job = todo[index]
                with TemporaryDirectory() as folder:
                    write_files(Path(folder), files)
                    join([folder], out)
                bar.write(f"{'trained' if what == 'train' else 'done'}: {job}", sys.stderr)
                bar.update()
        except LostCallError as error:
            raise LostCallError(f"{todo[error.index][1]}: {error}", error.index) from error


def _send(worker: Any, what: str, job: Job, out: Path) -> Any:
    return worker.work.remote(what, job, files_of(job, out))
