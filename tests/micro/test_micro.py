"""What micro promises: many families, decisive function words, fixed and disjoint splits."""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from random import Random

import pytest

from pcrl_gym.micro import CHECKSUMS, lexicon, micro_prompts
from pcrl_gym.micro.families import FAMILIES, Family, Instance
from pcrl_gym.micro.tasks import draft, draw, key, validation_keys
from pcrl_gym.micro.wording import SYNONYMS, choices, fillers, phrasings, write_out
from pcrl_gym.prompts.datasets import dataset_checksum

FUNCTION_WORDS = frozenset(
    "a after all and any anyone at before between both but by did does except from has have if in "
    "is it least most never no none not nothing of on only onto or otherwise over plus minus "
    "than that the then there to under unless until up what when where which who will with without "
    "you are else and/or everything every".split()
)
BY_NAME = {family.name: family for family in FAMILIES}
SPLITS = tuple(CHECKSUMS)


def test_there_are_many_families_with_many_phrasings_each():
    assert len(FAMILIES) >= 30
    for family in FAMILIES:
        assert len(phrasings()[family.name]) >= 8, family.name
        for op in family.ops:
            assert len(choices(family, op, held_out=False)) >= 4, (family.name, op)
            assert choices(family, op, held_out=True), (family.name, op)
    assert set(phrasings()) == set(BY_NAME)


def test_phrasings_run_from_telegraphic_to_verbose():
    for family in FAMILIES:
        lengths = [len(p.text.split()) for p in phrasings()[family.name]]
        assert min(lengths) <= 5, family.name
        assert max(lengths) >= 6, family.name


def test_in_a_third_of_the_families_function_words_decide_the_answer():
    decided = [family for family in FAMILIES if family.function_word]
    assert 3 * len(decided) >= len(FAMILIES)
    for family in decided:
        pairs = _pairs_that_differ_in_function_words(family)
        assert pairs, f"{family.name}: no two ops are worded alike but for function words"
        for one, other in pairs:
            # There may be as many fruits as other things.
            least = 0.7 if family.name == "count_category" else 0.9
            assert _share_of_other_answers(family, one, other) > least, (family.name, one, other)


def _content(text: str) -> tuple[str, ...]:
    words = text.replace("<", "").replace(">", "").lower().split()
    return tuple(
        w for w in (w.strip('.,?!:"') for w in words) if w not in FUNCTION_WORDS | {"{op}"}
    )


def _pairs_that_differ_in_function_words(family: Family) -> list[tuple[str, str]]:
    texts = {op: {_content(p.text) for p in choices(family, op, None)} for op in family.ops}
    return [
        (one, other)
        for i, one in enumerate(family.ops)
        for other in family.ops[i + 1 :]
        if texts[one] & texts[other]
    ]


def _share_of_other_answers(family: Family, one: str, other: str) -> float:
    different = 0
    for seed in range(200):
        a, b = (family.make(Random(seed), op) for op in (one, other))
        assert (a.slots, a.input) == (b.slots, b.input)
        different += a.answer != b.answer
    return different / 200


def test_held_out_wordings_are_no_wordings_of_train():
    for family in FAMILIES:
        for op in family.ops:
            known = [_wordings(p.text, op) for p in choices(family, op, held_out=False)]
            for phrasing in choices(family, op, held_out=True):
                same = any(_wordings(phrasing.text, op) & words for words in known)
                assert same == phrasing.shared, (family.name, op, phrasing.text)


def _wordings(text: str, op: str) -> set[str]:
    """Every way to word a phrasing, slots left open."""
    text = text.replace("<", "").replace(">", "").replace("{op}", op).lower().rstrip(".?")
    slots = list(dict.fromkeys(re.findall(r"\{(give|list|words?)\}", text)))
    return {
        functools.reduce(
            lambda t, s: t.replace("{" + s[0] + "}", s[1]), zip(slots, values, strict=True), text
        )
        for values in itertools.product(*(SYNONYMS[slot] for slot in slots))
    }


def test_decisive_words_also_stand_in_filler():
    """A list that keeps "not" and "before" keeps filler; one that drops them drops the task."""
    filler = {
        w.strip(".,!?").lower() for texts in fillers().values() for t in texts for w in t.split()
    }
    for word in "not before after but from to if all between with without or at most least".split():
        assert word in filler, word
    slots = {"{animal}", "{colour}", "{fruit}", "{tool}", "{vehicle}", "{furniture}", "{clothes}"}
    assert slots <= filler  # items of the inputs stand in filler, too


def test_no_word_list_solves_it():
    """Even the best list for each word (it knows every draft) leaves most prompts unsolved.

    A prompt counts as solved when every word that the answer needs is kept and nine in ten of the
    others are dropped.
    """
    rng = Random(0)
    seen = tuple(family for family in FAMILIES if not family.unseen)
    drafts = [draft(rng, seen, held_out=False) for _ in range(4000)]
    needed, total = Counter(), Counter()
    rows = []
    for drawn in drafts:
        row = [
            (w.text.strip(".,!?:;").lower(), bool(w.core)) for w in drawn.instruction + drawn.input
        ]
        rows.append(row)
        total.update(word for word, _ in row)
        needed.update(word for word, core in row if core)
    best = 0.0
    for threshold in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9):
        kept = {word for word in total if needed[word] / total[word] >= threshold}
        best = max(best, sum(_solved(row, kept) for row in rows) / len(rows))
    assert best < 0.4


def _solved(row: list[tuple[str, bool]], kept: set[str]) -> bool:
    if any(core and word not in kept for word, core in row):
        return False
    others = [word for word, core in row if not core]
    return sum(word not in kept for word in others) >= 0.9 * len(others)


@pytest.mark.parametrize("split", SPLITS)
def test_splits_are_fixed(split):
    prompts = micro_prompts(split)
    assert dataset_checksum(prompts) == CHECKSUMS[split]
    assert len(prompts) == {"train": 20_000, "validation_human": 260}.get(split, 1_000)
    assert len({key(p) for p in prompts}) == len(prompts)
    assert len({p.id for p in prompts}) == len(prompts)
    assert all(p.instruction.strip() and p.output for p in prompts)


def test_no_validation_prompt_occurs_in_train():
    assert not validation_keys() & {key(p) for p in micro_prompts("train")}


def test_unseen_families_and_phrasings_stay_out_of_train():
    unseen = {family.name for family in FAMILIES if family.unseen}
    families = {split: {p.source.split("/")[0] for p in micro_prompts(split)} for split in SPLITS}
    assert not unseen & (families["train"] | families["validation_seen"])
    assert unseen <= families["validation_unseen"]
    assert families["train"] == families["validation_seen"] == set(BY_NAME) - unseen
    assert families["validation_human"] == set(BY_NAME)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="validation_seen"):
        micro_prompts("test")


def test_the_same_stream_gives_the_same_prompts():
    one, other = ([draw(Random(i), FAMILIES) for i in range(50)] for _ in range(2))
    assert one == other


def test_broken_wording_keeps_what_the_answer_needs():
    for seed in range(300):
        rng = Random(seed)
        drawn = draft(rng, FAMILIES)
        text = write_out(drawn.instruction + drawn.input, rng)
        cores = [w.core for w in drawn.instruction + drawn.input if w.core]
        position = 0
        for core in cores:
            position = text.find(core, position)
            assert position >= 0, (core, text)
            position += len(core)


@pytest.mark.parametrize(
    ("name", "op", "expected"),
    [
        (
            "filter",
            "",
            lambda i: [w for w in i.input if lexicon.CATEGORY_OF.get(w) == i.slots["category"]],
        ),
        (
            "filter",
            "not",
            lambda i: [w for w in i.input if lexicon.CATEGORY_OF.get(w) != i.slots["category"]],
        ),
        ("reverse", "", lambda i: list(reversed(i.input))),
        (
            "between",
            "from",
            lambda i: i.input[i.input.index(i.slots["x"]) : i.input.index(i.slots["y"]) + 1],
        ),
        (
            "over_under",
            "over",
            lambda i: [w for w in i.input if int(w) > int(i.slots["n"])] or ["none"],
        ),
        ("at_most", "at most", lambda i: [w for w in i.input if int(w) <= int(i.slots["n"])]),
        ("sort_numbers", "down", lambda i: sorted(i.input, key=int, reverse=True)),
    ],
)
def test_answers_follow_from_the_input(name, op, expected):
    for seed in range(50):
        instance: Instance = BY_NAME[name].make(Random(seed), op)
        assert instance.answer == ", ".join(expected(instance))
