"""Command line of the demo: arguments, and what they start."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcrl_gym.demo.compressing import DemoAgent
    from pcrl_gym.generators.base import Generator

HELP = "serve a page to try compression on"
ABOUT = (
    "Serve a page on which prompts are compressed and answered, on this machine alone by default."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the demo to a parser."""
    parser.add_argument(
        "--model",
        action="append",
        metavar="MODEL",
        help='policy: "micro", a folder or a hub id; give several to choose from on the page '
        "(default micro)",
    )
    parser.add_argument(
        "--generator",
        default="micro",
        help='what answers, as `gym.make` takes it: "micro", "micro-seq2seq", a folder, a hub id, '
        '"openai:MODEL@BASE_URL", ... (default micro)',
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default 127.0.0.1: this machine alone reaches the page)",
    )
    parser.add_argument("--port", type=_port, help="port (default: the first free one from 7860)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default auto)")


def run(
    options: argparse.Namespace,
    more: Callable[[Generator], Sequence[DemoAgent]] | None = None,
) -> None:
    """Serve the page until Ctrl-C.

    `more` makes further agents for the page, given the generator.

    Raises:
        MissingExtraError: If Gradio is not installed; before any model is loaded.
        ValueError: If a model cannot be loaded.
        OSError: If the page cannot be served on host and port.
    """
    # Imported late: `--help` must not wait for them.
    from pcrl_gym.demo.compressing import Demo, PolicyAgent
    from pcrl_gym.demo.page import serve
    from pcrl_gym.generators.loading import load_generator

    models = options.model or ["micro"]
    agents: list[DemoAgent] = [PolicyAgent.load(m, device=options.device) for m in models]
    generator = load_generator(options.generator, device=options.device)
    if more is not None:
        agents += more(generator)
    serve(Demo(agents, generator), options.host, options.port)


def _port(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"must be between 1 and 65535, got {text}")
    return value
