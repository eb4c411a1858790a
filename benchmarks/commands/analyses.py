"""The analyses of result folders, a command each."""

from __future__ import annotations

import importlib
from argparse import ArgumentParser
from typing import Any

from benchmarks.commands.common import AGENTS, DEVICE, DIR_FIRST, FOLDER, FOLDERS, SPLITS
from pcrl_gym.command_line import ListAction, add_command, positive, readable
from pcrl_gym.generators.openai.url import parse_base_url


def add_analyses(commands: Any) -> None:
    """Add the commands to the subparsers of `argparse`."""

    def add(name: str, module: str, *shared: ArgumentParser, **settings: Any) -> ArgumentParser:
        def run(**options: Any) -> None:
            analysis = importlib.import_module(f"benchmarks.{module}").run(**options)
            print(analysis.markdown(), end="")

        return add_command(
            commands, name, run, *shared, resumable=True, usage=DIR_FIRST, **settings
        )

    def add_agents(command: ArgumentParser, which: str) -> None:
        command.add_argument(
            "--agents", action=ListAction, metavar="NAME", required=True, help=which
        )

    add("compare", "pairs", FOLDER, AGENTS, help="compare the agents of a result folder in pairs")
    rates = add(
        "rates",
        "rates",
        FOLDER,
        DEVICE,
        help="rate-quality curves",
        description="Evaluate agents at several rates, on the suite of a result folder; those that "
        "learn as that folder trained them. Resumable.",
    )
    add_agents(rates, "agents that take a rate")
    rates.add_argument(
        "--rates",
        action=ListAction,
        item=float,
        metavar="SHARE",
        help="shares to drop, 0 to 1 (default 0.1 to 0.9)",
    )
    transfer = add(
        "transfer",
        "transfer",
        FOLDERS,
        DEVICE,
        help="evaluate the agents that each folder trained with the generator of each; resumable",
    )
    add_agents(transfer, "agents that learn")
    transfer.add_argument("--out", required=True, help="folder for the evaluations")
    add(
        "dropped",
        "dropped",
        FOLDER,
        AGENTS,
        SPLITS,
        help="which words the agents keep and drop",
    )
    judge = add(
        "judge",
        "judge",
        FOLDER,
        AGENTS,
        SPLITS,
        help="have a chat model compare the answers to original and compressed prompts",
        description="Ask a chat model behind an OpenAI-compatible server, in both orders, which "
        "answer is better. Resumable: verdicts are kept in the folder. The key, if the server "
        "wants one, is read from OPENAI_API_KEY.",
    )
    judge.add_argument("--model", required=True, help="what the server calls the judge")
    judge.add_argument(
        "--base-url",
        type=readable(lambda text: parse_base_url(text).url),
        required=True,
        help="such as http://localhost:8000/v1, or with ?enable_thinking=false for a judge that "
        "thinks",
    )
    judge.add_argument("--limit", type=positive, help="prompts per agent and split (default: all)")
    judge.add_argument("--max-requests", type=positive, help="most requests that are sent")
    judge.add_argument("--max-tokens", type=positive, help="tokens after which no more are sent")
    for kind, name in (("input", "questions"), ("output", "verdicts")):
        judge.add_argument(
            f"--price-{kind}",
            dest=f"price_per_million_{kind}",
            metavar="PRICE",
            type=float,
            help=f"price of a million tokens of {name}",
        )
    judge.add_argument("--verdict-tokens", type=positive, help="longest verdict (default 64)")
    timing = add("timing", "timing", FOLDER, DEVICE, help="net time saved, by agent")
    timing.add_argument(
        "--prompts", type=positive, help="prompts per agent and split (default 256)"
    )
