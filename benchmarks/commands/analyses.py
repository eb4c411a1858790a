"""The analyses of result folders, a command each."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from benchmarks.analysis import Analysis
from benchmarks.commands.common import attempt, names, positive


def add_analyses(commands: Any) -> None:
    """Add the commands to the subparsers of `argparse`."""
    compare = commands.add_parser("compare", help="compare the agents of a result folder in pairs")
    compare.add_argument("dir", help="result folder")
    compare.add_argument(
        "--agents", type=names, default=(), help="names separated by commas (default: all)"
    )
    compare.set_defaults(handler=_compare)
    rates = commands.add_parser(
        "rates",
        help="rate-quality curves",
        description="Evaluate agents at several rates, on the suite of a result folder; those that "
        "learn as that folder trained them. Resumable.",
    )
    rates.add_argument("dir", help="result folder")
    rates.add_argument("--agents", type=names, required=True, help="agents that take a rate")
    rates.add_argument(
        "--rates", type=_shares, help="shares to drop, separated by commas (default 0.1 to 0.9)"
    )
    rates.set_defaults(handler=_rates)
    transfer = commands.add_parser(
        "transfer",
        help="evaluate the agents that each folder trained with the generator of each",
        description="Evaluate the agents that each folder trained with the generator of each. "
        "Resumable.",
    )
    transfer.add_argument("dirs", nargs="+", metavar="dir", help="result folder")
    transfer.add_argument("--agents", type=names, required=True, help="agents that learn")
    transfer.add_argument("--out", required=True, help="folder for the evaluations")
    transfer.set_defaults(handler=_transfer)
    dropped = commands.add_parser("dropped", help="which words the agents keep and drop")
    dropped.add_argument("dir", help="result folder")
    dropped.add_argument(
        "--agents", type=names, default=(), help="names separated by commas (default: all)"
    )
    dropped.add_argument(
        "--split",
        type=names,
        default=(),
        help="split, or several separated by commas (default: all)",
    )
    dropped.set_defaults(handler=_dropped)
    judge = commands.add_parser(
        "judge",
        help="have a chat model compare the answers to original and compressed prompts",
        description="Ask a chat model behind an OpenAI-compatible server, in both orders, which "
        "answer is better. Resumable: verdicts are kept in the folder. The key, if the server "
        "wants one, is read from OPENAI_API_KEY.",
    )
    judge.add_argument("dir", help="result folder")
    judge.add_argument("--model", required=True, help="what the server calls the judge")
    judge.add_argument(
        "--base-url",
        type=_base_url,
        required=True,
        help="such as http://localhost:8000/v1, or with ?enable_thinking=false for a judge that "
        "thinks",
    )
    judge.add_argument(
        "--agents", type=names, default=(), help="names separated by commas (default: all)"
    )
    judge.add_argument(
        "--split",
        type=names,
        default=(),
        help="split, or several separated by commas (default: all)",
    )
    judge.add_argument("--limit", type=positive, help="prompts per agent and split (default: all)")
    judge.add_argument("--max-requests", type=positive, help="most requests that are sent")
    judge.add_argument("--max-tokens", type=positive, help="tokens after which no more are sent")
    judge.add_argument("--price-input", type=float, help="price of a million tokens of questions")
    judge.add_argument("--price-output", type=float, help="price of a million tokens of verdicts")
    judge.add_argument(
        "--verdict-tokens", type=positive, default=64, help="longest verdict (default 64)"
    )
    judge.set_defaults(handler=_judge)
    timing = commands.add_parser("timing", help="net time saved, by agent")
    timing.add_argument("dir", help="result folder")
    timing.add_argument(
        "--prompts", type=positive, default=256, help="per agent and split (default 256)"
    )
    timing.set_defaults(handler=_timing)
    for command in (rates, transfer, timing):
        command.add_argument("--device", default="auto", help="device of generators (default auto)")


def _compare(options: argparse.Namespace) -> int:
    from benchmarks.pairs import run

    return _analysis(lambda: run(options.dir, options.agents))


def _judge(options: argparse.Namespace) -> int:
    from benchmarks.judge import run

    return _analysis(
        lambda: run(
            options.dir,
            model=options.model,
            base_url=options.base_url,
            agents=options.agents,
            splits=options.split,
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

    return _analysis(lambda: run(options.dir, options.agents, options.split))


def _timing(options: argparse.Namespace) -> int:
    from benchmarks.timing import run

    return _analysis(lambda: run(options.dir, prompts=options.prompts, device=options.device))


def _rates(options: argparse.Namespace) -> int:
    from benchmarks.rates import RATES, run

    rates = options.rates or RATES
    return _analysis(lambda: run(options.dir, options.agents, rates=rates, device=options.device))


def _transfer(options: argparse.Namespace) -> int:
    from benchmarks.transfer import run

    return _analysis(lambda: run(options.dirs, options.agents, options.out, device=options.device))


def _analysis(make: Callable[[], Analysis]) -> int:
    """Make an analysis and print its tables."""
    return attempt(lambda: print(make().markdown(), end=""), resumable=True)


def _base_url(text: str) -> str:
    from pcrl_gym.generators.openai.url import parse_base_url

    try:
        return parse_base_url(text).url
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _shares(text: str) -> list[float]:
    try:
        return [float(name) for name in names(text)]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected numbers from 0 to 1, got {text!r}") from error
