"""The task families of micro, which sample inputs and compute their answers.

A family samples an `Instance` from a random stream. Families with several `ops` ask different
questions about the same sample: given the same stream, every op gets the same slots and input but
(in general) a different answer.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from pcrl_gym.micro import lexicon as lx


class Instance(NamedTuple):
    """One sampled task; op, slots, and input determine the answer."""

    slots: dict[str, str]  # values for the `{...}` placeholders of the family's phrasings
    input: list[str] | str  # items (formatted later) or a finished text
    answer: str


class Family(NamedTuple):
    """A task family."""

    name: str  # its key in `phrasings.txt`
    make: Callable[[Random, str], Instance]
    ops: tuple[str, ...] = ("",)  # questions it can ask about a sample, as named in the phrasings
    function_word: bool = False  # the ops differ only in function words ("before", "not", ...)
    unseen: bool = False  # never used to train agents


def _join(items: list[str]) -> str:
    return ", ".join(items) if items else "none"


def _items(rng: Random, low: int, high: int) -> list[str]:
    """Sample `low` to `high` distinct nouns, half the time from only two categories."""
    n = rng.randint(low, high)
    if rng.random() < 0.5:
        return rng.sample(lx.ITEMS, n)
    pool = [word for name in rng.sample(list(lx.CATEGORIES), 2) for word in lx.CATEGORIES[name]]
    return rng.sample(pool, n)


def _mixed(rng: Random, low: int, high: int) -> tuple[str, list[str]]:
    """Return a category and a list with at least one of its members and one other noun."""
    category = rng.choice(list(lx.CATEGORIES))
    n = rng.randint(low, high)
    inside = rng.randint(1, n - 1)
    others = [word for word in lx.ITEMS if lx.CATEGORY_OF.get(word) != category]
    items = rng.sample(lx.CATEGORIES[category], inside) + rng.sample(others, n - inside)
    rng.shuffle(items)
    return category, items


def _numbers(rng: Random, low: int, high: int, top: int) -> list[int]:
    return rng.sample(range(1, top + 1), rng.randint(low, high))


def _copy(rng: Random, op: str) -> Instance:
    items = _items(rng, 4, 10)
    return Instance({}, items, _join(items))


def _reverse(rng: Random, op: str) -> Instance:
    items = _items(rng, 4, 9)
    return Instance({}, items, _join(items[::-1]))


def _pick_end(rng: Random, op: str) -> Instance:
    items = _items(rng, 3, 8)
    return Instance({}, items, items[0] if op == "first" else items[-1])


def _nth(rng: Random, op: str) -> Instance:
    items = _items(rng, 5, 8)
    i = rng.randint(1, 4)
    return Instance({"nth": lx.ORDINALS[i]}, items, items[i])


def _all_but(rng: Random, op: str) -> Instance:
    items = _items(rng, 6, 9)
    i = rng.choice([0, 1, 2, 3, -1])
    answer = [items[i]] if op == "only" else [w for w in items if w != items[i]]
    return Instance({"nth": "last" if i == -1 else lx.ORDINALS[i]}, items, _join(answer))


def _first_n(rng: Random, op: str) -> Instance:
    items = _items(rng, 5, 9)
    n = rng.randint(2, 4)
    answer = items[:n] if op == "first" else items[-n:]
    return Instance({"n": rng.choice([str(n), lx.NUMBER_WORDS[n]])}, items, _join(answer))


def _filter(rng: Random, op: str) -> Instance:
    category, items = _mixed(rng, 5, 10)
    answer = [w for w in items if (lx.CATEGORY_OF.get(w) == category) != (op == "not")]
    return Instance({"category": category}, items, _join(answer))


def _with_without(rng: Random, op: str) -> Instance:
    items = _items(rng, 5, 9)
    x = rng.choice(items)
    answer = [w for w in items if w != x] + ([x] if op == "with" else [])
    return Instance({"x": x}, items, _join(answer))


def _before_after(rng: Random, op: str) -> Instance:
    items = _items(rng, 4, 8)
    i = rng.randint(1, len(items) - 2)
    return Instance({"x": items[i]}, items, items[i - 1] if op == "before" else items[i + 1])


def _between(rng: Random, op: str) -> Instance:
    items = _items(rng, 7, 11)
    i = rng.randint(0, len(items) - 4)
    j = rng.randint(i + 3, len(items) - 1)
    answer = items[i + 1 : j] if op == "between" else items[i : j + 1]
    return Instance({"x": items[i], "y": items[j]}, items, _join(answer))


def _up_to(rng: Random, op: str) -> Instance:
    items = _items(rng, 6, 10)
    i = rng.randint(1, len(items) - 2)
    return Instance({"x": items[i]}, items, _join(items[: i + 1] if op == "up to" else items[i:]))


def _count(rng: Random, op: str) -> Instance:
    items = _items(rng, 2, 9)
    return Instance({}, items, str(len(items)))


def _count_category(rng: Random, op: str) -> Instance:
    category, items = _mixed(rng, 3, 7)
    count = sum((lx.CATEGORY_OF.get(w) == category) != (op == "not") for w in items)
    return Instance({"category": category}, items, str(count))


def _replace(rng: Random, op: str) -> Instance:
    *items, y = _items(rng, 6, 11)
    x = rng.choice(items)
    return Instance({"x": x, "y": y}, items, _join([y if w == x else w for w in items]))


def _swap(rng: Random, op: str) -> Instance:
    items = _items(rng, 5, 10)
    x, y = rng.sample(items, 2)
    return Instance({"x": x, "y": y}, items, _join([{x: y, y: x}.get(w, w) for w in items]))


def _join_with(rng: Random, op: str) -> Instance:
    items = _items(rng, 4, 9)
    return Instance({}, items, f" {op} ".join(items))


def _repeat_times(rng: Random, op: str) -> Instance:
    x, n = rng.choice(lx.ITEMS), rng.randint(3, 18)
    return Instance({"n": rng.choice([str(n), lx.NUMBER_WORDS[n]])}, x, " ".join([x] * n))


def _repeat_each(rng: Random, op: str) -> Instance:
    items = _items(rng, 3, 8)
    return Instance({}, items, " ".join(f"{w} {w}" for w in items))


def _number_list(rng: Random, op: str) -> Instance:
    items = _items(rng, 3, 7)
    return Instance({}, items, " ".join(f"{i}. {w}" for i, w in enumerate(items, start=1)))


def _add_word(rng: Random, op: str) -> Instance:
    *items, x = _items(rng, 4, 8)
    answer = [f"{x} {w}" if op == "before" else f"{w} {x}" for w in items]
    return Instance({"x": x}, items, _join(answer))


def _insert(rng: Random, op: str) -> Instance:
    *items, y = _items(rng, 6, 10)
    i = rng.randrange(len(items))
    at = i if op == "before" else i + 1
    return Instance({"x": items[i], "y": y}, items, _join([*items[:at], y, *items[at:]]))


def _odd_one_out(rng: Random, op: str) -> Instance:
    category, other = rng.sample(list(lx.CATEGORIES), 2)
    odd = rng.choice(lx.CATEGORIES[other])
    items = [*rng.sample(lx.CATEGORIES[category], rng.randint(3, 5)), odd]
    rng.shuffle(items)
    return Instance({}, items, odd)


def _unique(rng: Random, op: str) -> Instance:
    items = _items(rng, 4, 8)
    doubled = items + rng.sample(items, rng.randint(1, 2))
    rng.shuffle(doubled)
    return Instance({}, doubled, _join(list(dict.fromkeys(doubled))))


def _two_lists(rng: Random, op: str) -> Instance:
    pool = _items(rng, 6, 8)
    shared = pool[: rng.randint(1, 3)]
    rest = pool[len(shared) :]
    cut = rng.randint(1, len(rest) - 1)
    a, b = shared + rest[:cut], shared + rest[cut:]
    rng.shuffle(a)
    rng.shuffle(b)
    answer = [w for w in a if (w in b) == (op == "both")]
    return Instance({}, f"A: {', '.join(a)}. B: {', '.join(b)}", _join(answer))


def _opposite(rng: Random, op: str) -> Instance:
    pairs = [rng.sample(pair, 2) for pair in rng.sample(lx.OPPOSITES, rng.choice([1, 1, 2, 3]))]
    return Instance({}, [a for a, _ in pairs], _join([b for _, b in pairs]))


def _translate(rng: Random, op: str) -> Instance:
    words = rng.sample(list(lx.FRENCH), rng.choice([1, 1, 2, 3, 5]))
    return Instance({}, words, _join([lx.DICTIONARIES[op][w] for w in words]))


def _translate_back(rng: Random, op: str) -> Instance:
    words = rng.sample(list(lx.FRENCH), rng.choice([1, 1, 2, 3]))
    return Instance({}, [lx.DICTIONARIES[op][w] for w in words], _join(words))


def _letter_case(rng: Random, op: str) -> Instance:
    items = rng.sample(list(lx.PLURALS), rng.randint(1, 4))
    if op == "capital":
        return Instance({}, items, _join([w.upper() for w in items]))
    return Instance({}, [w.upper() for w in items], _join(items))


def _kind_of(rng: Random, op: str) -> Instance:
    word = rng.choice(list(lx.CATEGORY_OF))
    return Instance({}, word, lx.CATEGORY_OF[word])


def _plural(rng: Random, op: str) -> Instance:
    pairs = rng.sample(list(lx.PLURALS.items()), rng.choice([1, 2, 3, 4]))
    ones, many = [one for one, _ in pairs], [more for _, more in pairs]
    return Instance({}, ones, _join(many)) if op == "plural" else Instance({}, many, _join(ones))


def _number_words(rng: Random, op: str) -> Instance:
    numbers = rng.sample(range(21), rng.choice([1, 1, 2, 3, 4]))
    digits, words = [str(n) for n in numbers], [lx.NUMBER_WORDS[n] for n in numbers]
    asked, answer = (words, digits) if op == "digits" else (digits, words)
    return Instance({}, asked, _join(answer))


def _arithmetic(rng: Random, op: str) -> Instance:
    a = rng.randint(2, 20)
    b = rng.randint(1, min(a - 1, 10))
    return Instance({"a": str(a), "b": str(b)}, "", str(a + b if op == "plus" else a - b))


def _extremum(rng: Random, op: str) -> Instance:
    numbers = _numbers(rng, 3, 6, 40)
    answer = max(numbers) if op == "largest" else min(numbers)
    return Instance({}, [str(n) for n in numbers], str(answer))


def _over_under(rng: Random, op: str) -> Instance:
    limit = rng.randint(5, 25)
    numbers = [n for n in _numbers(rng, 5, 10, 30) if n != limit]
    answer = [str(n) for n in numbers if (n > limit) == (op == "over")]
    return Instance({"n": str(limit)}, [str(n) for n in numbers], _join(answer))


def _at_most(rng: Random, op: str) -> Instance:
    numbers = _numbers(rng, 5, 10, 30)
    limit = rng.choice(numbers)
    answer = [str(n) for n in numbers if (n <= limit if op == "at most" else n >= limit)]
    return Instance({"n": str(limit)}, [str(n) for n in numbers], _join(answer))


def _sort_numbers(rng: Random, op: str) -> Instance:
    numbers = _numbers(rng, 3, 6, 20)
    answer = sorted(numbers, reverse=op == "down")
    return Instance({}, [str(n) for n in numbers], _join([str(n) for n in answer]))


def _count_range(rng: Random, op: str) -> Instance:
    low = rng.randint(1, 14)
    high = low + rng.randint(2, 11)
    start, stop = (low, high) if rng.random() < 0.5 else (high, low)
    span = list(range(low, high + 1)) if start == low else list(range(high, low - 1, -1))
    answer = span if op == "to" else span[:-1]
    return Instance({"a": str(start), "b": str(stop)}, "", _join([str(n) for n in answer]))


def _alphabetical(rng: Random, op: str) -> Instance:
    letters = rng.sample(sorted({w[0] for w in lx.ITEMS}), rng.randint(3, 5))
    items = [rng.choice([w for w in lx.ITEMS if w[0] == letter]) for letter in letters]
    return Instance({}, items, _join(sorted(items, reverse=op == "z to a")))


def _if_present(rng: Random, op: str) -> Instance:
    *items, a, b, absent = _items(rng, 6, 9)
    x = rng.choice(items) if rng.random() < 0.5 else absent
    return Instance({"x": x, "a": a, "b": b}, items, a if (x in items) == (op == "is") else b)


def _unless(rng: Random, op: str) -> Instance:
    category = rng.choice(list(lx.CATEGORIES))
    inside = rng.random() < 0.5
    x = rng.choice([w for w in lx.ITEMS if (lx.CATEGORY_OF.get(w) == category) == inside])
    a, b = rng.sample(["yes", "no", "stop", "go", "up", "down", "left", "right"], 2)
    answer = a if inside == (op == "if") else b
    return Instance({"kind": lx.SINGULAR[category], "a": a, "b": b}, x, answer)


def _is_in(rng: Random, op: str) -> Instance:
    *items, absent = _items(rng, 4, 8)
    x = rng.choice(items) if rng.random() < 0.5 else absent
    return Instance({"x": x}, items, "yes" if (x in items) == (op == "in") else "no")


def _is_kind(rng: Random, op: str) -> Instance:
    category = rng.choice(list(lx.CATEGORIES))
    inside = rng.random() < 0.5
    x = rng.choice([w for w in lx.ITEMS if (lx.CATEGORY_OF.get(w) == category) == inside])
    return Instance(
        {"x": x, "kind": lx.SINGULAR[category]}, "", "no" if inside == (op == "not") else "yes"
    )


def _day(rng: Random, op: str) -> Instance:
    i = rng.randrange(7)
    return Instance({"x": lx.DAYS[i]}, "", lx.DAYS[(i + (1 if op == "after" else -1)) % 7])


def _month(rng: Random, op: str) -> Instance:
    i = rng.randrange(12)
    return Instance({"x": lx.MONTHS[i]}, "", lx.MONTHS[(i + (1 if op == "after" else -1)) % 12])


def _months_range(rng: Random, op: str) -> Instance:
    i = rng.randint(0, 8)
    j = rng.randint(i + 2, 11)
    answer = lx.MONTHS[i : j + 1] if op == "from" else lx.MONTHS[i + 1 : j]
    return Instance({"x": lx.MONTHS[i], "y": lx.MONTHS[j]}, "", _join(list(answer)))


def _journey(rng: Random, op: str) -> Instance:
    name = rng.choice(lx.NAMES)
    a, b = rng.sample(lx.PLACES, 2)
    vehicle = rng.choice(lx.CATEGORIES["vehicles"])
    verb, day = rng.choice(["went", "travelled", "drove"]), rng.choice(lx.DAYS)
    parts = [f"from {a}", f"to {b}", f"by {vehicle}", f"on {day}"]
    rng.shuffle(parts)
    answer = {"from": a, "to": b, "by": vehicle, "on": day}[op]
    return Instance({"x": name}, " ".join([name, verb, *parts]) + ".", answer)


def _owner(rng: Random, op: str) -> Instance:
    n = rng.randint(2, 4)
    people, things = rng.sample(lx.NAMES, n), _items(rng, 4, 4)[:n]
    i = rng.randrange(n)
    story = ", ".join(f"{p} has the {t}" for p, t in zip(people, things, strict=True)) + "."
    answer = people[i] if op == "who" else things[i]
    return Instance({"x": things[i], "y": people[i]}, story, answer)


FAMILIES: tuple[Family, ...] = (
    Family("copy", _copy),
    Family("reverse", _reverse),
    Family("pick_end", _pick_end, ("first", "last")),
    Family("nth", _nth),
    Family("all_but", _all_but, ("all but", "only"), function_word=True),
    Family("first_n", _first_n, ("first", "last"), unseen=True),
    Family("filter", _filter, ("", "not"), function_word=True),
    Family("with_without", _with_without, ("with", "without")),
    Family("before_after", _before_after, ("before", "after"), function_word=True),
    Family("between", _between, ("between", "from"), function_word=True),
    Family("up_to", _up_to, ("up to", "from"), function_word=True, unseen=True),
    Family("count", _count),
    Family("count_category", _count_category, ("", "not"), function_word=True),
    Family("replace", _replace),
    Family("swap", _swap, unseen=True),
    Family("join", _join_with, ("and", "or", "then", "with"), function_word=True),
    Family("repeat_times", _repeat_times),
    Family("repeat_each", _repeat_each, unseen=True),
    Family("number_list", _number_list),
    Family("add_word", _add_word, ("before", "after"), function_word=True),
    Family("insert", _insert, ("before", "after"), function_word=True),
    Family("odd_one_out", _odd_one_out),
    Family("unique", _unique),
    Family("two_lists", _two_lists, ("both", "but not"), function_word=True),
    Family("opposite", _opposite),
    Family("translate", _translate, ("French", "Spanish")),
    Family("translate_back", _translate_back, ("French", "Spanish")),
    Family("letter_case", _letter_case, ("capital", "small")),
    Family("kind_of", _kind_of),
    Family("plural", _plural, ("plural", "singular"), unseen=True),
    Family("number_words", _number_words, ("digits", "words")),
    Family("arithmetic", _arithmetic, ("plus", "minus"), function_word=True),
    Family("extremum", _extremum, ("largest", "smallest")),
    Family("over_under", _over_under, ("over", "under"), function_word=True),
    Family("at_most", _at_most, ("at most", "at least"), function_word=True, unseen=True),
    Family("sort_numbers", _sort_numbers, ("up", "down")),
    Family("count_range", _count_range, ("to", "before")),
    Family("alphabetical", _alphabetical, ("a to z", "z to a")),
    Family("if_present", _if_present, ("is", "is not"), function_word=True),
    Family("unless", _unless, ("if", "unless"), function_word=True, unseen=True),
    Family("is_in", _is_in, ("in", "not in"), function_word=True),
    Family("is_kind", _is_kind, ("", "not"), function_word=True),
    Family("day", _day, ("before", "after"), function_word=True),
    Family("month", _month, ("before", "after"), function_word=True, unseen=True),
    Family("months_range", _months_range, ("from", "between"), function_word=True),
    Family("journey", _journey, ("from", "to", "by", "on"), function_word=True),
    Family("owner", _owner, ("who", "what")),
)
