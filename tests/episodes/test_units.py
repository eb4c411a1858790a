from __future__ import annotations

import re
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import TOKENIZERS
from pcrl_gym.episodes.tokenizers import TextEncoder
from pcrl_gym.episodes.units import Span, first_tokens, split_units
from texts import NASTY_TEXTS, nasty_text

ENCODERS = {name: TextEncoder(build()) for name, build in TOKENIZERS.items()}
every_tokenizer = pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS.keys())


def units_of(encoder: TextEncoder, text: str, fixed: tuple[Span, ...] = ()) -> list[str]:
    [encoding] = encoder.encodings([text])
    spans = split_units(text, encoding.offsets, "token", fixed)
    return [text[start:end] for start, end in spans]


def check_partition(text: str, spans: list[Span], fixed: list[Span]) -> None:
    ends = [0, *(end for _, end in spans)]
    assert [start for start, _ in spans] == ends[:-1]
    assert ends[-1] == len(text)
    assert all(start < end for start, end in spans)
    borders = {0, len(text)}.union(*fixed)
    assert borders <= {0, len(text), *ends}
    for start, end in spans:
        alone = start in borders and end in borders
        assert alone or not text[start:end].isspace()


def ranges(text: str) -> st.SearchStrategy[list[Span]]:
    """Return any sorted, non-overlapping ranges of a text that are not empty."""
    positions = st.sets(st.integers(0, len(text)), max_size=6).map(sorted)
    return positions.map(lambda cuts: list(pairwise(cuts))[::2])


@given(st.data())
def test_any_offsets_give_a_partition(data: st.DataObject) -> None:
    text = data.draw(nasty_text)
    position = st.integers(0, len(text))
    offsets = data.draw(st.lists(st.tuples(position, position), max_size=20))
    fixed = data.draw(ranges(text))
    for kind in ("token", "word"):
        spans = split_units(text, offsets, kind, fixed)
        check_partition(text, spans, fixed)
        first = first_tokens(text, spans, offsets)
        assert len(first) == len(spans)
        for (start, end), token in zip(spans, first, strict=True):
            if token is not None:
                assert max(start, offsets[token][0]) < min(end, offsets[token][1])


@every_tokenizer
@given(data=st.data())
def test_real_offsets_give_a_partition(encoder: TextEncoder, data: st.DataObject) -> None:
    text = data.draw(nasty_text)
    fixed = data.draw(ranges(text))
    [encoding] = encoder.encodings([text])
    check_partition(text, split_units(text, encoding.offsets, "token", fixed), fixed)


@every_tokenizer
@pytest.mark.parametrize("text", NASTY_TEXTS, ids=range(len(NASTY_TEXTS)))
def test_units_join_to_the_text(encoder: TextEncoder, text: str) -> None:
    assert "".join(units_of(encoder, text)) == text


@every_tokenizer
def test_white_space_goes_to_the_unit_that_follows(encoder: TextEncoder) -> None:
    units = units_of(encoder, " the\n\nwords  in order \n")
    assert all(unit[-1:].strip() for unit in units[:-1])
    assert units[-1].endswith("r \n")


@pytest.mark.parametrize("name", ["gpt2", "roberta", "llama"])
def test_tokens_that_split_a_character_are_one_unit(name: str) -> None:
    assert units_of(ENCODERS[name], "👍 你好") == ["👍", " 你", "好"]


def test_accents_that_an_uncased_tokenizer_drops_stay_with_their_word() -> None:
    assert units_of(ENCODERS["bert"], "The\u0301 WORDS\x00 in") == [
        "The\u0301",
        " WORDS\x00",
        " in",
    ]


def test_normalized_characters_map_to_the_original() -> None:
    # NFKC makes two characters of the first and three of the second.
    assert units_of(ENCODERS["t5"], "is ﬁ ½ is") == ["is", " ﬁ", " ½", " is"]


@every_tokenizer
def test_units_end_at_the_borders_of_fixed_ranges(encoder: TextEncoder) -> None:
    text = "Instruction: Write the words"
    units = units_of(encoder, text, ((0, 13), (15, 20)))
    assert {13, 15, 20} <= set(accumulate(map(len, units)))


def test_word_units() -> None:
    text = "  don't stop,\tnow! \n"
    spans = split_units(text, [], "word")
    assert [text[start:end] for start, end in spans] == ["  don't", " stop,", "\tnow! \n"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("你好，世界。 再见", ["你", "好，", "世", "界。", " 再", "见"]),
        ("東京「タワー」へ行く!", ["東", "京", "「タワー」", "へ", "行", "く!"]),
        ("iPhone手机(你好)abc", ["iPhone", "手", "机", "(你", "好)", "abc"]),
        ("ก่อนที่ ไป", ["ก่", "อ", "น", "ที่", " ไ", "ป"]),
        ("ສະບາຍ", ["ສ", "ະ", "ບ", "າ", "ຍ"]),
        ("བོད་ཡིག", ["བོད་", "ཡིག"]),
        ("한국어 문장, naïve «x»", ["한국어", " 문장,", " naïve", " «x»"]),
    ],
)
def test_words_of_scripts_without_spaces(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in split_units(text, [], "word")] == words


@given(st.text(st.characters(codec="utf-8", max_codepoint=0xDFF), max_size=60))
def test_words_of_scripts_with_spaces_end_at_white_space(text: str) -> None:
    words = ["".join(pair) for pair in re.findall(r"(\s*)(\S+)", text)]
    units = [text[start:end] for start, end in split_units(text, [], "word")]
    assert [unit.rstrip() for unit in units if unit.strip()] == words


def test_white_space_between_borders_is_a_unit_of_its_own() -> None:
    assert split_units("a  b", [(0, 4)], "token", [(0, 1), (3, 4)]) == [(0, 1), (1, 3), (3, 4)]


def test_first_token_is_the_first_visible_one() -> None:
    spans = [(0, 3), (3, 6), (6, 8)]
    offsets = [(0, 1), (1, 3), (3, 3), (4, 5), (5, 6)]
    assert first_tokens("a b cd\x00\x00", spans, offsets) == [0, 3, None]
    assert first_tokens("  b", [(0, 3)], [(0, 1), (1, 2), (2, 3)]) == [2]
    assert first_tokens("  ", [(0, 2)], [(0, 1), (1, 2)]) == [0]


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match="'token' or 'word', got 'letter'"):
        split_units("a", [], "letter")  # type: ignore[arg-type]
