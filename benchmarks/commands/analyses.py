"""The analyses of result folders, a command each."""

from __future__ import annotations

import importlib
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from benchmarks.commands import common
from pcrl_gym.cli_tools import add_command, add_options, positive


def add_analyses(commands: Any) -> None:
    """Add the commands to the subparsers of `argparse`."""

    def add(name: str, purpose: str, *shared: ArgumentParser, **settings: Any) -> ArgumentParser:
        run = _analysis(name)
        settings["usage"] = "%(prog)s dir [options]"  # a list would take what follows it
        return add_command(commands, name, run, purpose, *shared, resumable=True, **settings)

    add("compare", "compare the agents of a result folder in pairs", common.FOLDER, common.AGENTS)
    rates = add(
        "rates",
        "rate-quality curves",
        *(common.FOLDER, common.ROSTER, common.DEVICE),
        description="Evaluate agents at several rates, on the suite of a result folder; those that "
        "learn as that folder trained them. Resumable.",
    )
    add_options(rates, float, many=True, rates="shares to drop (default 0.1 to 0.9)")
    matrix = "evaluate the agents that each folder trained with the generator of each, resumable"
    add("transfer", matrix, common.FOLDERS, common.ROSTER, common.OUT, common.DEVICE)
    words = "which words the agents keep and drop"
    add("dropped", words, common.FOLDER, common.AGENTS, common.SPLITS)
    judge = add(
        "judge",
        "have a chat model compare the answers to original and compressed prompts",
        *(common.FOLDER, common.MODEL, common.BASE_URL, common.AGENTS, common.SPLITS),
        description="Ask a chat model behind an OpenAI-compatible server, in both orders, which "
        "answer is better. Resumable: verdicts are kept in the folder. The key, if the server "
        "wants one, is read from OPENAI_API_KEY.",
    )
    add_options(
        judge,
        positive,
        limit="prompts per agent and split (default: all)",
        max_requests="most requests that are sent",
        max_tokens="tokens after which no more are sent",
        verdict_tokens="longest verdict (default 64)",
    )
    for kind, texts in (("input", "questions"), ("output", "verdicts")):
        judge.add_argument(
            f"--price-{kind}",
            dest=f"price_per_million_{kind}",
            type=float,
            help=f"price of a million tokens of {texts}",
        )
    net = "net time saved, by agent; of 256 prompts by default"
    add("timing", net, common.FOLDER, common.PROMPTS, common.DEVICE)


def _analysis(module: str) -> Callable[..., None]:
    def run(**options: Any) -> None:
        analysis = importlib.import_module(f"benchmarks.analyses.{module}").run(**options)
        print(analysis.markdown(), end="")

    return run
