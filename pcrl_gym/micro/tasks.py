"""The micro prompts: sampling, the four splits, and their checksums."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import count, islice
from random import Random
from typing import NamedTuple

from pcrl_gym.micro.families import FAMILIES, Family
from pcrl_gym.micro.wording import (
    RESTATEMENTS,
    Phrasing,
    Word,
    choices,
    data_lines,
    filler_words,
    input_words,
    task_words,
    write_out,
)
from pcrl_gym.prompts.prompt import Prompt

SEED = 20230808
SIZES = {"train": 20_000, "validation_seen": 1_000, "validation_unseen": 1_000}

# `prompts.datasets.dataset_checksum` of each split; tested on every supported Python version.
CHECKSUMS = {
    "train": "7d6b2ec553af7fb087ec73d735d9310e2925e693f97859ef782481e855782e41",
    "validation_seen": "9c77389a362abb7fba8e4c5bfc86336fa5e6600a63d81fa6a7531a39a185d6b9",
    "validation_unseen": "c3ed126862dc55d5b8a3487e186f6c499aa1840e25a4f9cadf3c409530e65713",
    "validation_human": "f389e2941eaad45b93426284ed35c8acf004d0c198c07b49ae4e6dc3fe096c69",
}

# Sampled more often, so that over a quarter of the answers have 12 tokens or more.
_LONG = {
    "copy", "reverse", "replace", "swap", "join", "repeat_times", "repeat_each", "number_list",
    "add_word", "insert", "between", "all_but", "up_to", "months_range", "with_without",
}  # fmt: skip


class Draft(NamedTuple):
    """A sampled prompt as words, which record whether the answer depends on them."""

    instruction: list[Word]
    input: list[Word]
    answer: str
    source: str
    phrasing: Phrasing


def draft(
    rng: Random, families: tuple[Family, ...], held_out: bool | None = None, short: bool = False
) -> Draft:
    """Sample one task and put it into words; `source` is `family/op`, or `family` if it has one op.

    Args:
        rng: Source of randomness.
        families: Families to sample from.
        held_out: Whether to use only held-out phrasings (True), only the others (False), or any
            (None).
        short: Whether to omit filler and restatement.
    """
    family = rng.choices(families, weights=_weights(families))[0]
    op = rng.choice(family.ops)
    task = family.make(rng, op)
    phrasings = choices(family, op, held_out)
    phrasing = rng.choice(phrasings)
    words = task_words(phrasing, task.slots, op, rng)
    given = input_words(task.input, rng) if task.input else []
    if given and rng.random() < 0.2:
        words, given = _inline(words, given), []
    source = f"{family.name}/{op}" if op else family.name
    if short:
        return Draft(words, given, task.answer, source, phrasing)
    if rng.random() < 0.12:
        again = task_words(rng.choice(phrasings), task.slots, op, rng)
        words += [Word(w, "") for w in rng.choice(RESTATEMENTS).split()]
        words += [Word(w.text, "") for w in again]
    before, after = rng.choices(
        [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (2, 1)], weights=[20, 20, 20, 20, 8, 12]
    )[0]
    for _ in range(before):
        words = filler_words("<", rng) + words
    for _ in range(after):
        words += filler_words(">", rng)
    return Draft(words, given, task.answer, source, phrasing)


def draw(
    rng: Random, families: tuple[Family, ...], broken: bool = False, short: bool = False
) -> Prompt:
    """Sample one prompt with its answer but without an ID.

    `broken` drops a random part of the words that the answer does not depend on. For the other
    arguments, see `draft`.
    """
    return write(draft(rng, families, short=short), rng, broken)


def write(drawn: Draft, rng: Random, broken: bool = False) -> Prompt:
    """Convert a draft to a prompt; see `draw`."""
    careless = rng.random() < 0.15
    thin = rng if broken else None
    instruction = write_out(drawn.instruction, thin)
    if careless:
        if not any(c.isupper() for c in drawn.answer):
            instruction = instruction.lower()
        instruction = instruction.rstrip(".?")
    return Prompt("", instruction, write_out(drawn.input, thin), drawn.answer, drawn.source)


@cache
def _weights(families: tuple[Family, ...]) -> tuple[float, ...]:
    return tuple(2.2 if family.name in _LONG else 1.0 for family in families)


def _inline(words: list[Word], given: list[Word]) -> list[Word]:
    """Append the input to the question, as in "Reverse the list: a, b, c."."""
    *head, last = words
    text = last.text if last.text[-1] in "?!:" else last.text.rstrip(".") + ":"
    *items, end = given
    return [*head, Word(text, last.core), *items, Word(end.text.rstrip(".") + ".", end.core)]


def key(prompt: Prompt) -> str:
    """Return the deduplication key of a prompt: its text without case, spacing, and punctuation."""
    text = f"{prompt.instruction}\n{prompt.input}".lower()
    return " ".join("".join(c if c.isalnum() else " " for c in text).split())


@cache
def validation_keys() -> frozenset[str]:
    """Return the keys of the validation prompts, which no training prompt may have."""
    splits = [split for split in CHECKSUMS if split != "train"]
    return frozenset(key(prompt) for split in splits for prompt in micro_prompts(split))


@cache
def _micro_prompts(split: str) -> tuple[Prompt, ...]:
    if split == "validation_human":
        rows = enumerate(data_lines("human.jsonl"))
        return tuple(Prompt(id=f"micro:{split}:{i}", **json.loads(row)) for i, row in rows)
    drawn = islice(_drawn(split, Random(f"{SEED}:{split}")), SIZES[split])
    return tuple(replace(p, id=f"micro:{split}:{i}") for i, p in enumerate(drawn))


def endless_prompts(seed: int) -> Iterator[Prompt]:
    """Yield an endless stream of distinct prompts like those of micro's train split.

    None of them is in a validation split. Memory grows by 0.3 kB per prompt.

    Args:
        seed: Determines the prompts, which are the same on every machine.

    Example:
        >>> next(endless_prompts(seed=0)).id
        'micro:endless-0:0'
    """
    for i, prompt in enumerate(_drawn("train", Random(f"{SEED}:endless:{seed}"))):
        yield replace(prompt, id=f"micro:endless-{seed}:{i}")


def _drawn(split: str, rng: Random) -> Iterator[Prompt]:
    """Yield distinct prompts for a split, without IDs."""
    seen = tuple(family for family in FAMILIES if not family.unseen)
    unseen = tuple(family for family in FAMILIES if family.unseen)
    taken: set[str] = set(validation_keys()) if split == "train" else set()
    for place in count():
        while True:
            if split == "validation_unseen":
                made = draft(rng, unseen) if place % 2 else draft(rng, seen, held_out=True)
            else:
                made = draft(rng, seen, held_out=False)
            prompt = write(made, rng)
            if key(prompt) not in taken and not made.phrasing.shared:
                break
        taken.add(key(prompt))
        yield prompt


def micro_prompts(split: str) -> list[Prompt]:
    """Return the prompts of one split of micro, the same on every machine.

    Args:
        split: "train" (20,000 prompts); "validation_seen" (1,000; families and phrasings of train
            with new inputs); "validation_unseen" (1,000; half from families and half with phrasings
            that are not in train); or "validation_human" (written one by one in free wording).

    Returns:
        Prompts with their verified answer as `output` and `family/op` as `source`.

    Raises:
        ValueError: If the split is unknown.
    """
    if split not in CHECKSUMS:
        raise ValueError(f"micro has the splits {', '.join(CHECKSUMS)}, got {split!r}")
    return list(_micro_prompts(split))
