"""Prompts from model outputs: plain requests, and tasks with source material."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from random import Random
from typing import Any

import regex

from pcrl_gym.instruct.data import held_out_texts, lines_of
from pcrl_gym.instruct.filters import fault, without_duplicates

KINDS = {
    "passage": "Answer in one paragraph.",
    "list": "Answer with a short list.",
    "table": "Answer with a small Markdown table and nothing else.",
    "code": "Answer with a short piece of code and nothing else.",
}
"""Kinds of material, and the text appended to a request to get an answer of that kind."""
MIN_MATERIAL, MAX_MATERIAL = 12, 85  # words
VALIDATION_SEEN = 500
_PROGRAMMING = regex.compile(
    r"\b(python|java\w*|c\+\+|sql|code|function|script|html|css)\b", regex.I
)
SENTENCE_END = regex.compile(r"(?<=[.!?])\s+")
# Typical openings of a model before its actual answer.
_OPENING = regex.compile(r"(sure|certainly|of course|absolutely|i'd be|i can help|here)\b", regex.I)
_POINT = regex.compile(r"\s*([-*•]|\d+[.)])\s")

Row = dict[str, Any]


def kind_of(request: str, rng: Random) -> str:
    """Return the kind of material to ask for in the answer to a request."""
    others = ("passage", "passage", "list", "table")
    return "code" if _PROGRAMMING.search(request) else rng.choice(others)


def material(answer: str, kind: str) -> str | None:
    r"""Return the first sentences or lines of an answer, or None if it is unusable.

    Example:
        >>> answer = "Sure:\n- one large egg\n- two cups of dry flour\n- a cup of milk"
        >>> print(material(answer, "list"))
        - one large egg
        - two cups of dry flour
        - a cup of milk
    """
    lines = [line.rstrip() for line in answer.strip().splitlines() if line.strip()]
    if kind == "passage":
        pieces, glue, least = SENTENCE_END.split(" ".join(lines)), " ", 2
        # The last sentence may have been truncated.
        pieces = pieces if answer.rstrip().endswith((".", "!", "?")) else pieces[:-1]
        pieces = pieces[1:] if _OPENING.match(pieces[0] if pieces else "") else pieces
    else:
        fenced = regex.search(r"```\w*\n(.*?)(```|$)", answer, regex.DOTALL)
        if kind == "code":
            lines = fenced[1].rstrip().splitlines() if fenced else []
        elif kind == "list":
            lines = [line for line in lines if _POINT.match(line)]
        else:
            lines = [line for line in lines if line.count("|") > 1]
        pieces, glue, least = lines, "\n", 3
    chosen: list[str] = []
    for piece in pieces:
        if len(glue.join([*chosen, piece]).split()) > MAX_MATERIAL:
            break
        chosen.append(piece)
    text = glue.join(chosen).strip()
    enough = len(chosen) >= least and len(text.split()) >= MIN_MATERIAL
    return text if enough else None


def choose(
    asked: Sequence[Row], replies: Sequence[Row], seed: int
) -> tuple[dict[str, list[Row]], Row]:
    """Return the rows of train and validation_seen, and how many each filter removed.

    At most a third of the rows are tasks with material. Near-duplicates of validation prompts and
    of other rows are removed, see `filters.without_duplicates`.
    """
    rng = Random(f"{seed}:choose")
    faults = [fault(row["text"], row["ended"]) for row in asked]
    counts: Row = {"requests": len(asked), "left out": dict(Counter(filter(None, faults)))}
    good = [row["text"] for row, found in zip(asked, faults, strict=True) if found is None]
    distinct = without_duplicates(good, held_out_texts())
    counts["left out"]["near-duplicates"] = len(good) - len(distinct)
    rows = [{"instruction": good[i], "source": "request"} for i in distinct]
    # An answer without the requested form may still be used as a passage.
    pasted = [
        next(((text, kind) for kind in kinds if (text := material(row["text"], kind))), (None, ""))
        for row in replies
        for kinds in [(row["kind"], "passage")]
    ]
    usable = [(text, kind) for text, kind in pasted if text and fault(text, True) is None]
    kept = without_duplicates([text for text, _ in usable], held_out_texts())
    counts |= {"answers": len(replies), "material": len(usable), "material kept": len(kept)}
    tasks: dict[str, list[str]] = defaultdict(list)
    for line in lines_of("tasks.txt"):
        kind, _, task = line.partition(": ")
        tasks[kind].append(task)
    worked = [
        _task(rng.choice(tasks[usable[i][1]]), *usable[i], rng) for i in kept[: len(rows) // 2]
    ]
    rows += worked
    rng.shuffle(rows)
    splits = {"train": rows[VALIDATION_SEEN:], "validation_seen": rows[:VALIDATION_SEEN]}
    for split, own in splits.items():
        counts[split] = {"prompts": len(own), **Counter(row["source"] for row in own)}
    return splits, counts


def _task(task: str, text: str, kind: str, rng: Random) -> Row:
    """Return a task and its material, combined in a random but typical layout."""
    way = rng.choice(("apart", "apart", "after", "before"))
    if way == "apart":
        return {"instruction": task, "input": text, "source": kind}
    both = (task, text) if way == "after" else (text, task)
    return {"instruction": "\n\n".join(both), "source": kind}
