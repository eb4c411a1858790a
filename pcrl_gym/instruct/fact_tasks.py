"""Questions about invented facts in prose, tables, records, and messages, some with courtesy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any

import regex
import yaml

from pcrl_gym.prompts.prompt import Prompt

_RANGE = regex.compile(r"(\D*)(\d+)(:\d+)?-\D*?(\d+)(?::\d+)?( .*)?")

Records = Sequence[Mapping[str, str]]


@cache
def _facts() -> Any:
    return yaml.safe_load((files(__package__) / "facts.yaml").read_text(encoding="utf-8"))


def fact_tasks(count: int, rng: Random) -> Iterator[Prompt]:
    """Yield questions about records sampled from `facts.yaml`.

    Example:
        >>> prompt = next(fact_tasks(1, Random(0)))
        >>> bool(prompt.instruction), prompt.source
        (True, 'fact')
    """
    for number in range(count):
        subject = rng.choice(_facts()["subjects"])
        one, columns = subject["one"], subject["columns"]
        chosen = rng.sample(sorted(columns), rng.randint(2, 3))
        named = rng.sample(_values(subject["x"]), rng.randint(2, 4))
        records = [
            {one: x} | {column: _value(columns[column][0], rng) for column in chosen} for x in named
        ]
        record, column = rng.choice(records), rng.choice(chosen)
        _, fact, ask = columns[column]
        slots = {"one": one, "column": column, "x": record[one], "v": record[column]}
        slots["fact"] = fact.format(**slots)
        question = ask if rng.random() < 0.6 else rng.choice(_facts()["tasks"])
        question = _sentence(question.format(**slots))
        if rng.random() < 0.4:
            question += " " + rng.choice(_facts()["endings"]).format(**slots)
        stated = _stated(records, subject, chosen, rng)
        of = subject["of"]
        if rng.random() < 0.2:
            rules = rng.sample(_facts()["systems"], rng.randint(1, 2))
            system = " ".join([*(rule.format(of=of) for rule in rules), stated])
            row = {"instruction": system, "input": _padded(question, rng)}
        else:
            if rng.random() < 0.5:
                lead = rng.choice(_facts()["leads"]).format(of=of, Of=_sentence(of))
                stated = f"{lead}\n{stated}"
            row = arranged(question, stated, rng)
        yield Prompt(f"fact:{number}", row["instruction"], row["input"], source="fact")


def arranged(question: str, material: str, rng: Random) -> dict[str, str]:
    """Return a prompt of a question and the material it is about, in one of the usual layouts.

    Example:
        >>> arranged("Who sang?", "Rosa sang. Pavel danced.", Random(1))
        {'instruction': 'Who sang?', 'input': 'Rosa sang. Pavel danced.'}
    """
    question = _padded(question, rng)
    way = rng.choice(("apart", "apart", "after", "before", "labeled", "quoted"))
    if way == "apart":
        return {"instruction": question, "input": material}
    if way == "quoted" and '"' not in material and "\n" not in material:
        material = f'"{material}"'
    if way == "labeled":
        name = rng.choice(("Text", "Context", "Passage"))
        both = f"{name}: {material}\n\nQuestion: {question}"
    else:
        glue = rng.choice(("\n\n", "\n")) if "\n" in material else rng.choice(("\n\n", "\n", " "))
        pair = (question, material) if way == "before" else (material, question)
        both = glue.join(pair)
    return {"instruction": both, "input": ""}


def _padded(question: str, rng: Random) -> str:
    """Return the question with up to four sentences of courtesy and reasons around it."""
    if rng.random() < 0.4:
        return question
    around = rng.sample(_facts()["courtesies"], rng.randint(0, 2))
    around += rng.sample(_facts()["reasons"], rng.randint(0, 2))
    rng.shuffle(around)
    cut = rng.randint(0, len(around))
    return " ".join([*around[:cut], question, *around[cut:]])


def _stated(records: Records, subject: Any, columns: Sequence[str], rng: Random) -> str:
    names = [subject["one"], *columns]
    form = rng.choice(("prose", "prose", "prose", "message", "markdown", "csv", "records", "json"))
    if form == "markdown":
        lines = [names, ["---"] * len(names), *(list(r.values()) for r in records)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if form == "csv":
        return "\n".join(",".join(line) for line in [names, *(list(r.values()) for r in records)])
    if form == "records":
        glue = rng.choice((", ", "; ", "\n"))
        blocks = [glue.join(f"{name}: {value}" for name, value in r.items()) for r in records]
        return ("\n\n" if glue == "\n" else "\n").join(blocks)
    if form == "json":
        return "[" + ",\n ".join(json.dumps(dict(record)) for record in records) + "]"
    sentences = []
    for record in records:
        x, own = record[subject["one"]], rng.sample(columns, len(columns))
        parts = [subject["columns"][c][1].format(x=x, v=record[c]) for c in own]
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        sentences += [
            _sentence(rng.choice((", and ", "; ", ", while ")).join(p)) + "." for p in pairs
        ]
    text = " ".join(sentences)
    if form == "message":
        to, sender = rng.sample(_facts()["names"], 2)
        text = f"{rng.choice(('Dear', 'Hi', 'Hello'))} {to},\n\n{text}\n\n"
        text += f"{rng.choice(('Best', 'Regards', 'Yours', 'See you soon'))},\n{sender}"
    return text


def _values(given: Any) -> list[str]:
    values: list[str] = _facts()["names"] if given == "names" else given
    return values


def _value(given: Any, rng: Random) -> str:
    """Return one of the listed values, or a number of a range such as "5-45 minutes"."""
    if isinstance(given, list) or given == "names":
        return rng.choice(_values(given))
    before, low, minutes, high, unit = _RANGE.fullmatch(given).groups()
    number = rng.randint(int(low), int(high))
    if minutes:
        return f"{number}:{rng.randrange(0, 60, 5):02}"
    return f"{before}{number}{unit or ''}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
