"""Throughput of an OpenAI-compatible server by the number of requests in flight."""

from __future__ import annotations

import time
from typing import Literal

from cyclopts.types import PositiveInt

from benchmarks.markdown import align
from pcrl_gym.generators.openai.generator import OpenAIGenerator
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.datasets import pick_evenly
from pcrl_gym.prompts.template import AlpacaTemplate


def run(
    *,
    model: str,
    base_url: str,
    api: Literal["chat", "completions"] = "chat",
    levels: tuple[PositiveInt, ...] = (1, 4, 8, 16),
    prompts: PositiveInt = 64,
    max_new_tokens: PositiveInt = 30,
) -> None:
    """Measure an OpenAI-compatible server with increasing requests in flight, and print a table.

    No prompt is sent twice, so the server's cache does not help; some are sent first as warm-up.

    Args:
        model: Name of the model on the server.
        base_url: URL of the server, such as http://localhost:8000/v1.
        api: API to use.
        levels: Requests in flight, one measurement each.
        prompts: Prompts of micro per measurement.
        max_new_tokens: Maximum answer length.
    """
    template, warm_up = AlpacaTemplate(), max(levels)
    texts = list(dict.fromkeys(template.render(row).text for row in load_prompts("micro", "train")))
    if (needed := warm_up + len(levels) * prompts) > len(texts):
        raise ValueError(f"{needed} prompts are needed, but micro has {len(texts)}: use fewer")
    waiting = iter([texts[i] for i in pick_evenly(len(texts), needed)])
    table = [["in flight", "prompts/s", "answer tokens/s", "s/request", "client ms/request"]]
    for level, count in [(warm_up, warm_up), *((level, prompts) for level in levels)]:
        generator = OpenAIGenerator(model, base_url, api=api, concurrency=level, timeout=600)
        asked = [next(waiting) for _ in range(count)]
        began, worked = time.perf_counter(), time.process_time()
        generator.generate(asked, max_new_tokens)
        seconds, own = time.perf_counter() - began, time.process_time() - worked
        tokens = generator.usage.completion_tokens
        rate = f"{tokens / seconds:.0f}" if tokens else "not reported"
        times = [f"{seconds * min(level, count) / count:.3f}", f"{1000 * own / count:.1f}"]
        table.append([str(level), f"{count / seconds:.1f}", rate, *times])
    print(align([table[0], *table[2:]]), end="")
