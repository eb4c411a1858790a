"""How many requests in flight make an OpenAI-compatible server answer the most prompts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from benchmarks.markdown import align
from pcrl_gym.generators.openai.generator import OpenAIGenerator
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.datasets import pick_evenly
from pcrl_gym.prompts.template import AlpacaTemplate

SPLIT = "train"


def measure(
    model: str,
    base_url: str,
    api: Literal["chat", "completions"] = "chat",
    levels: Sequence[int] = (1, 4, 8, 16),
    prompts: int = 64,
    max_new_tokens: int = 30,
) -> str:
    """Send prompts of micro with more and more requests in flight.

    No prompt is sent twice, so that no cache of the server's helps; some go ahead to warm it up.

    Args:
        model: What the server calls the model.
        base_url: The server.
        api: See `OpenAIGenerator`.
        levels: Requests in flight, one measurement each.
        prompts: Prompts per measurement.
        max_new_tokens: Longest answer.

    Returns:
        A table: per level prompts per second, answer tokens per second, seconds per request, and
        milliseconds of this process's processor per request.

    Raises:
        ValueError: If there are not enough prompts.
        GeneratorError: If the server failed.
    """
    rows = load_prompts("micro", SPLIT)
    warm_up = max(levels)
    template = AlpacaTemplate()
    texts = list(dict.fromkeys(template.render(row).text for row in rows))
    if (needed := warm_up + len(levels) * prompts) > len(texts):
        raise ValueError(f"{needed} prompts are needed, and micro has {len(texts)}: take fewer")
    texts = [texts[i] for i in pick_evenly(len(texts), needed)]

    def connect(level: int) -> OpenAIGenerator:
        return OpenAIGenerator(model, base_url, api=api, concurrency=level, timeout=600)

    connect(warm_up).generate(texts[:warm_up], max_new_tokens)
    table = [["in flight", "prompts/s", "answer tokens/s", "s/request", "client ms/request"]]
    for place, level in enumerate(levels):
        start = warm_up + place * prompts
        generator = connect(level)
        began, worked = time.perf_counter(), time.process_time()
        generator.generate(texts[start : start + prompts], max_new_tokens)
        seconds, own = time.perf_counter() - began, time.process_time() - worked
        tokens = generator.usage.completion_tokens
        rate = f"{tokens / seconds:.0f}" if tokens else "not reported"
        times = (f"{seconds * min(level, prompts) / prompts:.3f}", f"{1000 * own / prompts:.1f}")
        table.append([str(level), f"{prompts / seconds:.1f}", rate, *times])
    return align(table)
