"""Command line: `python -m benchmarks COMMAND`; `--help` lists the commands."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.leaderboard import format_leaderboard, make_rows
from benchmarks.records import RunFolder, RunFolderError
from benchmarks.shard import WHOLE, Shard
from benchmarks.suites import SUITES, Suite, dataset_suite_id

TRAIN_MINUTES = 5.0
QUICK_TRAIN_MINUTES = 2.0
# Options that make a suite out of a dataset; a frozen suite fixes them all.
_SUITE_OPTIONS = ("generator", "reward", "template", "unit", "max_units", "max_new_tokens")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows `python -m benchmarks`; None for the process's own.

    Returns:
        Exit status: 0 done, 1 the run failed, 130 interrupted. Wrong arguments exit with 2.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "table":
        return _table(options.dir, options.details)
    if options.command == "merge":
        return _merge(options.dirs, options.out)
    if options.command == "report":
        return _report(options)
    if options.command == "validate":
        return _validate(options)
    if options.command == "judge":
        return _judge(options)
    if options.command == "dropped":
        return _dropped(options)
    if options.command == "timing":
        return _timing(options)
    if options.command == "compare":
        return _compare(options)
    if options.command == "rates":
        return _rates(options)
    if options.command == "transfer":
        return _transfer(options)
    if options.command == "throughput":
        return _throughput(options)
    if options.command == "latency":
        return _latency(options)
    try:
        return _run(options)
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on with what is unfinished.", file=sys.stderr)
        return 130


def _table(path: str, details: bool) -> int:
    try:
        folder = RunFolder(path)
        rows = make_rows(folder.records(), folder.settings)
        print(format_leaderboard(rows, details=details), end="")
    except RunFolderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _merge(paths: Sequence[str], out: str) -> int:
    from benchmarks.merge import merge

    try:
        print(format_leaderboard(merge(paths, out)), end="")
    except (RunFolderError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"\nWritten to {out}")
    return 0


def _report(options: argparse.Namespace) -> int:
    from benchmarks.report.command import run
    from pcrl_gym.errors import PcrlError

    try:
        files = run([Path(one) for one in options.dirs], options.out and Path(options.out))
    except (PcrlError, RunFolderError, ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(f"Written: {file}" for file in files))
    return 0


def _validate(options: argparse.Namespace) -> int:
    from benchmarks.validate import validate

    report = validate(options.dir, device=options.device)
    print(report.text(), end="")
    return 1 if report.problems else 0


def _compare(options: argparse.Namespace) -> int:
    from benchmarks.pairs import compare_agents

    def compare() -> Any:
        return compare_agents(RunFolder(options.dir).records(), _names(options.agents or ""))

    return _analysis(compare)


def _judge(options: argparse.Namespace) -> int:
    from benchmarks.judge import run

    return _analysis(
        lambda: run(
            options.dir,
            model=options.model,
            base_url=options.base_url,
            agents=_names(options.agents) if options.agents else None,
            splits=_names(options.split) if options.split else None,
            limit=options.limit,
            max_requests=options.max_requests,
            max_tokens=options.max_tokens,
            price_per_million_input=options.price_input,
            price_per_million_output=options.price_output,
            verdict_tokens=options.verdict_tokens,
        )
    )


def _dropped(options: argparse.Namespace) -> int:
    from benchmarks.dropped import run

    agents, splits = _names(options.agents or ""), _names(options.split or "")
    return _analysis(lambda: run(options.dir, agents, splits))


def _timing(options: argparse.Namespace) -> int:
    from benchmarks.timing import run

    return _analysis(lambda: run(options.dir, prompts=options.prompts, device=options.device))


def _rates(options: argparse.Namespace) -> int:
    from benchmarks.rates import RATES, run

    agents = _names(options.agents)
    rates = options.rates or RATES
    return _analysis(lambda: run(options.dir, agents, rates=rates, device=options.device))


def _transfer(options: argparse.Namespace) -> int:
    from benchmarks.transfer import run

    agents = _names(options.agents)
    return _analysis(lambda: run(options.dirs, agents, options.out, device=options.device))


def _analysis(make: Callable[[], Any]) -> int:
    """Make an analysis and print its tables."""
    from pcrl_gym.errors import PcrlError

    try:
        print(make().markdown(), end="")
    except (PcrlError, RunFolderError, ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on with what is unfinished.", file=sys.stderr)
        return 130
    return 0


def _run(options: argparse.Namespace) -> int:
    # Imported late: `table` must not wait for what evaluation needs.
    from benchmarks.roster import find_agents
    from benchmarks.runner import Benchmark, TrainingError
    from pcrl_gym.errors import PcrlError

    minutes = QUICK_TRAIN_MINUTES if options.quick else options.train_minutes
    if minutes is None and options.train_episodes is None:
        minutes = TRAIN_MINUTES
    try:
        benchmark = Benchmark(
            suite_from_options(options),
            find_agents(_names(options.agents)),
            options.out,
            train_minutes=minutes,
            train_episodes=options.train_episodes,
            shard=WHOLE if options.shard is None else options.shard,
            device=options.device,
        )
        benchmark.prepare()
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        rows = benchmark.run()
    except (PcrlError, RunFolderError, TrainingError, ValueError, OSError) as error:
        print(
            f"error: {error}\nFinished parts are kept; the same command goes on from there.",
            file=sys.stderr,
        )
        return 1
    print(format_leaderboard(rows), end="")
    print(f"\nWritten to {options.out}")
    return 0


def _throughput(options: argparse.Namespace) -> int:
    # Imported late, for the same reason.
    from benchmarks.throughput.command import Options, run
    from pcrl_gym.errors import PcrlError

    given = {
        name: value
        for name, value in vars(options).items()
        if name != "command" and value is not None
    }
    for name in ("models", "masks"):
        if name in given:
            given[name] = tuple(_names(given[name]))
    try:
        wanted = Options(**given)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        agree = run(wanted)
    except (PcrlError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0 if agree else 1


def _latency(options: argparse.Namespace) -> int:
    # Imported late, for the same reason.
    from benchmarks.latency import Options, run
    from pcrl_gym.errors import PcrlError

    given = {name: value for name, value in vars(options).items() if name != "command"}
    try:
        wanted = Options(**given)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        run(wanted)
    except (PcrlError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


def suite_from_options(options: argparse.Namespace) -> Suite:
    """The frozen suite that was asked for, or one made from a dataset.

    Raises:
        ValueError: a suite is unknown or comes with options that it fixes, or neither suite nor
            dataset or not all of dataset, split and generator are given.
    """
    splits = tuple(_names(options.split)) if options.split else ()
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
        raise ValueError(f"There is no suite {options.suite!r}; there are: {', '.join(SUITES)}.")
    suite = SUITES[options.suite]
    given |= {} if options.dataset is None else {"dataset": options.dataset}
    fixed = [name for name in given if getattr(suite, name) is not None]
    if fixed:
        wrong = ", ".join("--" + name.replace("_", "-") for name in fixed)
        raise ValueError(
            f"Suite {suite.id} fixes {wrong}. Use --dataset without --suite, with --split and "
            "--generator, to choose."
        )
    missing = [name for name in ("dataset", "generator") if getattr(suite, name) is None]
    if missing := [name for name in missing if name not in given]:
        raise ValueError(
            f"Suite {suite.id} leaves {' and '.join('--' + name for name in missing)} to you."
        )
    unknown = [split for split in splits if split not in suite.splits]
    if unknown:
        raise ValueError(
            f"Suite {suite.id} has the splits {', '.join(suite.splits)}, not {', '.join(unknown)}."
        )
    return dataclasses.replace(suite, splits=splits or suite.splits, **given, **common)


def _suite_of_dataset(
    options: argparse.Namespace, splits: tuple[str, ...], given: dict[str, Any]
) -> Suite:
    if options.dataset is None:
        raise ValueError(
            "Give --suite or --dataset (both for a suite that leaves its dataset open)."
        )
    if not splits or "generator" not in given:
        raise ValueError("--dataset without --suite needs --split and --generator.")
    return Suite(
        id=dataset_suite_id(options.dataset),
        version=1,
        dataset=options.dataset,
        splits=splits,
        **given,
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def _shares(text: str) -> list[float]:
    try:
        return [float(name) for name in _names(text)]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected numbers from 0 to 1, got {text!r}") from error


def _shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Benchmark agents.")
    commands = parser.add_subparsers(dest="command", required=True)
    table = commands.add_parser("table", help="print the leaderboard of a result folder")
    table.add_argument("dir", help="result folder")
    table.add_argument(
        "--details",
        action="store_true",
        help="the further figures: interquartile mean, rates, second tokenizer, gold answers",
    )
    merge = commands.add_parser("merge", help="join the result folders of shards in a new one")
    merge.add_argument("dirs", nargs="+", metavar="dir", help="result folder of a shard")
    merge.add_argument("--out", required=True, help="result folder for all of it")
    run = commands.add_parser(
        "run",
        help="evaluate agents; goes on with a result folder that has the same settings",
        description="Evaluate agents. An existing result folder is resumed where the settings "
        "match and refused where they differ; agents may be added to it.",
    )
    run.add_argument("--suite", help=f"frozen suite: {', '.join(SUITES)}")
    run.add_argument(
        "--dataset",
        help="name, file, folder or Hugging Face id: instead of a suite, or for one that "
        "leaves it open (alpaca-plus, t0-short)",
    )
    run.add_argument("--split", help="split, or several separated by commas")
    run.add_argument("--generator", help="generator: micro, micro-seq2seq, model id or folder")
    run.add_argument("--agents", required=True, help="names or module:Class, separated by commas")
    run.add_argument("--out", required=True, help="result folder")
    run.add_argument(
        "--seeds", type=_positive, help="seeds per agent that uses chance (default: the suite's)"
    )
    run.add_argument("--limit", type=_positive, help="prompts per split, spread evenly over it")
    training = run.add_mutually_exclusive_group()
    training.add_argument(
        "--train-minutes",
        type=float,
        help=f"training per trainable agent and seed (default {TRAIN_MINUTES:g}, without "
        "--train-episodes)",
    )
    training.add_argument(
        "--quick", action="store_true", help=f"train for {QUICK_TRAIN_MINUTES:g} minutes"
    )
    run.add_argument(
        "--train-episodes",
        type=_positive,
        help="the same in episodes, which gives the same agents again; with minutes, too, the "
        "first that is used up ends the training",
    )
    run.add_argument(
        "--shard", type=_shard, help="do one part of the work, such as 3/8; see `merge`"
    )
    run.add_argument("--device", default="auto", help="device of the generator (default auto)")
    custom = run.add_argument_group("rules, with --dataset only")
    custom.add_argument("--reward", help="reward (default threshold)")
    custom.add_argument(
        "--template", choices=("alpaca", "chat"), help="prompt template (default alpaca)"
    )
    custom.add_argument("--unit", choices=("token", "word"), help="unit (default token)")
    custom.add_argument("--max-units", type=_positive, help="window in units (default 128)")
    custom.add_argument("--max-new-tokens", type=_positive, help="longest answer (default 30)")
    _add_analyses(commands)
    _add_throughput(commands)
    _add_latency(commands)
    return parser


def _add_analyses(commands: Any) -> None:
    compare = commands.add_parser("compare", help="compare the agents of a result folder in pairs")
    compare.add_argument("dir", help="result folder")
    compare.add_argument("--agents", help="names separated by commas (default: all)")
    report = commands.add_parser(
        "report", help="write a leaderboard's page, tables (Markdown, CSV, LaTeX) and picture"
    )
    report.add_argument("dirs", nargs="+", metavar="dir", help="result folder")
    report.add_argument("--out", help="folder for the report (default: report/ in the first)")
    valid = commands.add_parser("validate", help="check a result folder, and say what is wrong")
    valid.add_argument("dir", help="result folder")
    rates = commands.add_parser(
        "rates",
        help="rate-quality curves",
        description="Evaluate agents at several rates, on the suite of a result folder; those that "
        "learn as that folder trained them. Resumable.",
    )
    rates.add_argument("dir", help="result folder")
    rates.add_argument("--agents", required=True, help="agents that take a rate")
    rates.add_argument(
        "--rates", type=_shares, help="shares to drop, separated by commas (default 0.1 to 0.9)"
    )
    transfer = commands.add_parser(
        "transfer",
        help="evaluate the agents that each folder trained with the generator of each",
        description="Evaluate the agents that each folder trained with the generator of each. "
        "Resumable.",
    )
    transfer.add_argument("dirs", nargs="+", metavar="dir", help="result folder")
    transfer.add_argument("--agents", required=True, help="agents that learn")
    transfer.add_argument("--out", required=True, help="folder for the evaluations")
    dropped = commands.add_parser("dropped", help="which words the agents keep and drop")
    dropped.add_argument("dir", help="result folder")
    dropped.add_argument("--agents", help="names separated by commas (default: all)")
    dropped.add_argument("--split", help="split, or several separated by commas (default: all)")
    judge = commands.add_parser(
        "judge",
        help="have a chat model compare the answers to original and compressed prompts",
        description="Ask a chat model behind an OpenAI-compatible server, in both orders, which "
        "answer is better. Resumable: verdicts are kept in the folder. The key, if the server "
        "wants one, is read from OPENAI_API_KEY.",
    )
    judge.add_argument("dir", help="result folder")
    judge.add_argument("--model", required=True, help="what the server calls the judge")
    judge.add_argument("--base-url", help="such as http://localhost:8000/v1")
    judge.add_argument("--agents", help="names separated by commas (default: all)")
    judge.add_argument("--split", help="split, or several separated by commas (default: all)")
    judge.add_argument("--limit", type=_positive, help="prompts per agent and split (default: all)")
    judge.add_argument("--max-requests", type=_positive, help="most requests that are sent")
    judge.add_argument("--max-tokens", type=_positive, help="tokens after which no more are sent")
    judge.add_argument("--price-input", type=float, help="price of a million tokens of questions")
    judge.add_argument("--price-output", type=float, help="price of a million tokens of verdicts")
    judge.add_argument(
        "--verdict-tokens", type=_positive, default=64, help="longest verdict (default 64)"
    )
    timing = commands.add_parser("timing", help="net time saved, by agent")
    timing.add_argument("dir", help="result folder")
    timing.add_argument(
        "--prompts", type=_positive, default=256, help="per agent and split (default 256)"
    )
    for command in (valid, rates, transfer, timing):
        command.add_argument("--device", default="auto", help="device of generators (default auto)")


def _add_throughput(commands: Any) -> None:
    speed = commands.add_parser(
        "throughput",
        help="measure how fast compressed prompts are answered",
        description="Compare the engine with plain `generate` and a bare forward pass, on the same "
        "prompts, masks and model in one run. Ends with 1 if rewards differ where they must not.",
    )
    speed.add_argument("--models", help="names separated by commas (default: all for the device)")
    speed.add_argument("--device", help="device of generators and policy (default auto)")
    speed.add_argument(
        "--prompts",
        type=_positive,
        help="prompts per model (default 512 for micro, 64 for other models on a CPU, else 256)",
    )
    speed.add_argument("--masks", help="names separated by commas (default: all)")
    speed.add_argument("--repeats", type=_positive, help="repetitions of each way (default 3)")
    speed.add_argument("--policy", help="folder of a trained ppo agent (default: train one)")
    speed.add_argument(
        "--policy-minutes", type=float, help="how long to train it; 0: do without (default 2)"
    )
    speed.add_argument("--out", help="JSON file for all figures; an existing one is refused")


def _add_latency(commands: Any) -> None:
    latency = commands.add_parser(
        "latency", help="measure what compressing a prompt costs beside answering it"
    )
    latency.add_argument("--policy", default="micro", help="micro, a folder or a hub id")
    latency.add_argument("--generator", default="micro", help="micro, model id or folder")
    latency.add_argument("--prompts", type=_positive, default=256, help="how many (default 256)")
    latency.add_argument("--repeats", type=_positive, default=3, help="best of so many (default 3)")
    latency.add_argument("--device", default="auto", help="device of both (default auto)")
    latency.add_argument("--out", help="JSON file for all figures; an existing one is refused")


if __name__ == "__main__":
    sys.exit(main())
