"""`throughput`, `latency`, `scaling` and `concurrency`: what answering and compressing cost."""

from __future__ import annotations

from typing import Any

from benchmarks.commands import common
from pcrl_gym.cli_tools import add_command, add_options, positive


def add_speed(commands: Any) -> None:
    """Add the commands to the subparsers of `argparse`."""
    speed = add_command(
        commands,
        "throughput",
        _throughput,
        "measure how fast compressed prompts are answered",
        *(common.MODELS, common.DEVICE, common.PROMPTS, common.REPEATS, common.FIGURES),
        description="Compare the engine with plain `generate` and a bare forward pass, on the same "
        "prompts, masks and model in one run. Ends with 1 if rewards differ where they must not. "
        "By default all models for the device, with 512 prompts for micro, 64 for other models on "
        "a CPU, else 256.",
    )
    add_options(speed, str, many=True, masks="kinds of masks (default: all)")
    add_options(
        speed,
        data="micro (default), or a folder of prompts",
        dtype="auto (default), float32, bfloat16 or float16, of generators",
        policy="folder of a trained ppo agent (default: train one)",
    )
    add_options(speed, int, policy_episodes="how long to train it; 0: do without (default 6144)")
    latency = add_command(
        commands,
        "latency",
        _latency,
        "measure what compressing a prompt costs beside answering it",
        *(common.GENERATOR, common.DEVICE, common.PROMPTS, common.REPEATS, common.FIGURES),
        description="Measure what compressing a prompt costs beside answering it, by default with "
        "256 prompts of micro.",
    )
    add_options(latency, policy="micro (default), a folder or a hub id")
    scaling = add_command(
        commands,
        "scaling",
        _scaling,
        "measure what a reward costs by stage, and compute what many GPUs would earn",
        *(common.MODELS, common.REPEATS, common.FIGURES),
        description="Time the stages of self-critical updates on the CPU, fit a model of their "
        "costs and compute rewards per second, bottleneck and price for many GPUs.",
    )
    add_options(scaling, figures="show the tables of such a file, measure nothing")
    add_options(
        scaling,
        positive,
        many=True,
        rewards="rewards per update (default 8 32 128)",
        lengths="tokens per prompt (default 48 96 192)",
        replicas="replicas on a local Ray cluster (default 1 2; '': none)",
    )
    concurrency = add_command(
        commands,
        "concurrency",
        _concurrency,
        "measure an OpenAI-compatible server with several requests in flight",
        *(common.MODEL, common.BASE_URL, common.PROMPTS, common.NEW_TOKENS),
    )
    concurrency.add_argument("--api", choices=("chat", "completions"), help="default chat")
    levels = "requests in flight (default 1 4 8 16), each with its own prompts (default 64)"
    add_options(concurrency, positive, many=True, levels=levels)


def _throughput(**options: Any) -> int:
    from benchmarks.speed.throughput import run

    return run(**options)


def _latency(**options: Any) -> None:
    from benchmarks.speed.latency import run

    run(**options)


def _scaling(figures: str | None = None, **options: Any) -> None:
    from benchmarks.scaling.command import Options, run, show

    if figures:
        print(show(figures), end="")
    else:
        run(Options(**options))


def _concurrency(**options: Any) -> None:
    from benchmarks.speed.concurrency import run

    run(**options)
