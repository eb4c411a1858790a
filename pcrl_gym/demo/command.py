"""The command `pcrl-gym demo` and its options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

if TYPE_CHECKING:
    from pcrl_gym.demo.compressing import DemoAgent
    from pcrl_gym.generators.base import Generator


@dataclass(frozen=True)
class Options:
    """Options of the demo page.

    Attributes:
        model: Policies to choose from on the page: `"instruct"`, `"micro"`, folders, or hub ids. By
            default, the one for the generator.
        generator: The model that answers, as for `gym.make`: `"smollm2"`, `"micro"`, a folder, a
            hub id, `"openai:MODEL@BASE_URL"`, ... By default, SmolLM2 if it is installed, otherwise
            micro.
        host: Address to listen on. By default, only this machine can reach the page.
        port: Port to listen on. By default, the first free one from 7860.
        device: `"auto"`, `"cpu"`, `"cuda"`, ...
    """

    model: tuple[str, ...] = ()
    generator: str | None = None
    host: str = "127.0.0.1"
    port: Annotated[int | None, Parameter(validator=Number(gte=1, lte=65535))] = None
    device: str = "auto"


DEFAULTS = Options()
Flags = Annotated[Options, Parameter(name="*")]
"""The options as flags of a command."""


def demo(*, options: Flags = DEFAULTS) -> None:
    """Serve a web page that compresses and answers prompts.

    By default, only this machine can reach it.

    Args:
        options: Options of the page.
    """
    serve_demo(options)


def serve_demo(
    options: Options, more: Callable[[Generator], Sequence[DemoAgent]] | None = None
) -> None:
    """Serve the page until Ctrl-C.

    `more` creates additional agents for the page, given the generator.

    Raises:
        MissingExtraError: If Gradio is not installed, before any model is loaded.
        ValueError: If a model cannot be loaded.
        OSError: If the page cannot be served on host and port.
    """
    # Imported late: `--help` must not wait for them.
    from pcrl_gym.demo.compressing import Demo, PolicyAgent
    from pcrl_gym.demo.page import serve
    from pcrl_gym.generators.loading import load_generator
    from pcrl_gym.micro import MICRO
    from pcrl_gym.storage.gguf import SMOLLM2, smollm2_installed

    name = options.generator or (SMOLLM2 if smollm2_installed() else "micro")
    models = options.model or ("micro" if name in MICRO else "instruct",)
    policies = [PolicyAgent.load(model, device=options.device) for model in models]
    agents: list[DemoAgent] = [one for p in policies for one in (p, p.protecting())]
    generator = load_generator(name, device=options.device)
    if more is not None:
        agents += more(generator)
    serve(Demo(agents, generator), options.host, options.port)
