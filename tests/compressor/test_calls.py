"""The forms of a call: whole words, what is kept, undo, messages, a question with context."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.compressor.messages import CompressedMessages
from pcrl_gym.compressor.undo import restore
from pcrl_gym.episodes.groups import word_groups
from policies import TEXT, compressor
from texts import nasty_text

TOKENIZER = models.gpt2_tokenizer()
HALF = compressor(TOKENIZER, max_units=24)
WORDS = compressor(TOKENIZER, max_units=24, whole_words=True)
DROP_ALL = compressor(TOKENIZER, bias=-20.0, max_units=24)
LONG = "Ask Ms Ada Lovelace, not Bob, for unbelievable 1 250,75 reasons in New York City."


def count(text: str) -> int:
    return len(TOKENIZER(text, add_special_tokens=False)["input_ids"])


@given(st.one_of(nasty_text, st.just(LONG)), st.one_of(st.none(), st.floats(0, 1)))
def test_whole_words_are_kept_or_dropped_together(text: str, rate: float | None):
    done = WORDS(text, rate=rate)
    episode = done.episode
    groups = word_groups(episode.text, episode.spans, episode.droppable)
    assert done.droppable == tuple((groups >= 0).tolist())
    fates: dict[int, set[tuple[bool, float]]] = {}
    for group, keep, chance in zip(groups, done.kept, done.keep_probabilities, strict=True):
        fates.setdefault(int(group), set()).add((keep, chance))
    assert all(len(fate) == 1 for group, fate in fates.items() if group >= 0)
    assert fates.get(-1, {(True, 1.0)}) == {(True, 1.0)}
    if rate is not None:
        assert done.kept.count(False) <= rate * sum(done.droppable) + 1e-9


def test_names_and_numbers_come_whole_at_every_rate():
    cut = set()
    for percent in range(0, 101, 5):
        text = WORDS(LONG, rate=percent / 100).text
        for thing in ("Ms Ada Lovelace", "unbelievable", "1 250,75", "New York City"):
            assert thing in text or not any(word in text for word in thing.split())
        cut.add(text)
    assert len(cut) > 8


def test_whole_words_are_stored_and_older_folders_have_none(tmp_path: Path):
    WORDS.save_pretrained(tmp_path / "words")
    path = tmp_path / "words" / "compressor.json"
    loaded = Compressor.from_pretrained(tmp_path / "words", device="cpu")
    assert loaded(LONG, rate=0.5) == WORDS(LONG, rate=0.5) != HALF(LONG, rate=0.5)
    assert "whole words" in (tmp_path / "words" / "README.md").read_text()
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"whole_words": "yes"}))
    with pytest.raises(ValueError, match="needs 'whole_words' to be true or false, got 'yes'"):
        Compressor.from_pretrained(tmp_path / "words", device="cpu")
    del settings["whole_words"]
    path.write_text(json.dumps(settings))
    loaded = Compressor.from_pretrained(tmp_path / "words", device="cpu")
    assert loaded(LONG, rate=0.5) == HALF(LONG, rate=0.5)


def test_matches_of_expressions_are_kept_as_whole_words():
    text = "Do not say nothing about s.x or sax in 1999"
    assert DROP_ALL(text, keep=[r"\bnot\b", r"\d+"]).text == " not  1999"
    assert DROP_ALL(text, keep=["not"]).text == " not  nothing "
    assert DROP_ALL(text, keep=[re.compile("DO", re.IGNORECASE)]).text == "Do "
    # The same string is an expression for one and literal for the other.
    assert DROP_ALL(text, keep=["s.x"]).text == " s.x  sax "
    assert DROP_ALL(text, force_keep=["s.x"]).text == " s.x "
    assert DROP_ALL(text, keep=["Do"], force_keep=["sax"]).text == "Do  sax "


@given(nasty_text, st.floats(0, 1), st.booleans())
def test_the_original_comes_back_from_what_was_dropped(text: str, rate: float, words: bool):
    done = (WORDS if words else HALF)(text, rate=rate)
    assert restore(done.text, done.dropped) == text
    stored = json.loads(json.dumps(done.to_dict()))
    assert restore(stored["text"], stored["dropped"]) == text
    assert "".join(piece for _, piece in done.dropped) == "".join(
        text[a:b] for a, b in done.dropped_spans
    )


def test_markers_stand_where_something_was_dropped():
    done = DROP_ALL("Please sort these: fig", force_keep=["sort"])
    assert done.text == " sort "
    assert done.text_with("[...]") == "[...] sort [...]"
    assert HALF(TEXT, rate=0.0).text_with("#") == TEXT


CHAT = [
    {"role": "system", "content": TEXT},
    {"role": "user", "content": TEXT, "name": "Ada"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
    {"role": "tool", "content": TEXT, "tool_call_id": "1"},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": TEXT, "cache_control": {"type": "ephemeral"}},
            {"type": "image_url", "image_url": {"url": "data:,"}},
            {"type": "text", "text": f"{TEXT}, fig"},
        ],
    },
]


def changed(done: CompressedMessages) -> list[int]:
    """Indices of the messages that are not the same."""
    return [i for i, pair in enumerate(zip(CHAT, done.messages, strict=True)) if pair[0] != pair[1]]


def test_only_users_are_compressed_and_all_else_stays():
    given_before = copy.deepcopy(CHAT)
    done = HALF(messages=CHAT, rate=0.5)
    assert given_before == CHAT
    assert changed(done) == [1, 4]
    short = HALF(TEXT, rate=0.5).text
    assert done.messages[1] == {"role": "user", "content": short, "name": "Ada"}
    first, image, last = done.messages[4]["content"]
    assert first == {"type": "text", "text": short, "cache_control": {"type": "ephemeral"}}
    assert image == CHAT[4]["content"][1]
    assert last["text"] == HALF(f"{TEXT}, fig", rate=0.5).text
    assert [one.text for one in done.compressions] == [short, short, last["text"]]
    assert [tuple(place) for place in done.places] == [(1, None), (4, 0), (4, 2)]
    assert done.original_tokens == 4 * count(TEXT) + count(f"{TEXT}, fig")
    assert done.compressed_tokens == 2 * count(TEXT) + 2 * count(short) + count(last["text"])
    assert done.summary() == f"{100 * done.compression_ratio:.0f}% fewer tokens ({_factor(done)}x)"
    assert json.loads(json.dumps(done.to_dict()))["messages"] == done.messages


def _factor(done: CompressedMessages) -> str:
    return f"{done.original_tokens / done.compressed_tokens:.1f}"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"roles": ("user", "tool")}, [1, 3, 4]),
        ({"roles": ["system"]}, [0]),
        ({"roles": ()}, []),
        ({"cache_until": 0}, [1, 4]),
        ({"cache_until": 1}, [1, 4]),
        ({"cache_until": 2}, [4]),
        ({"cache_until": 4}, [4]),
        ({"cache_until": 5}, []),
        ({"cache_until": -1}, [4]),
        ({"cache_until": -5}, [1, 4]),
    ],
)
def test_roles_and_the_cached_beginning(choice: dict, expected: list[int]):
    done = HALF(messages=CHAT, rate=0.5, **choice)
    assert changed(done) == expected
    assert len({place.message for place in done.places}) == len(expected)


def test_no_messages_are_no_problem():
    done = HALF(messages=[])
    assert (done.messages, done.compressions, done.original_tokens) == ([], (), 0)
    assert done.summary() == "0% fewer tokens"


def test_the_question_stays_and_each_text_of_the_context_has_its_rate():
    context = [TEXT, f"{TEXT}, fig", ""]
    done = HALF(question=f" {TEXT}?\n", context=context, context_rates=[0.2, None, 1.0])
    assert done.question == f" {TEXT}?\n"
    assert done.context == [HALF(TEXT, rate=0.2).text, HALF(f"{TEXT}, fig").text, ""]
    assert done.original_tokens == sum(map(count, [done.question, *context]))
    assert done.compressed_tokens == sum(map(count, [done.question, *done.context]))
    same = HALF(question="Why?", context=context, rate=0.5)
    assert same.context == [one.text for one in HALF(context, rate=0.5)]
    assert json.loads(json.dumps(same.to_dict()))["context"] == same.context
    assert HALF(question="Why?", context=[]).context == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": "a", "messages": []}, "pass exactly one of text"),
        ({"question": "a"}, "pass exactly one of text, .* or question= with context="),
        ({"text": "a", "context": ["b"]}, "pass exactly one of text"),
        ({"messages": [], "input": "b"}, "pass exactly one of text"),
        ({"messages": "hi"}, "messages must be a list of messages, got str"),
        ({"messages": {"role": "user"}}, "messages must be a list of messages, got dict"),
        ({"messages": ["hi"]}, r"messages\[0\] must look like"),
        ({"messages": [{"content": "hi"}]}, r"messages\[0\] must look like"),
        (
            {"messages": [{"role": "user", "content": "\ud800"}]},
            r"messages\[0\]\['content'\] is no",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            r"messages\[0\]\['content'\]\[0\]\['text'\] must be a string, got NoneType",
        ),
        ({"messages": CHAT, "roles": "user"}, "roles must be a sequence of strings"),
        ({"messages": CHAT, "cache_until": 6}, "cache_until must be an index into the 5 messages"),
        ({"messages": CHAT, "cache_until": True}, "cache_until must be an index"),
        ({"question": 3, "context": []}, "question must be a string, got int"),
        ({"question": "a", "context": "b"}, "context must be a list of strings, got 'b'"),
        ({"question": "a", "context": [3]}, r"context\[0\] must be a string"),
        (
            {"question": "a", "context": ["b"], "context_rates": [0.1, 0.2]},
            r"context_rates must be a list with one rate per text \(1\)",
        ),
        (
            {"question": "a", "context": ["b"], "context_rates": [2]},
            r"context_rates\[0\] must be between",
        ),
        (
            {"question": "a", "context": ["b"], "context_rates": [0.1], "rate": 0.2},
            "context_rates cannot be combined with rate, target_tokens, or tolerance",
        ),
        ({"text": "a", "context_rates": [0.1]}, "context_rates requires question="),
        ({"text": "a", "roles": ("tool",)}, "roles and cache_until require messages="),
        ({"text": "a", "cache_until": 1}, "roles and cache_until require messages="),
        ({"text": "a", "keep": "not"}, r"keep must be a sequence .* write keep=\['not'\]"),
        ({"text": "a", "keep": [""]}, r"keep\[0\] must not be empty"),
        ({"text": "a", "keep": ["ok", "("]}, r"keep\[1\] is not a valid regular expression: '\('"),
        ({"text": "a", "keep": [3]}, r"keep\[0\] is not a valid regular expression: 3"),
        ({"text": "a", "protect": "all"}, "protect must be 'constraints' or None, got 'all'"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        HALF(**arguments)
