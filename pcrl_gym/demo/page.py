"""The Gradio page of the demo, and its server.

Example:
    >>> from pcrl_gym.demo.compressing import Demo, PolicyAgent
    >>> serve(Demo([PolicyAgent.load("micro")], generator="micro"))  # doctest: +SKIP
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from pcrl_gym.demo import markup
from pcrl_gym.demo.compressing import Demo
from pcrl_gym.demo.query import Query
from pcrl_gym.demo.rate_limit import RateLimit
from pcrl_gym.errors import MissingExtraError, PcrlError
from pcrl_gym.micro import MICRO

try:
    import gradio as gr
except ImportError as error:
    raise MissingExtraError("the demo page needs Gradio: pip install 'pcrl-gym[demo]'") from error

MAX_WAITING = 20
"""Maximum number of requests in the queue; further ones are rejected."""

_CSS = Path(__file__).with_name("page.css")
# One at a time, as neither the generator nor the agents need to be thread-safe.
_ONE_BY_ONE: dict[str, Any] = {"concurrency_id": "demo", "concurrency_limit": 1}
# Only the page itself should call these.
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_RING = "0 0 0 3px *primary_500"
_SYSTEM_FONTS = ("system-ui", "Segoe UI", "Roboto", "sans-serif")


def make_page(demo: Demo) -> gr.Blocks:
    """Return the page of a demo, without serving it.

    Prompts are answered one at a time, and at most `MAX_WAITING` may wait.
    """
    handlers = Handlers(demo)
    names = list(demo.agents)
    with gr.Blocks(title="pcrl_gym demo", analytics_enabled=False) as page:
        gr.HTML(markup.header(demo.generator.name, demo.generator.name in MICRO), **_html("header"))
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                instruction = gr.Textbox(label="Instruction", lines=3, elem_id="instruction")
                input = gr.Textbox(label="Input (may be empty)", lines=2, elem_id="input")
                agent = gr.Dropdown(names, value=names[0], label="Agent", elem_id="agent")
                other = gr.Dropdown(
                    [("nothing", ""), *zip(names, names, strict=True)],
                    value=handlers.other, label="Compare with", elem_id="other",
                )  # fmt: skip
                free = gr.Checkbox(True, label="Let the agent choose the share", elem_id="free")
                rate = gr.Slider(
                    0.0, 1.0, 0.5, step=0.05, label="Share of the units to drop",
                    interactive=False, elem_id="rate",
                )  # fmt: skip
                button = gr.Button("Compress", variant="primary", elem_id="compress")
                examples = gr.Examples(
                    [[query.instruction, query.input] for query in demo.examples.values()],
                    [instruction, input],
                    example_labels=list(demo.examples),
                    preload=False,
                    elem_id="examples",
                    **_PRIVATE,
                )
            with gr.Column(scale=2, min_width=300):
                result = gr.HTML(markup.HINT, **_html("result"))
        fields = [instruction, input, agent, other, free, rate]
        asking: dict[str, Any] = {"inputs": fields, "outputs": result, **_ONE_BY_ONE, **_PRIVATE}
        gr.on([button.click, instruction.submit, input.submit], handlers.compress, **asking)
        examples.load_input_event.then(handlers.compress, **asking)
        gr.on(
            [agent.change, free.change], handlers.controls, [agent, free], [free, rate],
            queue=False, show_progress="hidden", **_PRIVATE,
        )  # fmt: skip
        page.load(
            handlers.restore, None, [*fields, result], show_progress_on=result, **_ONE_BY_ONE,
            **_PRIVATE,
        )  # fmt: skip
    page.queue(api_open=False, max_size=MAX_WAITING)
    return page


def _html(name: str) -> dict[str, Any]:
    """Return the settings of the page's own HTML, which has no scripts."""
    return {"elem_id": name, "elem_classes": "pcrl", "js_on_load": None, "apply_default_css": False}


class Handlers:
    """Event handlers of the page."""

    def __init__(self, demo: Demo, pace: RateLimit | None = None) -> None:
        self._demo = demo
        self.other = [*demo.agents, ""][1]
        self._pace = pace or RateLimit()

    def compress(
        self,
        instruction: str,
        input: str,
        agent: str,
        other: str,
        free: bool,
        rate: float,
        request: gr.Request,
    ) -> str:
        """Return the result for the field values, or an error message, as HTML."""
        try:
            query = Query(instruction, input, agent, other, None if free else rate)
        except ValueError as error:
            return markup.problem(str(error))
        return self._answer(query, request)

    def restore(self, request: gr.Request) -> list[Any]:
        """Return the field values from the page's address or the first example, and the result."""
        skipped = [gr.skip()] * 6
        try:
            query = Query.from_parameters(dict(request.query_params))
            if query is None:
                query = replace(next(iter(self._demo.examples.values())), other=self.other)
            agent = self._demo.agent(query.agent)
            other = self._demo.agent(query.other).name if query.other else ""
        except ValueError as error:
            return [*skipped, markup.problem(str(error))]
        free = query.rate is None or not agent.takes_rate
        rate = gr.skip() if free else gr.Slider(value=query.rate, interactive=True)
        return [
            query.instruction,
            query.input,
            agent.name,
            other,
            free,
            rate,
            self._answer(query, request),
        ]

    def controls(self, agent: str, free: bool) -> list[Any]:
        """Return the checkbox and slider for an agent, as some take no rate."""
        takes_rate = self._demo.agent(agent).takes_rate
        free = free or not takes_rate
        return [gr.Checkbox(value=free, interactive=takes_rate), gr.Slider(interactive=not free)]

    def _answer(self, query: Query, request: gr.Request) -> str:
        if wait := math.ceil(self._pace.wait(str(request.session_hash))):
            return markup.problem(
                f"The demo answers at most {self._pace.most} prompts per {self._pace.seconds:.0f} "
                f"seconds: try again in {wait} s"
            )
        try:
            return markup.result(self._demo(query), query.address)
        except (PcrlError, ValueError) as error:
            return markup.problem(str(error))


def serve(demo: Demo, host: str | None = None, port: int | None = None) -> None:
    """Serve the page of a demo until Ctrl-C, without contacting other hosts.

    Args:
        demo: The demo to serve.
        host: Address to listen on. If None, the environment variable `GRADIO_SERVER_NAME`, which
            Hugging Face Spaces set, else 127.0.0.1, which only this machine can reach.
        port: Port to listen on. If None, `GRADIO_SERVER_PORT`, else the first free one from 7860.

    Raises:
        OSError: If the port is taken or the address does not belong to this machine.
    """
    page = make_page(demo)
    launch(page, host, port)
    try:
        print(f"The demo is running at {page.local_url} (press Ctrl-C to stop it)", flush=True)
        page.block_thread()
    except KeyboardInterrupt:  # raised before Gradio waits for it
        page.close(verbose=False)


def launch(page: gr.Blocks, host: str | None, port: int | None) -> None:
    """Start a server for a page in a separate thread; see `serve`."""
    # System fonts, so that none is downloaded; a button and a focus ring with contrast.
    theme = gr.themes.Default(primary_hue="blue", font=_SYSTEM_FONTS).set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        input_shadow_focus=_RING,
        input_shadow_focus_dark=_RING,
    )
    try:
        page.launch(
            server_name=host,
            server_port=port,
            theme=theme,
            css_paths=[_CSS],
            footer_links=[],
            # Disable everything that sends data out, accepts files, or stores prompts.
            share=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            run_history=False,
            enable_monitoring=False,
            max_file_size=1,
            prevent_thread_lock=True,
            quiet=True,
        )
    except OSError as error:
        raise OSError(
            f"cannot serve the page on {host or 'this address'}"
            f"{f', port {port}' if port else ''}: choose another host or port ({error})"
        ) from error
