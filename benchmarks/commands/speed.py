"""`throughput`, `latency`, `scaling` and `concurrency`: what answering and compressing cost."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from benchmarks.commands.common import attempt, names, positive


def add_speed(commands: Any) -> None:
    """Add the commands to the subparsers of `argparse`."""
    speed = commands.add_parser(
        "throughput",
        help="measure how fast compressed prompts are answered",
        description="Compare the engine with plain `generate` and a bare forward pass, on the same "
        "prompts, masks and model in one run. Ends with 1 if rewards differ where they must not.",
    )
    speed.add_argument(
        "--models",
        type=names,
        help="names or folders separated by commas (default: all names for the device)",
    )
    speed.add_argument("--data", help="micro, or a folder of prompts (default micro)")
    speed.add_argument("--device", help="device of generators and policy (default auto)")
    speed.add_argument(
        "--dtype", help="auto, float32, bfloat16 or float16, of generators (default auto)"
    )
    speed.add_argument(
        "--prompts",
        type=positive,
        help="prompts per model (default 512 for micro, 64 for other models on a CPU, else 256)",
    )
    speed.add_argument("--masks", type=names, help="names separated by commas (default: all)")
    speed.add_argument("--repeats", type=positive, help="repetitions of each way (default 3)")
    speed.add_argument("--policy", help="folder of a trained ppo agent (default: train one)")
    speed.add_argument(
        "--policy-minutes", type=float, help="how long to train it; 0: do without (default 2)"
    )
    speed.add_argument("--out", help="JSON file for all figures; an existing one is refused")
    speed.set_defaults(handler=_throughput)
    latency = commands.add_parser(
        "latency", help="measure what compressing a prompt costs beside answering it"
    )
    latency.add_argument("--policy", default="micro", help="micro, a folder or a hub id")
    latency.add_argument("--generator", default="micro", help="micro, model id or folder")
    latency.add_argument("--prompts", type=positive, default=256, help="how many (default 256)")
    latency.add_argument("--repeats", type=positive, default=3, help="best of so many (default 3)")
    latency.add_argument("--device", default="auto", help="device of both (default auto)")
    latency.add_argument("--out", help="JSON file for all figures; an existing one is refused")
    latency.set_defaults(handler=_latency)
    scaling = commands.add_parser(
        "scaling",
        help="measure what a reward costs by stage, and compute what many GPUs would earn",
        description="Time the stages of self-critical updates on the CPU, fit a model of their "
        "costs and compute rewards per second, bottleneck and price for many GPUs.",
    )
    scaling.add_argument("--figures", help="show the tables of such a file, measure nothing")
    scaling.add_argument("--models", type=names, help="causal generators, see `throughput`")
    scaling.add_argument("--rewards", type=_numbers, help="rewards per update (default 8,32,128)")
    scaling.add_argument("--lengths", type=_numbers, help="tokens per prompt (default 48,96,192)")
    scaling.add_argument(
        "--replicas", type=_numbers, help="replicas on a local Ray cluster (default 1,2; '': none)"
    )
    scaling.add_argument("--repeats", type=positive, help="best of so many (default 3)")
    scaling.add_argument("--out", help="JSON file for all figures; an existing one is refused")
    scaling.set_defaults(handler=_scaling)
    concurrency = commands.add_parser(
        "concurrency",
        help="measure an OpenAI-compatible server with several requests in flight",
    )
    concurrency.add_argument("--model", required=True, help="what the server calls the model")
    concurrency.add_argument("--base-url", required=True, help="such as http://localhost:8000/v1")
    concurrency.add_argument("--api", choices=("chat", "completions"), default="chat")
    concurrency.add_argument(
        "--levels", type=_numbers, default=(1, 4, 8, 16), help="in flight (default 1,4,8,16)"
    )
    concurrency.add_argument("--prompts", type=positive, default=64, help="per level (default 64)")
    concurrency.add_argument("--max-new-tokens", type=positive, default=30, help="(default 30)")
    concurrency.set_defaults(handler=_concurrency)


def _throughput(options: argparse.Namespace) -> int:
    from benchmarks.throughput.command import Options, run

    given = {name: value for name, value in _given(options).items() if value is not None}
    for name in ("models", "masks"):
        if name in given:
            given[name] = tuple(given[name])
    return _measure(lambda: Options(**given), lambda wanted: 0 if run(wanted) else 1)


def _latency(options: argparse.Namespace) -> int:
    from benchmarks.latency import Options, run

    def measure(wanted: Options) -> None:
        run(wanted)

    return _measure(lambda: Options(**_given(options)), measure)


def _scaling(options: argparse.Namespace) -> int:
    from benchmarks.scaling.command import Options, run, show

    given = {name: value for name, value in _given(options).items() if value is not None}
    if figures := given.pop("figures", None):
        return attempt(lambda: print(show(figures), end=""))
    if "models" in given:
        given["models"] = tuple(given["models"])
    return _measure(lambda: Options(**given), run)


def _concurrency(options: argparse.Namespace) -> int:
    from benchmarks.concurrency import measure

    return attempt(lambda: print(measure(**_given(options)), end=""))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(positive(number) for number in names(text))


def _given(options: argparse.Namespace) -> dict[str, Any]:
    return {
        name: value for name, value in vars(options).items() if name not in ("command", "handler")
    }


def _measure(options: Callable[[], Any], run: Callable[[Any], int | None]) -> int:
    return attempt(lambda: run(options()))
