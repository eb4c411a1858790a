"""Comparison of a compressor's backends: start-up, latency, masks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from cyclopts.types import PositiveInt

from benchmarks.speed import figures

if TYPE_CHECKING:
    from pcrl_gym.compressor.compressor import Compressor
    from pcrl_gym.prompts.prompt import Prompt

BACKENDS = ("torch", "onnx", "int8")
RATES = (None, 0.3)
_TIMED = 32  # different prompts
# Always on one thread; a separate program, so that no other modules are loaded.
_PROGRAM = """
import json, sys
from time import perf_counter
from pcrl_gym.compressor.compressor import Compressor
policy, backend, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
compressor = Compressor.from_pretrained(policy, backend=backend, device="cpu")
print("ready", flush=True)
texts = json.load(sys.stdin)
best = [float("inf")] * len(texts)
compressor(instruction=texts[0])
for _ in range(repeats):
    for place, text in enumerate(texts):
        begun = perf_counter()
        compressor(instruction=text)
        best[place] = min(best[place], perf_counter() - begun)
print(json.dumps({"ms": 1000 * sum(best) / len(best), "torch": "torch" in sys.modules}))
"""
_COLUMNS = {
    "backend": "{backend}", "start-up, s": "{start_s:.2f}", "ms per prompt": "{compress_ms:.2f}",
    "torch imported": "{torch}",
}  # fmt: skip


def run(
    *,
    policy: str = "micro",
    tokens: PositiveInt = 128,
    repeats: PositiveInt = 5,
    prompts: PositiveInt = 1000,
    dataset: str = "micro",
    out: str | None = None,
) -> None:
    """Measure a compressor's backends on one thread, and compare their masks with those of torch.

    Args:
        policy: micro, or folder or Hub ID of an uncertified compressor saved with `onnx=True`.
        tokens: Tokens of each timed prompt, including the template; prompts are timed one by one.
        repeats: Repetitions of both start-up and timing; the fastest count.
        prompts: Prompts for the comparison of masks.
        dataset: Their dataset, of which the train split is used.
        out: JSON file for all results; must not exist.
    """
    settings = dict(locals())
    figures.check_new(out)
    from pcrl_gym.compressor.compressor import Compressor
    from pcrl_gym.named_datasets import load_prompts
    from pcrl_gym.prompts.datasets import pick_evenly

    provenance = figures.origin()
    loaded = [Compressor.from_pretrained(policy, backend=own, device="cpu") for own in BACKENDS]
    split = load_prompts(dataset, "train")
    rows = [split[i] for i in pick_evenly(len(split), prompts)]
    long = " ".join(split[i].instruction for i in pick_evenly(len(split), 50 * _TIMED))
    texts = long_instructions(loaded[0], long, tokens, _TIMED)
    # Taken in turns, so that a busier machine affects both.
    turns = [own for _ in range(repeats) for own in BACKENDS]
    tries = [(own, measured(policy, own, texts, repeats)) for own in turns]
    found = []
    for own in BACKENDS:
        mine = [one for backend, one in tries if backend == own]
        fastest = {key: min(one[key] for one in mine) for key in ("start_s", "compress_ms")}
        found.append({"backend": own, **fastest, "torch": mine[0]["torch"]})
    masks = [
        {"backend": name, **compare((loaded[0], own), rows, rate)}
        for name, own in zip(BACKENDS[1:], loaded[1:], strict=True)
        for rate in RATES
    ]
    print(f"Prompts of {tokens} tokens, one by one, one thread, best of {repeats}\n")
    print(figures.format_rows(found, _COLUMNS))
    for one in masks:
        print(
            f"{one['backend']}, rate={one['rate']}: {one['differ']} of {one['prompts']} masks and "
            f"{one['units']:.2%} of units differ, probabilities by at most {one['apart']:.1g}"
        )
    figures.write_figures(
        out, {"settings": settings, "provenance": provenance, "backends": found, "masks": masks}
    )


def long_instructions(compressor: Compressor, text: str, tokens: int, count: int) -> list[str]:
    """Return pieces of a text that have exactly `tokens` tokens inside the policy's template.

    Raises:
        ValueError: If the text is too short for `count` of them, or the template is too long.
    """
    room = tokens - compressor(instruction="").original_tokens
    if room < 1:
        raise ValueError(f"the template alone has {tokens - room} tokens: increase --tokens")
    ends = compressor.builder.encoder.encodings([text])[0].offsets
    places = range(0, len(ends) - room, room)
    pieces = [text[ends[first][0] : ends[first + room - 1][1]] for first in places]
    done = compressor(instruction=pieces, rate=0.0)
    fitting = [
        piece for piece, one in zip(pieces, done, strict=True) if one.original_tokens == tokens
    ]
    if len(fitting) < count:
        raise ValueError(f"only {len(fitting)} of {count} prompts of {tokens} tokens can be built")
    return fitting[:count]


def measured(policy: str, backend: str, texts: Sequence[str], repeats: int) -> dict[str, Any]:
    """Return `start_s` and `compress_ms` of a fresh process, and whether it has `torch`."""
    command = [sys.executable, "-c", _PROGRAM, policy, backend, str(repeats)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    begun = perf_counter()
    with subprocess.Popen(
        command, text=True, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ready = process.stdout.readline()
        seconds = perf_counter() - begun
        if ready != "ready\n":
            raise RuntimeError(f"a process with backend={backend!r} ended early; see its output")
        output, _ = process.communicate(json.dumps(texts))
    reply = json.loads(output)
    return {"start_s": seconds, "compress_ms": reply["ms"], "torch": reply["torch"]}


def compare(
    pair: Sequence[Compressor], prompts: Sequence[Prompt], rate: float | None
) -> dict[str, Any]:
    """Return how many masks of two compressors `differ`, and how far `apart` probabilities are."""
    given: dict[str, Any] = {
        "instruction": [prompt.instruction for prompt in prompts],
        "input": [prompt.input for prompt in prompts],
    }
    ours, theirs = (one(**given, rate=rate) for one in pair)
    both = list(zip(ours, theirs, strict=True))
    return {
        "rate": rate,
        "prompts": len(both),
        "differ": sum(one.kept != other.kept for one, other in both),
        "units": sum(
            a != b for one, other in both for a, b in zip(one.kept, other.kept, strict=True)
        )
        / sum(len(one.kept) for one, _ in both),
        "apart": max(
            abs(p - q)
            for one, other in both
            for p, q in zip(one.keep_probabilities, other.keep_probabilities, strict=True)
        ),
    }
