"""`run`: evaluate agents."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.budget import parse_episodes
from benchmarks.cluster.shard import WHOLE, Shard
from benchmarks.commands import common
from benchmarks.suites import SUITES, Suite
from benchmarks.tables import print_table
from pcrl_gym.cli_tools import (
    FAILURES,
    add_command,
    add_options,
    positive,
    print_error,
    readable,
)
from pcrl_gym.errors import did_you_mean
from pcrl_gym.generators.pretrained import DTYPES

_AS_MANY = 0


def add_run(commands: Any) -> None:
    """Add the command to the subparsers of `argparse`."""
    run = add_command(
        commands,
        "run",
        _run,
        "evaluate agents, or resume a result folder that has the same settings",
        *(common.ROSTER, common.OUT, common.DATASET, common.SPLITS, common.GENERATOR),
        *(common.TEMPLATE, common.DEVICE),
        resumable=True,
        description="Evaluate agents on a frozen suite, or on a dataset. An existing result folder "
        "is resumed where the settings match and refused where they differ; agents may be added.",
    )
    add_options(
        run,
        suite=f"frozen suite: {', '.join(SUITES)}; --dataset only if it leaves that open",
        tokenizer="of the policy: its tokens are the units (default: that of the policies, else "
        "the generator's)",
    )
    run.add_argument(
        "--dtype",
        choices=DTYPES,
        help="the generator's weights (default float32; auto depends on the device)",
    )
    add_options(
        run,
        positive,
        seeds="seeds per agent that uses chance (default: the suite's)",
        limit="prompts per split, spread evenly over it",
    )
    run.add_argument(
        "--policies",
        nargs="+",
        metavar="RUN",
        help="folders of `python -m agents train`, one per seed: what they trained is evaluated, "
        "and nothing is trained here",
    )
    training = run.add_argument_group(
        "training", "per trainable agent and seed; by default a number of episodes that is its own"
    )
    episodes = "a number, or by agent: ppo=6144 scst=32768; episodes give the same agents again"
    add_options(training, str, many=True, train_episodes=episodes)
    minutes = "depends on the machine; with episodes, too, the first that is used up ends it"
    add_options(training, float, train_minutes=minutes)
    training.add_argument(
        "--quick", action="store_true", help="a quarter of the default episodes, but for ppo"
    )
    spread = run.add_mutually_exclusive_group()
    part = "do one part of the work, such as 3/8; see `merge`"
    add_options(spread, readable(Shard.parse), shard=part)
    spread.add_argument(
        "--ray",
        type=positive,
        nargs="?",
        const=_AS_MANY,
        metavar="WORKERS",
        help="do the work on a Ray cluster, that of RAY_ADDRESS or a local one: agents and seeds "
        "at once, on so many workers (default: one per GPU, or per CPU without)",
    )
    rules = run.add_argument_group("rules, with --dataset and --split instead of a suite")
    add_options(rules, reward="name, also with settings: threshold:penalty=0 (default threshold)")
    rules.add_argument("--unit", choices=("token", "word"), help="unit (default token)")
    window, longest = "window in units (default 128)", "longest answer (default 30)"
    add_options(rules, positive, max_units=window, max_new_tokens=longest)


def _run(
    agents: Sequence[str],
    out: str,
    suite: str | None = None,
    policies: Sequence[str] = (),
    shard: Shard = WHOLE,
    ray: int | None = None,
    device: str = "auto",
    quick: bool = False,
    train_minutes: float | None = None,
    train_episodes: Sequence[str] = (),
    **given: Any,
) -> int:
    # Imported late: other commands must not wait for what evaluation needs.
    from benchmarks.roster import find_agents
    from benchmarks.runner import Benchmark

    try:
        chosen, entries = choose_suite(suite, given), find_agents(agents)
        episodes: Any = parse_episodes(",".join(train_episodes)) if train_episodes else None
        if policies:
            from benchmarks.policies import find_policies, tokenizer_of, with_policies

            found = find_policies(policies)
            entries = with_policies(entries, found, chosen)
            chosen = dataclasses.replace(chosen, tokenizer=tokenizer_of(found, chosen))
        budget = {"train_minutes": train_minutes, "train_episodes": episodes, "quick": quick}
        benchmark = Benchmark(chosen, entries, out, shard=shard, device=device, **budget)
        if ray is None:
            benchmark.prepare()
    except FAILURES as error:
        print_error(error)
        return 2
    try:
        if ray is None:
            rows = benchmark.run()
        else:
            from benchmarks.cluster.ray import run_on_cluster

            rows = run_on_cluster(benchmark, ray or None)
    except FAILURES as error:
        print_error(error)
        print("Finished parts are kept; the same command resumes from there.", file=sys.stderr)
        return 1
    print_table(rows)
    print(f"\nWritten to {out}")
    return 0


def choose_suite(name: str | None, given: Mapping[str, Any]) -> Suite:
    """Return the frozen suite of a name, or (None) one of a dataset, with the fields `given`.

    Raises:
        ValueError: If a suite is unknown or comes with fields that it fixes, or neither suite nor
            dataset or not all of dataset, splits and generator are given.
    """
    if name is None:
        if "dataset" not in given:
            raise ValueError(
                "Give --suite or --dataset (both for a suite that leaves its dataset open)"
            )
        if not given.get("splits") or "generator" not in given:
            raise ValueError("--dataset without --suite needs --split and --generator")
        # The prefix keeps its rows apart from those of frozen suites.
        stem = Path(given["dataset"]).stem or given["dataset"]
        return Suite(id=f"dataset:{stem}", version=1, **given)
    if name not in SUITES:
        raise ValueError(f"There is no suite {name!r}{did_you_mean(name, list(SUITES))}")
    suite = SUITES[name]
    free = {*suite.open, "splits", "limit", "seeds"}
    if fixed := [f"--{key.replace('_', '-')}" for key in given if key not in free]:
        raise ValueError(
            f"Suite {suite.id} fixes {', '.join(fixed)}. Use --dataset without --suite, with "
            "--split and --generator, to choose"
        )
    if missing := [
        f"--{key}"
        for key in ("dataset", "generator")
        if getattr(suite, key) is None and key not in given
    ]:
        raise ValueError(f"Suite {suite.id} leaves {' and '.join(missing)} to you")
    if unknown := [split for split in given.get("splits", ()) if split not in suite.splits]:
        raise ValueError(
            f"Suite {suite.id} has the splits {', '.join(suite.splits)}, not {', '.join(unknown)}"
        )
    return dataclasses.replace(suite, **given)
