"""Short tasks with an input to edit, copy, or analyze, composed from task and text lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import regex

from pcrl_gym.instruct.compose import SENTENCE_END
from pcrl_gym.instruct.data import lines_of
from pcrl_gym.prompts.prompt import Prompt

_CONTENT = regex.compile(r"\b[a-z]{5,12}\b")
_PLURAL = ("words", "numbers")  # kinds of input


def short_tasks(texts: Sequence[str], count: int, rng: Random) -> Iterator[Prompt]:
    """Yield tasks of `short_tasks.txt` with inputs sampled from the texts.

    Raises:
        ValueError: If no text has two sentences that can be an input.

    Example:
        >>> texts = ["The old dog sleeps by the door. It dreams of rabbits and long summer walks."]
        >>> prompt = next(short_tasks(texts, 1, Random(3)))
        >>> bool(prompt.instruction), prompt.source
        (True, 'short')
    """
    passages = [found for text in texts if len(found := _sentences(text)) > 1]
    if not passages:
        raise ValueError("none of the texts has two sentences of 5 to 22 words")
    tasks = [line.partition(": ")[::2] for line in lines_of("short_tasks.txt")]
    for number in range(count):
        kind, task = rng.choice(tasks)
        this = "these" if kind in _PLURAL else "this"
        task = task.replace("{the}", rng.choice(("the", this, "the following", "the given")))
        material = _material(kind, rng.choice(passages), rng)
        way = rng.choice(("apart", "apart", "apart", "line", "colon", "quoted"))
        if way == "apart":
            yield Prompt(f"short:{number}", task, material, source="short")
            continue
        glue = {"line": "\n", "colon": ": ", "quoted": " "}[way]
        task = task.rstrip(".") if way == "colon" else task
        material = f'"{material}"' if way == "quoted" else material
        yield Prompt(f"short:{number}", f"{task}{glue}{material}", source="short")


def _sentences(text: str) -> list[str]:
    pieces = [" ".join(piece.split()) for piece in SENTENCE_END.split(text)]
    return [p for p in pieces if 5 <= len(p.split()) <= 22 and p[0].isupper() and p[-1] in ".!?"]


def _material(kind: str, passage: Sequence[str], rng: Random) -> str:
    if kind == "sentence":
        return rng.choice(passage)
    if kind == "text":
        length = rng.randint(2, 4)
        start = rng.randrange(max(1, len(passage) - length + 1))
        return " ".join(passage[start : start + length])
    if kind == "numbers":
        return ", ".join(str(rng.randrange(1, 200)) for _ in range(rng.randint(3, 7)))
    words: list[str] = _CONTENT.findall(" ".join(passage)) or ["paper"]
    if kind == "words":
        return ", ".join(dict.fromkeys(rng.choices(words, k=rng.randint(3, 6))))
    if kind == "topic":
        place = rng.randrange(len(words))
        return " ".join(words[place : place + rng.randint(1, 2)])
    return rng.choice(words)
