"""`run`: evaluate agents."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.budget import TrainingError, default_episodes, parse_episodes
from benchmarks.commands.common import FAILURES, TEMPLATES, attempt, names, positive, tell, template
from benchmarks.leaderboard import format_leaderboard
from benchmarks.shard import WHOLE, Shard
from benchmarks.suites import SUITES, Suite, dataset_suite_id
from pcrl_gym.generators.loading import DTYPES

if TYPE_CHECKING:
    from benchmarks.leaderboard import Row
    from benchmarks.runner import Benchmark

_AS_MANY = 0
# Options that make a suite out of a dataset; a frozen suite fixes all that it does not leave open.
_SUITE_OPTIONS = (
    "generator", "dtype", "reward", "template", "tokenizer", "unit", "max_units", "max_new_tokens",
)  # fmt: skip


def add_run(commands: Any) -> None:
    """Add the command to the subparsers of `argparse`."""
    run = commands.add_parser(
        "run",
        help="evaluate agents, or resume a result folder that has the same settings",
        description="Evaluate agents. An existing result folder is resumed where the settings "
        "match and refused where they differ; agents may be added to it.",
    )
    run.add_argument("--suite", help=f"frozen suite: {', '.join(SUITES)}")
    run.add_argument(
        "--dataset",
        help="name, file, folder or Hugging Face id: instead of a suite, or for one that "
        "leaves it open (alpaca-plus, t0-short)",
    )
    run.add_argument(
        "--split", type=names, default=(), help="split, or several separated by commas"
    )
    run.add_argument("--generator", help="generator: micro, micro-seq2seq, model id or folder")
    run.add_argument(
        "--agents", type=names, required=True, help="names or module:Class, separated by commas"
    )
    run.add_argument("--out", required=True, help="result folder")
    run.add_argument(
        "--seeds", type=positive, help="seeds per agent that uses chance (default: the suite's)"
    )
    run.add_argument("--limit", type=positive, help="prompts per split, spread evenly over it")
    run.add_argument(
        "--policies",
        nargs="+",
        default=[],
        metavar="RUN",
        help="folders of `python -m agents train`, one per seed: what they trained is evaluated, "
        "and nothing is trained here",
    )
    run.add_argument(
        "--tokenizer",
        help="policy tokenizer: its tokens are the units (default: that of the policies, else the "
        "generator's)",
    )
    run.add_argument(
        "--template", type=template, help=f"prompt template: {TEMPLATES} (default alpaca)"
    )
    training = run.add_argument_group(
        "training", "per trainable agent and seed; by default a number of episodes that is its own"
    )
    training.add_argument(
        "--train-episodes",
        type=_episodes,
        help="a number, or one by agent, such as ppo=6144,scst=32768; episodes give the same "
        "agents again",
    )
    training.add_argument(
        "--train-minutes",
        type=float,
        help="what is learned in them depends on the machine; with episodes, too, the first that "
        "is used up ends the training",
    )
    training.add_argument(
        "--quick", action="store_true", help="a quarter of the default episodes, but for ppo"
    )
    spread = run.add_mutually_exclusive_group()
    spread.add_argument(
        "--shard",
        type=_shard,
        default=WHOLE,
        help="do one part of the work, such as 3/8; see `merge`",
    )
    spread.add_argument(
        "--ray",
        type=positive,
        nargs="?",
        const=_AS_MANY,
        metavar="WORKERS",
        help="do the work on a Ray cluster, that of RAY_ADDRESS or a local one: agents and seeds "
        "at once, on so many workers (default: one per GPU, or per CPU without)",
    )
    run.add_argument("--device", default="auto", help="device of the generator (default auto)")
    run.add_argument(
        "--dtype",
        choices=DTYPES,
        help="the generator's weights (default float32; auto depends on the device)",
    )
    custom = run.add_argument_group("rules, with --dataset only")
    custom.add_argument("--reward", help="reward (default threshold)")
    custom.add_argument("--unit", choices=("token", "word"), help="unit (default token)")
    custom.add_argument("--max-units", type=positive, help="window in units (default 128)")
    custom.add_argument("--max-new-tokens", type=positive, help="longest answer (default 30)")
    run.set_defaults(handler=lambda options: attempt(lambda: _run(options), resumable=True))


def _run(options: argparse.Namespace) -> int:
    # Imported late: other commands must not wait for what evaluation needs.
    from benchmarks.roster import find_agents
    from benchmarks.runner import Benchmark

    episodes = options.train_episodes
    try:
        suite, entries = suite_from_options(options), find_agents(options.agents)
        if options.quick:
            if episodes is not None or options.train_minutes is not None:
                raise ValueError(
                    "--quick is a training budget: leave it out, or --train-episodes and "
                    "--train-minutes"
                )
            episodes = default_episodes((entry.name for entry in entries), quick=True)
        if options.policies:
            from benchmarks.policies import tokenizer_of, with_policies
            from benchmarks.policy import find_policies

            policies = find_policies(options.policies)
            entries = with_policies(entries, policies, suite)
            suite = dataclasses.replace(suite, tokenizer=tokenizer_of(policies, suite))
        benchmark = Benchmark(
            suite,
            entries,
            options.out,
            train_minutes=options.train_minutes,
            train_episodes=episodes,
            shard=options.shard,
            device=options.device,
        )
        if options.ray is None:
            benchmark.prepare()
    except FAILURES as error:
        tell(error)
        return 2
    try:
        rows = benchmark.run() if options.ray is None else _run_on_cluster(benchmark, options.ray)
    except (*FAILURES, TrainingError) as error:
        tell(error)
        print("Finished parts are kept; the same command resumes from there.", file=sys.stderr)
        return 1
    print(format_leaderboard(rows), end="")
    print(f"\nWritten to {options.out}")
    return 0


def _run_on_cluster(benchmark: Benchmark, workers: int) -> list[Row]:
    from benchmarks.cluster import run_on_cluster

    return run_on_cluster(benchmark, workers or None)


def suite_from_options(options: argparse.Namespace) -> Suite:
    """Return the frozen suite that was asked for, or one made from a dataset.

    Raises:
        ValueError: A suite is unknown or comes with options that it fixes, or neither suite nor
            dataset or not all of dataset, split and generator are given.
    """
    splits = tuple(options.split)
    given = {
        name: getattr(options, name)
        for name in _SUITE_OPTIONS
        if getattr(options, name) is not None
    }
    common = {"limit": options.limit} if options.limit is not None else {}
    if options.seeds is not None:
        common["seeds"] = options.seeds
    if options.suite is None:
        return _suite_of_dataset(options, splits, given | common)
    if options.suite not in SUITES:
        raise ValueError(f"There is no suite {options.suite!r}; there are: {', '.join(SUITES)}")
    suite = SUITES[options.suite]
    given |= {} if options.dataset is None else {"dataset": options.dataset}
    fixed = [name for name in given if name not in suite.open]
    if fixed:
        wrong = ", ".join("--" + name.replace("_", "-") for name in fixed)
        raise ValueError(
            f"Suite {suite.id} fixes {wrong}. Use --dataset without --suite, with --split and "
            "--generator, to choose"
        )
    missing = [name for name in ("dataset", "generator") if getattr(suite, name) is None]
    if missing := [name for name in missing if name not in given]:
        raise ValueError(
            f"Suite {suite.id} leaves {' and '.join('--' + name for name in missing)} to you"
        )
    unknown = [split for split in splits if split not in suite.splits]
    if unknown:
        raise ValueError(
            f"Suite {suite.id} has the splits {', '.join(suite.splits)}, not {', '.join(unknown)}"
        )
    return dataclasses.replace(suite, splits=splits or suite.splits, **given, **common)


def _suite_of_dataset(
    options: argparse.Namespace, splits: tuple[str, ...], given: dict[str, Any]
) -> Suite:
    if options.dataset is None:
        raise ValueError(
            "Give --suite or --dataset (both for a suite that leaves its dataset open)"
        )
    if not splits or "generator" not in given:
        raise ValueError("--dataset without --suite needs --split and --generator")
    return Suite(
        id=dataset_suite_id(options.dataset),
        version=1,
        dataset=options.dataset,
        splits=splits,
        **given,
    )


def _episodes(text: str) -> int | dict[str, int]:
    try:
        return parse_episodes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
