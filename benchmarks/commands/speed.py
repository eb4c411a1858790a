"""`throughput`, `latency`, `scaling` and `concurrency`: what answering and compressing cost."""

from __future__ import annotations

from typing import Any

from benchmarks.commands.common import (
    DEVICE,
    FIGURES,
    GENERATOR,
    MODELS,
    NEW_TOKENS,
    PROMPTS,
    REPEATS,
)
from pcrl_gym.command_line import ListAction, add_command, positive


def add_speed(commands: Any) -> None:
    """Add the commands to the subparsers of `argparse`."""
    speed = add_command(
        commands,
        "throughput",
        _throughput,
        MODELS,
        DEVICE,
        PROMPTS,
        REPEATS,
        FIGURES,
        help="measure how fast compressed prompts are answered",
        description="Compare the engine with plain `generate` and a bare forward pass, on the same "
        "prompts, masks and model in one run. Ends with 1 if rewards differ where they must not. "
        "By default all models for the device, with 512 prompts for micro, 64 for other models on "
        "a CPU, else 256.",
    )
    speed.add_argument("--data", help="micro (default), or a folder of prompts")
    speed.add_argument(
        "--dtype", help="auto (default), float32, bfloat16 or float16, of generators"
    )
    speed.add_argument("--masks", action=ListAction, metavar="NAME", help="masks (default: all)")
    speed.add_argument("--policy", help="folder of a trained ppo agent (default: train one)")
    speed.add_argument(
        "--policy-minutes", type=float, help="how long to train it; 0: do without (default 2)"
    )
    latency = add_command(
        commands,
        "latency",
        _latency,
        GENERATOR,
        DEVICE,
        PROMPTS,
        REPEATS,
        FIGURES,
        help="measure what compressing a prompt costs beside answering it",
        description="Measure what compressing a prompt of micro costs beside answering it, by "
        "default of 256 with micro's generator.",
    )
    latency.add_argument("--policy", help="micro (default), a folder or a hub id")
    scaling = add_command(
        commands,
        "scaling",
        _scaling,
        MODELS,
        REPEATS,
        FIGURES,
        help="measure what a reward costs by stage, and compute what many GPUs would earn",
        description="Time the stages of self-critical updates on the CPU, fit a model of their "
        "costs and compute rewards per second, bottleneck and price for many GPUs.",
    )
    scaling.add_argument("--figures", help="show the tables of such a file, measure nothing")
    concurrency = add_command(
        commands,
        "concurrency",
        _concurrency,
        PROMPTS,
        NEW_TOKENS,
        help="measure an OpenAI-compatible server with several requests in flight",
    )
    concurrency.add_argument("--model", required=True, help="what the server calls the model")
    concurrency.add_argument("--base-url", required=True, help="such as http://localhost:8000/v1")
    concurrency.add_argument("--api", choices=("chat", "completions"), help="default chat")
    for command, flag, what in (
        (scaling, "--rewards", "rewards per update (default 8 32 128)"),
        (scaling, "--lengths", "tokens per prompt (default 48 96 192)"),
        (scaling, "--replicas", "replicas on a local Ray cluster (default 1 2; '': none)"),
        (concurrency, "--levels", "requests in flight (default 1 4 8 16), --prompts each (64)"),
    ):
        command.add_argument(flag, action=ListAction, item=positive, metavar="N", help=what)


def _throughput(**options: Any) -> int:
    from benchmarks.throughput.command import Options, run

    return 0 if run(Options(**options)) else 1


def _latency(**options: Any) -> None:
    from benchmarks.latency import Options, run

    run(Options(**options))


def _scaling(figures: str | None = None, **options: Any) -> None:
    from benchmarks.scaling.command import Options, run, show

    if figures:
        print(show(figures), end="")
    else:
        run(Options(**options))


def _concurrency(**options: Any) -> None:
    from benchmarks.concurrency import measure

    print(measure(**options), end="")
