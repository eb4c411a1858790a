"""Wording of micro tasks: phrasings, synonyms, filler, and broken wording.

A prompt is sampled as a list of words, each marked as needed for the answer or not. Agents see the
full text. The generators are also trained on texts from which some unneeded words are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from random import Random
from typing import NamedTuple

from pcrl_gym.micro import lexicon as lx
from pcrl_gym.micro.families import Family

SYNONYMS: dict[str, tuple[str, ...]] = {
    "give": (
        "give", "give me", "write", "write down", "print", "return", "show", "show me", "tell me",
        "say", "output", "name", "reply with", "answer with", "send me", "type", "read out",
        "let me have", "list",
    ),
    "list": (
        *["list"] * 6, "row", "series", "line", "sequence", "collection", "set", "input", "text",
        "lineup",
    ),
    "words": tuple("words words words items items entries things terms elements ones".split()),
    "word": tuple("word word word item item entry one term element thing".split()),
}  # fmt: skip
RESTATEMENTS: tuple[str, ...] = (
    "In other words:", "I mean:", "That is to say:", "Again:", "To be clear:", "So:",
)  # fmt: skip
# Phrases that may precede a command ("Reverse the list."): "Could you reverse the list?".
OPENERS: tuple[str, ...] = (
    "Can you", "Could you", "Could you please", "Would you", "Would you please", "Will you",
    "I want you to", "I would like you to", "I need you to", "Your task is to",
    "Your job is to", "Please", "Now", "Kindly", "Try to", "Go ahead and", "You should",
    "Help me to", "Be so kind as to", "What I want is that you", "All you have to do is",
    "Just", "First of all", "Next,", "It would be great if you could",
)  # fmt: skip
COMMANDS = frozenset(
    "give repeat copy echo do say keep reverse start turn put leave remove skip pick find go "
    "collect drop throw move take delete stop count replace use change exchange swap let "
    "switch have join connect link combine glue write double number make add insert spot "
    "translate name add sort order begin capitalise answer look type flip invert cross ignore "
    "choose select filter pull exclude get shift read cut substitute place squeeze enumerate "
    "prefix append duplicate clean list print subtract sum line arrange alphabetize reply "
    "tell spell".split()
)
NOISE: tuple[str, ...] = tuple(
    "the a of it is that this for you me so and please now just then very here there".split()
)


class Word(NamedTuple):
    """A word of a prompt; `core` is the part that the answer depends on ("" if none)."""

    text: str
    core: str


class Phrasing(NamedTuple):
    """One line of `phrasings.txt`."""

    op: str  # "" for all ops
    held_out: bool  # never used to train agents
    shared: bool  # synonyms can produce the same words from a phrasing that is not held out
    text: str  # including its marks


def data_lines(name: str) -> list[str]:
    """Return the lines of a micro data file, without empty lines and comments."""
    text = (resources.files("pcrl_gym.micro") / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@cache
def phrasings() -> dict[str, tuple[Phrasing, ...]]:
    """Return the phrasings of every family, by family name."""
    found: dict[str, list[Phrasing]] = {}
    for line in data_lines("phrasings.txt"):
        if line.startswith("["):
            rows = found[line.strip("[]")] = []
            continue
        op, _, text = line.rpartition(" | ")
        mark = next((mark for mark in ("~~ ", "~ ") if text.startswith(mark)), "")
        rows.append(Phrasing(op, bool(mark), mark == "~~ ", text.removeprefix(mark)))
    return {name: tuple(rows) for name, rows in found.items()}


@cache
def fillers() -> dict[str, tuple[str, ...]]:
    """Return filler sentences that may precede ("<") or follow (">") the task."""
    rows = [line.split(" ", 1) for line in data_lines("fillers.txt")]
    return {side: tuple(text for mark, text in rows if mark in (side, "*")) for side in "<>"}


@cache
def other_words() -> tuple[str, ...]:
    """Return common English words that are irrelevant to all tasks."""
    return tuple(word for line in data_lines("words.txt") for word in line.split())


@cache
def choices(family: Family, op: str, held_out: bool | None) -> tuple[Phrasing, ...]:
    """Return phrasings of an op of a family: held-out, not held-out, or all of them (None)."""
    # A line without an op applies to every op, unless the family has an unnamed op.
    asks = {op} if "" in family.ops else {"", op}
    rows = [row for row in phrasings()[family.name] if row.op in asks]
    return tuple(row for row in rows if held_out in (None, row.held_out))


def _fill_synonyms(text: str, rng: Random) -> str:
    def synonym(match: re.Match[str]) -> str:
        word = rng.choice(SYNONYMS[match[1].lower()])
        return word[0].upper() + word[1:] if match[1][0].isupper() else word

    return re.sub(r"\{(give|list|words?)\}", synonym, text, flags=re.IGNORECASE)


def _words(marked: str) -> list[Word]:
    """Split a text with `<needed>` marks into words."""
    words, needed = [], False
    for chunk in marked.split():
        text, core = "", ""
        for part in re.split("([<>])", chunk):
            if part in ("<", ">"):
                needed = part == "<"
            else:
                text += part
                core += part if needed else ""
        words.append(Word(text, core))
    return words


def task_words(phrasing: Phrasing, slots: dict[str, str], op: str, rng: Random) -> list[Word]:
    """Return the words of the instruction for one task."""
    text = phrasing.text
    is_command = text.endswith(".") and text.split()[0].strip("<>{}").lower() in COMMANDS
    if is_command and rng.random() < 0.25:
        opener = rng.choice(OPENERS)
        at = next(i for i, c in enumerate(text) if c.isalpha())
        text = f"{opener} {text[:at]}{text[at].lower()}{text[at + 1 :]}"
        text = text[:-1] + "?" if opener.split()[0] in ("Can", "Could", "Would", "Will") else text
    text = _fill_synonyms(text, rng)
    for name, value in {"op": op, **slots}.items():
        text = text.replace("{" + name + "}", value)
    return _words(re.sub(r"\ba(>? <?)(?=[aeiou])", r"an\1", text))


_FILLER_SLOTS: dict[str, Sequence[str]] = {
    "animal": lx.CATEGORIES["animals"],
    "colour": lx.CATEGORIES["colours"],
    "clothes": lx.CATEGORIES["clothes"],
    "vehicle": lx.CATEGORIES["vehicles"],
    "furniture": lx.CATEGORIES["furniture"],
    "tool": lx.CATEGORIES["tools"],
    "fruit": lx.CATEGORIES["fruits"],
    "name": lx.NAMES,
    "place": lx.PLACES,
    "day": lx.DAYS,
    "n": [str(n) for n in range(2, 21)],
}


def filler_words(side: str, rng: Random) -> list[Word]:
    """Return an unneeded sentence that may precede ("<") or follow (">") the task."""
    text = rng.choice(fillers()[side])
    if "{" in text:
        # Sample every slot, even if unused: the prompts depend on the order of random draws.
        text = text.format(**{slot: rng.choice(pool) for slot, pool in _FILLER_SLOTS.items()})
    return [Word(word, "") for word in text.split()]


def input_words(value: list[str] | str, rng: Random) -> list[Word]:
    """Return the input as words: mostly with commas, sometimes with other marks or a label."""
    if isinstance(value, str):
        return [Word(word, word.strip(".,:")) for word in value.split()]
    mark = rng.choices([",", ";", "", "and"], weights=[80, 6, 8, 6])[0]
    words = []
    for item in value[:-1]:
        words += [Word(item, item), Word("and", "")] if mark == "and" else [Word(item + mark, item)]
    words.append(Word(value[-1], value[-1]))
    labels = ["", "List:", "Words:", "Here it is:", "Input:"]
    label = rng.choices(labels, weights=[84, 5, 5, 3, 3])[0]
    return [Word(word, "") for word in label.split()] + words


def write_out(words: list[Word], rng: Random | None = None) -> str:
    """Join words; with `rng`, drop a random part of the unneeded words and add some noise."""
    if rng is None:
        return " ".join(word.text for word in words)
    loss, bare = rng.random() ** 0.7, rng.random()
    strange = 0.15 * rng.random() if rng.random() < 0.5 else 0.0
    out, before = [], ""
    for text, core in words:
        if not core and not before and rng.random() < strange:
            # Not next to a needed word, where it could be mistaken for an item of the input.
            out += rng.choices(other_words(), k=rng.randint(1, 5))
        if core:
            out.append(core if rng.random() < bare else text)
        elif rng.random() >= loss:
            out.append(text.strip(".,:?!") if rng.random() < bare / 2 else text)
        elif rng.random() < 0.04:
            out.append(rng.choice(NOISE))
        before = core
    return " ".join(word for word in out if word)
