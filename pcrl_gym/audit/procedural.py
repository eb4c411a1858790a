"""Pairs from micro's task families, whose answers differ by construction."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import cache
from itertools import combinations, cycle
from random import Random

from pcrl_gym.audit.pairs import FlipPair, decisive_words
from pcrl_gym.micro import lexicon as lx
from pcrl_gym.micro.families import FAMILIES, Family
from pcrl_gym.micro.tasks import SEED
from pcrl_gym.micro.wording import (
    Phrasing,
    choices,
    filler_words,
    input_words,
    task_words,
    write_out,
)

# What the ops of a family differ in. Other families have no phrasings that differ in a few words.
_KINDS = {
    "all_but": "except", "filter": "not", "before_after": "order", "up_to": "limit",
    "count_category": "not", "add_word": "order",
    "insert": "order", "two_lists": "not", "arithmetic": "order", "extremum": "limit",
    "over_under": "limit", "at_most": "limit", "sort_numbers": "order", "count_range": "limit",
    "alphabetical": "order", "if_present": "not", "unless": "except", "is_in": "not",
    "is_kind": "not", "day": "order", "month": "order", "pick_end": "order", "first_n": "order",
}  # fmt: skip
# Slots that can have another value for the same input, and what it changes.
_SLOTS = {
    "first_n": ("n", "number"), "nth": ("nth", "number"), "repeat_times": ("n", "number"),
    "arithmetic": ("a", "number"), "with_without": ("x", "name"), "before_after": ("x", "name"),
    "day": ("x", "name"), "month": ("x", "name"), "add_word": ("x", "name"),
}  # fmt: skip
_NEGATIONS = {"not", "without", "but not", "is not", "not in", "unless"}
_MAX_CHANGED = 2  # words
_BY_NAME = {family.name: family for family in FAMILIES}


def procedural_pairs(count: int, seed: int = 0) -> list[FlipPair]:
    """Return distinct pairs, balanced by class; equal seeds give equal pairs.

    Both prompts of a pair have the same input, filler and synonyms.

    Args:
        count: Number of pairs.
        seed: Seed of all random draws.
    """
    rng = Random(f"{SEED}:audit:{seed}")
    sources: dict[str, list[tuple[Family, str]]] = {}
    for name, kind in _KINDS.items():
        if _twins(_BY_NAME[name]):
            sources.setdefault(kind, []).append((_BY_NAME[name], ""))
    for name, (slot, kind) in _SLOTS.items():
        sources.setdefault(kind, []).append((_BY_NAME[name], slot))
    found: dict[FlipPair, None] = {}
    kinds = cycle(sources)
    while len(found) < count:
        kind = next(kinds)
        family, slot = rng.choice(sources[kind])
        found |= dict.fromkeys(_draw(family, slot, kind, rng))
    return list(found)


def _draw(family: Family, slot: str, kind: str, rng: Random) -> Iterator[FlipPair]:
    """Yield a pair of a family, or nothing if the answers or the words do not differ."""
    drawn, worded = rng.getrandbits(64), rng.getrandbits(64)
    if slot:
        op = rng.choice(family.ops)
        task = family.make(Random(drawn), op)
        phrasing = rng.choice([p for p in choices(family, op, None) if f"{{{slot}}}" in p.text])
        old = task.slots[slot]
        others = [v for v in _alternatives(family.name, task.slots, task.input) if v != old]
        sides = [(phrasing, op, task.slots | {slot: value}) for value in (old, rng.choice(others))]
    else:
        first, second = rng.choice(_twins(family))
        ops = (first[0], second[0])
        task, flipped = (family.make(Random(drawn), op) for op in ops)
        if task.answer == flipped.answer or task[:2] != flipped[:2]:  # slots and input
            return
        sides = [(first[1], ops[0], task.slots), (second[1], ops[1], task.slots)]
    before = filler_words("<", rng) if rng.random() < 0.5 else []
    after = filler_words(">", rng) if rng.random() < 0.5 else []
    items = input_words(task.input, rng) if task.input else []
    one, other = [
        write_out([*before, *task_words(phrasing, slots, op, Random(worded)), *after, *items])
        for phrasing, op, slots in sides
    ]
    if 0 < _changed(one.split(), other.split()) <= _MAX_CHANGED:
        pair = FlipPair(kind, one, other, f"micro:{family.name}")
        swapped = FlipPair(kind, other, one, pair.source)
        # The decisive word must be in the first prompt; families list a negation last.
        negated = not slot and family.ops[-1] in _NEGATIONS
        yield swapped if negated or not decisive_words(pair) else pair


def _alternatives(family: str, slots: dict[str, str], given: list[str] | str) -> list[str]:
    """Return the values of a slot for the same input, each of which gives another answer."""
    if family == "nth":
        return list(lx.ORDINALS[1:5])
    if family == "first_n":
        written = slots["n"].isdigit()
        return [str(n) if written else lx.NUMBER_WORDS[n] for n in (2, 3, 4)]
    if family == "repeat_times":
        written = slots["n"].isdigit()
        return [str(n) if written else lx.NUMBER_WORDS[n] for n in range(3, 19)]
    if family == "arithmetic":
        return [str(n) for n in range(int(slots["b"]) + 1, 21)]
    if family == "day":
        return list(lx.DAYS)
    if family == "month":
        return list(lx.MONTHS)
    if family == "add_word":
        return [word for word in lx.ITEMS if word not in given]
    return list(given[1:-1])  # items that have one before and one after them


@cache
def _twins(family: Family) -> list[tuple[tuple[str, Phrasing], tuple[str, Phrasing]]]:
    """Return pairs of phrasings for two ops that differ in a few words, each with its op."""
    asked = [(op, phrasing) for op in family.ops for phrasing in choices(family, op, None)]
    return [
        (one, other)
        for one, other in combinations(asked, 2)
        if one[0] != other[0]
        and (
            (one[1] == other[1] and "{op}" in one[1].text)
            or 0 < _changed(one[1].text.split(), other[1].text.split()) <= _MAX_CHANGED
        )
    ]


def _changed(one: list[str], other: list[str]) -> int:
    """Return the number of words that differ if they are adjacent, else a large number."""
    steps = difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    changes = [step for step in steps if step[0] != "equal"]
    if len(changes) != 1:
        return 0 if not changes else len(one) + len(other)
    _, a, b, c, d = changes[0]
    return max(b - a, d - c)
