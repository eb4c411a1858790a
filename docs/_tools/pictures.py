"""Draws the pictures of the manual: `python docs/_tools/pictures.py [FOLDER]`.

`data_flow.svg` shows how a reward comes about, `episode.svg` one real episode: a prompt of micro,
the policy that comes with the package, and the answers of micro's generator. `badges.svg` shows
what the installed package says about itself.
"""

from __future__ import annotations

import sys
from importlib.metadata import metadata, requires
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from drawing import arrow, monospaced, picture, rectangle, text
from packaging.requirements import Requirement

from pcrl_gym import Compressor

FOLDER = Path(__file__).parents[1] / "pictures"
PROMPT = 51
"""A prompt of validation_seen whose answer hangs on function words."""

_WIDTH, _HEIGHT = 172, 62  # of a box
_COLUMNS = (20, 222, 424, 626, 828)
_ROWS = (30, 170, 282, 394)
_ADVANCE = 8.6  # of a character of the prompt


def data_flow() -> str:
    """Return the picture of the data flow."""
    boxes = {
        "dataset": (0, 0, "micro, files, the hub", "box"),
        "prompt": (1, 0, "instruction and input", "box"),
        "episode": (2, 0, "units, some protected", "box"),
        "observation": (3, 0, "ids, what may go", "box"),
        "agent": (4, 0, "rule, search or policy", "ours"),
        "keep mask": (4, 1, "1 keeps, 0 drops", "ours"),
        "compressed prompt": (3, 1, "what is left", "box"),
        "generator": (2, 1, "frozen, greedy", "frozen"),
        "two answers": (1, 1, "to both prompts", "box"),
        "similarity": (1, 2, "ROUGE-L F1", "box"),
        "reward": (2, 2, "threshold, ...", "ours"),
        "compression ratio": (3, 2, "tokens saved", "box"),
        "record": (2, 3, "all terms, both texts", "box"),
        "leaderboard row": (1, 3, "mean and interval", "box"),
    }
    frame = rectangle(_COLUMNS[1] - 16, _ROWS[1] - 34, 3 * 202 + 2, 222, "frame", 8)
    parts = [frame, text(_COLUMNS[1] - 8, _ROWS[1] - 14, "scorer: one batched function", "soft")]
    for name, (column, row, note, kind) in boxes.items():
        x, y = _COLUMNS[column], _ROWS[row]
        parts += [
            rectangle(x, y, _WIDTH, _HEIGHT, kind, 8),
            text(x + _WIDTH / 2, y + 27, name, "text strong", "middle"),
            text(x + _WIDTH / 2, y + 47, note, "soft", "middle"),
        ]

    def right(name: str) -> tuple[float, float]:
        column, row = boxes[name][:2]
        return _COLUMNS[column] + _WIDTH, _ROWS[row] + _HEIGHT / 2

    def left(name: str) -> tuple[float, float]:
        return right(name)[0] - _WIDTH, right(name)[1]

    def bottom(name: str) -> tuple[float, float]:
        return right(name)[0] - _WIDTH / 2, right(name)[1] + _HEIGHT / 2

    def top(name: str) -> tuple[float, float]:
        return bottom(name)[0], bottom(name)[1] - _HEIGHT

    for names in (
        ("dataset", "prompt", "episode", "observation", "agent"),
        ("similarity", "reward"),
    ):
        parts += [arrow(right(a), left(b)) for a, b in pairwise(names)]
    for names in (
        ("keep mask", "compressed prompt", "generator", "two answers"),
        ("compression ratio", "reward"),
        ("record", "leaderboard row"),
    ):
        parts += [arrow(left(a), right(b)) for a, b in pairwise(names)]
    for a, b in (
        ("agent", "keep mask"),
        ("episode", "generator"),
        ("two answers", "similarity"),
        ("compressed prompt", "compression ratio"),
        ("reward", "record"),
    ):
        parts.append(arrow(bottom(a), top(b)))
    parts.append(text(bottom("episode")[0] + 8, _ROWS[0] + _HEIGHT + 26, "original prompt", "soft"))
    # Back to the agent, round the outside.
    x, low = _COLUMNS[4] + _WIDTH, _ROWS[3] - 24
    start = bottom("reward")[0] + 50, bottom("reward")[1]
    back = (start, (start[0], low), (x + 20, low), (x + 20, right("agent")[1]), right("agent"))
    parts += [arrow(*back), text(x, low + 20, "reward, info (to learn from)", "soft", "end")]
    return picture(1036, 480, "From a dataset to a reward and a leaderboard row", parts)


def played() -> tuple[list[tuple[str, str]], dict[str, Any], float]:
    """Play the episode.

    Returns:
        The units of the prompt, each with "kept", "dropped" or "fixed"; info and reward of the
        step.
    """
    env = gym.make("pcrl_gym:PromptCompression-v0", split="validation_seen")
    observation, info = env.reset(options={"index": PROMPT})
    compressor = Compressor.from_pretrained("micro", device="cpu")
    kept = compressor(instruction=info["instruction"], input=info["input"]).kept
    action = observation["attention_mask"].copy()
    action[: len(kept)] = np.array(kept, np.int8)
    droppable = observation["droppable"]
    _, reward, _, _, info = env.step(action)
    units = []
    for i, (start, end) in enumerate(info["spans"][: len(kept)].tolist()):
        state = "fixed" if not droppable[i] else "kept" if kept[i] else "dropped"
        units.append((info["prompt"][start:end], state))
    return units, info, float(reward)


def episode() -> str:
    """Return the picture of an episode."""
    units, info, reward = played()
    x0, y, height = 24.0, 62.0, 30
    parts = [text(x0, 34, "One episode: each unit of the prompt is kept or dropped", "text strong")]
    x = x0
    for content, state in units:
        for i, piece in enumerate(content.split("\n")):
            if i and (content, state) != units[-1]:
                x, y = x0, y + height + 8
            if piece.strip():
                width = _ADVANCE * len(piece)
                parts.append(rectangle(x, y, width, height, state, 4))
                kind = "gone" if state == "dropped" else "text"
                parts.append(monospaced(x, y + 20, piece, _ADVANCE, kind))
                x += width + 3
    y += height + 22
    x = x0
    legend = (("fixed", "template, protected"), ("kept", "kept"), ("dropped", "dropped"))
    for state, meaning in legend:
        parts += [rectangle(x, y, 18, 18, state, 4), text(x + 26, y + 14, meaning, "soft")]
        x += 60 + 8 * len(meaning)
    y += 50
    for label, content in (
        ("compressed prompt", " ".join(info["compressed_prompt"].split())),
        ("answer to the original", info["output"]),
        ("answer to the compressed", info["compressed_output"]),
    ):
        parts += [text(x0, y, label, "soft"), text(x0 + 210, y, content, "mono text")]
        y += 26
    n, compressed = info["original_tokens"], info["compressed_tokens"]
    y += 14
    terms = (
        f"tokens {n} → {compressed}",
        f"compression ratio {info['compression_ratio']:.3f}",
        f"similarity {info['similarity']:.3f}",
        f"reward {reward:.3f}",
    )
    x = x0
    for term in terms:
        kind = "ours" if term.startswith("reward") else "box"
        parts += [
            rectangle(x, y, 208, 36, kind, 8),
            text(x + 104, y + 23, term, "text strong", "middle"),
        ]
        x += 222
    return picture(930, int(y + 60), "An episode of PromptCompression-v0", parts)


def badges() -> str:
    """Return the badges of the README."""
    package = metadata("pcrl-gym")
    needed = {(own := Requirement(line)).name: own for line in requires("pcrl-gym") or []}
    bounds = map(str, needed["gymnasium"].specifier)
    facts = {
        "Python": package["Requires-Python"],
        "Gymnasium": next(bound for bound in bounds if bound.startswith(">=")),
        "license": package["License-Expression"],
    }
    parts, x = [], 4.0
    for name, fact in facts.items():
        widths = 8.5 * len(name) + 16, 8.5 * len(fact) + 16
        for content, kind, width in zip((name, fact), ("box", "ours"), widths, strict=True):
            parts.append(rectangle(x, 4, width, 24, kind, 4))
            parts.append(text(x + width / 2, 21, content, "text", "middle"))
            x += width
        x += 10
    title = ", ".join(f"{name} {fact}" for name, fact in facts.items())
    return picture(int(x), 32, title, parts)


def main(folder: Path = FOLDER) -> None:
    """Draw all pictures into a folder."""
    for draw in (badges, data_flow, episode):
        drawn, name = draw(), draw.__name__
        (folder / f"{name}.svg").write_text(drawn, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
