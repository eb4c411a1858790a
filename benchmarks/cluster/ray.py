"""A benchmark run on a Ray cluster: its jobs go to workers as shards, which are merged here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.cluster.jobs import Job
from benchmarks.cluster.merge import join
from benchmarks.cluster.shard import Shard
from benchmarks.records import RunFolder
from benchmarks.runner import Benchmark
from benchmarks.tables import Row, write_leaderboard
from pcrl_gym.generators.ray.cluster import check_room, connected
from pcrl_gym.generators.ray.pool import ActorPool, LostCallError
from pcrl_gym.progress import progress_bar

_RETRIES = 2
_START_TIMEOUT = 1800.0

Files = dict[str, bytes]
"""Contents of files by their place in a result folder: workers may have no disk in common."""


def run_on_cluster(benchmark: Benchmark, workers: int | None = None) -> list[Row]:
    """Do what `Benchmark.run` does, on the workers of a Ray cluster.

    A job is an agent and seed on one split, or on all of them if it learns; all seeds are trained
    at once, as far as there are workers. Finished jobs, and trained agents before they are
    evaluated, are merged into the result folder as they arrive; the same call resumes from
    there. A job whose worker dies is done again. The cluster is that of
    `pcrl_gym.generators.ray.cluster.connected`.

    Args:
        benchmark: The benchmark, whole (no shard of it), not prepared: no generator is loaded here.
        workers: How many; each has a CPU, and a GPU if there are any. None: as many as the cluster
            has GPUs, or CPUs without, or jobs if that is less.

    Returns:
        The leaderboard's rows, those of earlier runs included.

    Raises:
        LostCallError: If the workers of a job died again and again.
        NoActorError, ValueError: If the workers cannot be started.
        Exception: If `Benchmark.run` raises one; finished parts are kept.
    """
    jobs, out = benchmark.jobs(), benchmark.out
    begun = _begun(out)
    untrained, ready = [], []
    for i, job in enumerate(jobs):
        if begun is None or job.unfinished(begun):
            trained = begun is not None and _note(begun, job).exists()
            (untrained if job.entry.trainable and not trained else ready).append(i)
    if untrained or ready:
        with connected() as ray:
            pool = _pool(ray, benchmark, workers, len(untrained) + len(ready))
            try:
                # Training takes longest, so it begins first.
                first = [*(("train", i) for i in untrained), *(("run", i) for i in ready)]
                _work(pool, jobs, first, out)
                _work(pool, jobs, [("run", i) for i in untrained], out)
            finally:
                pool.close()
    return write_leaderboard(RunFolder(out))


class Worker:
    """What runs in an actor: a generator, and shards of one job each."""

    def load(self, options: dict[str, Any], out: str, node: str) -> None:
        """Load the generator; `out` is the result folder on the machine `node` of the driver."""
        import ray

        from pcrl_gym.generators.loading import load_generator

        self._home = TemporaryDirectory()
        # On the same machine workers share the file of a local run, else each has its own.
        here = ray.get_runtime_context().get_node_id() == node
        cache = (Path(out) if here else Path(self._home.name)) / "answers.db"
        suite = options["suite"]
        name, device = options["generator"] or suite.generator, options["device"]
        generator = load_generator(name, device=device, dtype=suite.dtype, cache=cache)
        self._options = options | {"generator": generator, "cache": cache}

    def work(self, what: str, number: int, count: int, given: Files) -> Files:
        """Train the agent of a job, or do all of it, and return the files of this job alone.

        Args:
            what: "train" or "run", the method of `Benchmark`.
            number: Which job, from 1.
            count: Number of jobs.
            given: What the result folder holds of it.
        """
        with TemporaryDirectory() as folder:
            write_files(Path(folder), given)
            benchmark = Benchmark(**self._options, out=folder, shard=Shard(number, count))
            getattr(benchmark, what)()
            return read_files(Path(folder), [Path(folder)])


def read_files(root: Path, places: Sequence[Path]) -> Files:
    """Read files, and all files in folders, by their place under a root, as far as they exist."""
    found = [file for place in places for file in (place, *place.rglob("*")) if file.is_file()]
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in found}


def write_files(root: Path, files: Files) -> None:
    """Write what `read_files` returned."""
    for place, content in files.items():
        file = root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _pool(ray: Any, benchmark: Benchmark, workers: int | None, most: int) -> ActorPool:
    there = ray.cluster_resources()
    num_gpus = 1 if there.get("GPU") else 0
    wanted = workers or int(there.get("GPU") or there.get("CPU", 1))
    size = max(1, min(wanted, most))
    check_room(ray, size, 1, num_gpus, "workers")
    options = ray.put(benchmark.arguments | {"generator": benchmark.generator})
    out = str(benchmark.out.resolve())
    node = ray.get_runtime_context().get_node_id()
    actor_class = ray.remote(num_cpus=1, num_gpus=num_gpus, max_restarts=0)(Worker)

    def start() -> tuple[Any, Any]:
        actor = actor_class.remote()
        return actor, actor.load.remote(options, out, node)

    print(f"Starting {size} workers ...", file=sys.stderr)
    return ActorPool(ray, start, size, _RETRIES, _START_TIMEOUT)


def _work(pool: ActorPool, jobs: Sequence[Job], todo: Sequence[tuple[str, int]], out: Path) -> None:
    """Have jobs done and merge what comes in."""

    def call(what: str, i: int) -> Any:
        return lambda worker: worker.work.remote(what, i + 1, len(jobs), _given(out, jobs[i]))

    with progress_bar(total=len(todo), unit="job") as bar:
        try:
            for index, files in pool.run([call(what, i) for what, i in todo]):
                what, i = todo[index]
                with TemporaryDirectory() as folder:
                    write_files(Path(folder), files)
                    join([folder], out)
                bar.write(f"{'trained' if what == 'train' else 'done'}: {jobs[i]}", sys.stderr)
                bar.update()
        except LostCallError as error:
            raise LostCallError(f"{jobs[todo[error.index][1]]}: {error}", error.index) from error


def _given(out: Path, job: Job) -> Files:
    """Return what a result folder holds of a job: it is neither trained nor evaluated again."""
    if (begun := _begun(out)) is None:
        return {}
    parts = [begun.part(job.entry.name, split, job.seed) for split in job.splits]
    trained = [_note(begun, job), begun.training(job.entry.name, job.seed)]
    return read_files(out, [out / "settings.json", *parts, *trained])


def _begun(out: Path) -> RunFolder | None:
    return RunFolder(out) if (out / "settings.json").exists() else None


def _note(folder: RunFolder, job: Job) -> Path:
    return folder.path / "training" / f"{job.entry.name}-seed{job.seed}.json"
