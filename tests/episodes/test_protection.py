"""Protection of things: the property for any tokenizer and mask, and the table of the manual."""

from __future__ import annotations

import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pcrl_gym.episodes.protection
from imports import ROOT
from models import TOKENIZERS
from pcrl_gym.episodes.episode import Episode, EpisodeBuilder
from pcrl_gym.episodes.protection import Protection, find_numbers
from pcrl_gym.episodes.tokenizers import load_tokenizer
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import AlpacaTemplate
from policies import compressor
from texts import NASTY_TEXTS

BUILT = {name: build() for name, build in TOKENIZERS.items()} | {"micro": load_tokenizer("micro")}
PLAIN = {
    (name, unit): EpisodeBuilder(tokenizer, AlpacaTemplate(), unit=unit)
    for name, tokenizer in BUILT.items()
    for unit in ("token", "word")
}
every_builder = pytest.mark.parametrize("builder", PLAIN.values(), ids=map("-".join, PLAIN))
DROP_ALL = {unit: compressor(BUILT["gpt2"], unit=unit, bias=-20.0) for unit in ("token", "word")}

TABLE = [
    line
    for line in (pcrl_gym.episodes.protection.__doc__ or "").splitlines()
    if line.startswith("|") and "`" in line
]
THINGS = [thing for line in TABLE for thing in re.findall(r"`([^`]+)`", line)]
BELONGING = [
    "5 km", "5 km/h", "3.5 GB", "1 250,75 €", "€ 5", "USD 5", "5 USD", "37 %", "20 °C", "5 p.m.",
    "11 AM", "3 million", "5 million US dollars", "30 minutes", "12 euros", "12 May 2024",
    "May 12, 2024", "Sept. 5", "№ 5", "US$ 5", "500 BC", "12:30 UTC", "10 mol/L", "5千米",
    "− 5", "± 0.1", ">= 5", "3 - 5", "3 – 5", "12 : 30", "1 / 2", "5 x 3", "3 + 4 = 7", "§ 5",
    "5 公里", "5公里", "5 км",
    "https://a.org/b,c;d/1", "https://a.org/?q=1&b=Foo_(bar)",
]  # fmt: skip
WORDS = [
    "and",
    "mothers",
    "k",
    "m",
    "Café",
    "don't",
    "twenty",
    "http://a.org",
    "北京",
    "ก่อนที่",
    "、",
    "🙂",
]
BETWEEN = [
    "",
    " ",
    "  ",
    "\n",
    "\u00a0",
    "(",
    ")",
    ",",
    ", ",
    ";",
    ".",
    "...",
    "-",
    "/",
    ":",
    "'",
    '"',
    "—",
    "|",
    "\u0301",
]
pieces = st.one_of(
    st.sampled_from(THINGS),
    st.sampled_from(BELONGING),
    st.sampled_from(WORDS),
    st.sampled_from(BETWEEN),
    st.sampled_from(NASTY_TEXTS[:-2]),
    st.text(max_size=4),
    st.text("0159٣１½ ,.", max_size=4),
)
texts_with_numbers = st.lists(pieces, max_size=12).map("".join)
"""Any text around, between and glued to numbers."""


def numbers(text: str) -> list[str]:
    return [text[start:end] for start, end in find_numbers(text)]


def protected(
    text: str, *force_keep: str | re.Pattern[str], keep_digits: bool = False
) -> list[str]:
    return [text[start:end] for start, end in Protection(force_keep, keep_digits)(text)]


def build(builder: EpisodeBuilder, text: str, protection: Protection) -> Episode:
    [episode] = builder([Prompt("0", text)], protection)
    return episode


@every_builder
@given(text=texts_with_numbers, data=st.data())
def test_every_number_comes_through_as_it_is(
    builder: EpisodeBuilder, text: str, data: st.DataObject
) -> None:
    episode = build(builder, text, Protection(keep_digits=True))
    mask = data.draw(st.lists(st.booleans(), min_size=len(episode), max_size=len(episode)))
    assert episode.compress([1] * len(episode)) == episode.text
    for kept in (mask, [0] * len(episode)):
        compressed = episode.compress(kept)
        simple = r"\d+(?:[.,:/' -]\d+)*"  # does not depend on our rules
        assert re.findall(simple, compressed) == re.findall(simple, episode.text)
        assert numbers(compressed) == numbers(episode.text)
        assert compressed.startswith("Instruction: ")
        inner = slice(len("Instruction: "), -len("\nOutput: \n"))
        assert numbers(compressed[inner]) == numbers(text.strip())


@every_builder
@given(
    text=st.text("abB5 \n;(", max_size=30),
    wanted=st.text("abB5(;", min_size=1, max_size=3),
    data=st.data(),
)
def test_forced_words_come_through_as_they_are(
    builder: EpisodeBuilder, text: str, wanted: str, data: st.DataObject
) -> None:
    episode = build(builder, text, Protection([wanted]))
    mask = data.draw(st.lists(st.booleans(), min_size=len(episode), max_size=len(episode)))
    matches = [match.span() for match in re.finditer(re.escape(wanted), text)]
    words = [
        word[0]
        for word in re.finditer(r"[^\s;]+", text)
        if any(start < word.end() and word.start() < end for start, end in matches)
    ]
    left = iter(re.findall(r"[^\s;]+", episode.compress(mask)))
    assert all(word in left for word in words)  # in this order


@pytest.mark.parametrize("thing", THINGS)
def test_the_table(thing: str) -> None:
    assert numbers(f"Please note {thing} and so on") == [thing]
    assert numbers(thing) == [thing]
    assert protected(f"Please note {thing} and so on", keep_digits=True) == [f" {thing} "]


def test_the_manual_has_the_same_table() -> None:
    manual = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    assert len(TABLE) >= 10
    assert "\n".join(TABLE) in manual


@pytest.mark.parametrize("thing", BELONGING)
@pytest.mark.parametrize("unit", ["token", "word"])
def test_what_belongs_to_a_number_is_kept_with_it(thing: str, unit: str) -> None:
    text = f"Please note that {thing}, so to say, was not much"
    assert thing in DROP_ALL[unit](text, keep_digits=True).text
    assert DROP_ALL[unit](text, keep_digits=True).text.strip(" ,") == thing


@pytest.mark.parametrize(
    "text",
    [
        "Sort these twenty words, please: a m km, May and March",
        "US dollars or 北京 and five kilometers; http://a.org/b bob@a.org",
        "",
        " \n ",
    ],
)
def test_words_without_a_digit_are_not_protected(text: str) -> None:
    assert protected(text, keep_digits=True) == []


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("add 3 apples, 500 pears", [" 3 ", " 500 "]),
        ("3 and 5", ["3 ", " 5"]),
        ("John,Smith,30,London", [",30,"]),
        ('{"age":30,"city":"Rome"}', ['":30,']),
        ("(see [7];8) in 2024. Then", [" [7];8) ", " 2024. "]),
        ("5 mothers in 5 in", ["5 ", " 5 "]),
        ("在2024年5月去北京", ["在2024年5月"]),
        ("<b>3</b>", [">3<"]),
        ("x < 3 <= y3", ["< 3 <= y3"]),
    ],
)
def test_borders(text: str, kept: list[str]) -> None:
    assert protected(text, keep_digits=True) == kept


@pytest.mark.parametrize(
    ("text", "force_keep", "kept"),
    [
        ("do nothing, not now", ["not"], [" nothing, not "]),
        ("to Ms Smith-Jones, please", ["Smith"], [" Smith-Jones,"]),
        ("one two three", ["e t"], ["one two "]),
        ("one\ntwo\n\nthree", ["\n"], ["\n", "\n\n"]),
        ("a, b", [","], [","]),
        ("- a\n- b", ["\n-"], ["\n- "]),
        ("say <|x|> now", ["<|x|>"], ["<|x|>"]),
        ("我在北京工作", ["北京"], ["北京"]),
        ("pay 3.5 or 12", [re.compile(r"\d+")], [" 3.5 ", " 12"]),
        ("aaa", [re.compile("b*")], []),
    ],
)
def test_force_keep(text: str, force_keep: list[str | re.Pattern[str]], kept: list[str]) -> None:
    assert protected(text, *force_keep) == kept


@every_builder
def test_a_line_break_is_kept_without_the_next_word(builder: EpisodeBuilder) -> None:
    episode = build(builder, "one two\nthree\n\n  four", Protection(["\n"]))
    assert episode.compress([0] * len(episode)) == "Instruction: \n\n\n\nOutput: \n"
    assert episode.compress([1] * len(episode)) == episode.text


@pytest.mark.parametrize("unit", ["token", "word"])
@given(text=texts_with_numbers)
def test_free_text_and_prompts_are_protected_alike(unit: str, text: str) -> None:
    core = text.strip()
    rules = {"force_keep": ["\n", "m", re.compile("^an?")], "keep_digits": True}
    free = DROP_ALL[unit](core, **rules)
    prompt = DROP_ALL[unit](instruction=core, **rules)
    assert prompt.text == f"Instruction: {free.text}\nOutput: \n"
    builder = EpisodeBuilder(BUILT["gpt2"], AlpacaTemplate(), unit, **rules)  # type: ignore[arg-type]
    [episode] = builder([Prompt("0", core)])
    assert (episode.spans, episode.droppable.tolist()) == (prompt.units, list(prompt.droppable))


@pytest.mark.parametrize("unit", ["token", "word"])
def test_white_space_around_a_text_can_be_kept(unit: str) -> None:
    drop_all = DROP_ALL[unit]
    assert drop_all("\none two\n\n", force_keep=["\n"]).text == "\n\n\n"
    assert drop_all("one\n 5\n", force_keep=["\n"], keep_digits=True).text == "\n 5\n"
    assert drop_all(" one two\n", force_keep=["two\n"]).text == " two\n"
    assert drop_all("\n one \n").text == ""
    text = "\none two\n\n"
    keep_all = compressor(BUILT["gpt2"], unit=unit, bias=20.0)(text, force_keep=["\n"])
    assert keep_all.text == text
    assert "".join(text[start:end] for start, end in keep_all.units) == text


def test_a_protection_can_be_joined_and_copied() -> None:
    both = Protection(["a"]) | Protection([re.compile("b")], keep_digits=True)
    assert both("a x b x 3 x") == Protection(["a", "b"], keep_digits=True)("a x b x 3 x")
    assert pickle.loads(pickle.dumps(both))("a x b x 3 x") == both("a x b x 3 x")
