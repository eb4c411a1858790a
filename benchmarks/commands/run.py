"""`run`: evaluate agents."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter
from cyclopts.types import PositiveInt
from cyclopts.validators import MutuallyExclusive

from agents.runs.config import TaskConfig
from pcrl_gym.cli_tools import FAILURES, Names, flags_of, message, resumable
from pcrl_gym.envs.options import TaskOptions
from pcrl_gym.errors import PcrlError, did_you_mean
from pcrl_gym.spec_strings import format_spec

if TYPE_CHECKING:
    from benchmarks.suites import Suite

_TRAINING = Group.create_ordered(
    "Training",
    help="Per trainable agent and seed; by default the agent's own number of episodes.",
)
_SPREAD = Group.create_ordered("Several at once", validator=MutuallyExclusive())
_TASK = Group.create_ordered(
    "Rules",
    help="For `--dataset`, `--split` and `--generator` instead of a suite; a suite fixes most of "
    "these. Weights are float32 unless `--dtype` is set.",
)
TaskFlags = flags_of(TaskConfig, TaskOptions.__doc__, without=("split", "early_stopping"))


@resumable()
def run(
    *,
    agents: Names = (),
    out: str,
    compressor: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
    compressor_env: str | None = None,
    suite: str | None = None,
    splits: Names = (),
    seeds: PositiveInt | None = None,
    limit: PositiveInt | None = None,
    policies: tuple[str, ...] = (),
    train_episodes: Annotated[tuple[str, ...], Parameter(group=_TRAINING)] = (),
    train_minutes: Annotated[float | None, Parameter(group=_TRAINING)] = None,
    quick: Annotated[bool, Parameter(group=_TRAINING)] = False,
    processes: Annotated[PositiveInt | None, Parameter(group=_SPREAD)] = None,
    shard: Annotated[str | None, Parameter(group=_SPREAD)] = None,
    ray: Annotated[
        tuple[PositiveInt, ...] | None, Parameter(group=_SPREAD, consume_multiple=(0, 1))
    ] = None,
    task: Annotated[TaskFlags | None, Parameter(name="*", group=_TASK)] = None,
) -> None:
    """Evaluate agents, or resume a result folder with the same settings.

    Agents are evaluated on a frozen suite or on a dataset. An existing result folder is resumed if
    the settings match and rejected if they differ; agents may be added.

    Args:
        agents: Names or module:Class, also with settings: `keep_all random:rate=0.3`.
        out: Result folder.
        compressor: `module:function` from text to text, or `module:Class` with a method `compress`,
            from the current folder; may be given several times. It runs in its own process, and is
            the agent `compressor:target=...`.
        compressor_env: Requirements file, as for `pip install -r`, of a separate environment for
            the compressor; by default it runs in this one.
        suite: Frozen suite, see `ls suites`; `--dataset` only if the suite leaves that open.
        splits: Splits to evaluate; by default the suite's.
        seeds: Seeds per agent that uses randomness; by default the suite's, else 3.
        limit: Prompts per split, spread evenly over it.
        policies: Folders of `train`, one per seed: their policies are evaluated, and nothing is
            trained here.
        train_episodes: A number, or by agent: `ppo=6144 scst=32768`. Episodes make training
            reproducible.
        train_minutes: Depends on the machine; with episodes too, training ends with the first that
            is used up.
        quick: A quarter of the default episodes, except for ppo.
        processes: Run on this many processes of this machine.
        shard: Do one part of the work, such as `3/8`; see `merge`.
        ray: Run on a Ray cluster, that of RAY_ADDRESS or a local one: agents and seeds in parallel,
            on this many workers; without a number, one per GPU, or per CPU without GPUs.
        task: Prompts to evaluate, and how they are answered.
    """
    # Imported late so that help does not wait for the dependencies of evaluation.
    from benchmarks.roster import find_agents, parse_episodes
    from benchmarks.runner import Benchmark
    from benchmarks.tables import print_table

    given: dict[str, Any] = dict(task or {})
    options = {key: given.pop(key) for key in ("device", "batch_size", "cache") if key in given}
    chosen = {"splits": splits, "seeds": seeds, "limit": limit}
    given |= {key: value for key, value in chosen.items() if value}
    specs = [*agents, *(_compressor(target, compressor_env) for target in compressor)]
    rules, entries = _choose_suite(suite, given), find_agents(specs)
    if policies:
        from benchmarks.training import find_policies, tokenizer_of, with_policies

        found = find_policies(policies)
        entries = with_policies(entries, found, rules)
        rules = dataclasses.replace(rules, tokenizer=tokenizer_of(found, rules))
    benchmark = Benchmark(
        rules,
        entries,
        out,
        train_minutes=train_minutes,
        train_episodes=parse_episodes(",".join(train_episodes)) if train_episodes else None,
        quick=quick,
        shard=shard or "1/1",
        **options,
    )
    if ray is None:
        benchmark.prepare()
    try:
        if processes is not None:
            from benchmarks.cluster.processes import run_on_processes

            rows = run_on_processes(benchmark, processes)
        elif ray is not None:
            from benchmarks.cluster.ray import run_on_cluster

            rows = run_on_cluster(benchmark, *ray)
        else:
            rows = benchmark.run()
    except FAILURES as error:
        raise PcrlError(
            f"{message(error)}\nFinished parts are kept; run the same command again to resume"
        ) from error
    print_table(rows)
    print(f"Written to {out}")


def _compressor(target: str, requirements: str | None) -> str:
    settings = {"target": target} | ({} if requirements is None else {"requirements": requirements})
    return format_spec("compressor", settings)


def _choose_suite(name: str | None, given: dict[str, Any]) -> Suite:
    """Return the frozen suite of a name, or (None) one of a dataset, with the `given` fields."""
    from benchmarks.suites import SUITES, Suite

    if name is None:
        if not {"dataset", "splits", "generator"} <= given.keys():
            raise ValueError("Use --suite, or --dataset with --split and --generator")
        # The prefix distinguishes its rows from those of frozen suites.
        stem = Path(given["dataset"]).stem or given["dataset"]
        return Suite(id=f"dataset:{stem}", version=1, **given)
    if name not in SUITES:
        raise ValueError(f"There is no suite {name!r}{did_you_mean(name, list(SUITES))}")
    suite = SUITES[name]
    free = {*suite.open, "splits", "limit", "seeds"}
    if fixed := [f"--{key.replace('_', '-')}" for key in given if key not in free]:
        raise ValueError(
            f"Suite {name} fixes {', '.join(fixed)}; use --dataset without --suite to choose freely"
        )
    needed = [key for key in ("dataset", "generator") if getattr(suite, key) is None]
    if missing := [f"--{key}" for key in needed if key not in given]:
        raise ValueError(f"Suite {name} needs {' and '.join(missing)}")
    if unknown := [split for split in given.get("splits", ()) if split not in suite.splits]:
        raise ValueError(
            f"Suite {name} has the splits {', '.join(suite.splits)}, not {', '.join(unknown)}"
        )
    return dataclasses.replace(suite, **given)
