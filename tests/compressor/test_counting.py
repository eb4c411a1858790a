"""Counts in the tokens of a tokenizer that the user names."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import models
from pcrl_gym.compressor.counting import token_counter
from pcrl_gym.episodes.tokenizers import TextEncoder
from pcrl_gym.errors import MissingExtraError
from policies import TEXT, compressor

TOKENIZER = models.gpt2_tokenizer()
ENCODER = TextEncoder(TOKENIZER)
HALF = compressor(TOKENIZER, max_units=24)


class Encoding:
    """One token per character, and none for a special token."""

    def __init__(self, name: str) -> None:
        self.name = name

    def encode_ordinary(self, text: str) -> list[int]:
        return list(map(ord, text))


@pytest.fixture
def tiktoken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A module of that name; the names that it was asked for come back."""
    asked: list[str] = []

    def for_model(name: str) -> Encoding:
        if name == "gpt-0":
            raise KeyError("Could not automatically map gpt-0 to a tokeniser")
        asked.append(name)
        return Encoding("o200k_base")

    def get_encoding(name: str) -> Encoding:
        asked.append(name)
        return Encoding(name)

    fake = SimpleNamespace(
        encoding_for_model=for_model,
        get_encoding=get_encoding,
        list_encoding_names=lambda: ["cl100k_base", "o200k_base"],
    )
    monkeypatch.setitem(sys.modules, "tiktoken", fake)
    return asked


def test_tiktoken_counts_for_openai_models(tiktoken: list[str]):
    count = token_counter("gpt-4o-test", ENCODER)
    assert count(["abc", "", "<|endoftext|>"]) == [3, 0, 13]
    assert token_counter("gpt-4o-test", ENCODER)(["ab"]) == [2]
    assert token_counter("o200k_base", ENCODER)(["ab"]) == [2]
    assert tiktoken == ["gpt-4o-test", "o200k_base"]  # each is loaded once
    done = HALF(TEXT, target_tokens=40, count_with="gpt-4o-test")
    assert (done.original_tokens, done.compressed_tokens) == (len(TEXT), len(done.text))
    assert len(done.text) <= 40


def test_unknown_models_are_refused(tiktoken: list[str]):
    with pytest.raises(ValueError, match=r"the model 'gpt-0': .*cl100k_base, o200k_base"):
        token_counter("gpt-0", ENCODER)


def test_without_tiktoken_the_install_line_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    for name in ("gpt-5-missing", "chatgpt-missing", "o9-missing", "x9k_base"):
        with pytest.raises(MissingExtraError, match=r"pip install 'pcrl-gym\[tiktoken\]'"):
            HALF(TEXT, count_with=name)


def test_folders_names_and_tokenizers_count(bert_folder: Path):
    for given in (bert_folder, str(bert_folder), models.bert_tokenizer()):
        done = HALF(TEXT, count_with=given)
        expected = models.bert_tokenizer()([TEXT, done.text], add_special_tokens=False)["input_ids"]
        assert [done.original_tokens, done.compressed_tokens] == list(map(len, expected))
    assert HALF(TEXT, count_with="micro").original_tokens != HALF(TEXT).original_tokens


def test_a_folder_goes_before_a_model_of_the_same_name(
    bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    (tmp_path / "gpt-4o-folder").symlink_to(bert_folder)
    monkeypatch.chdir(tmp_path)
    expected = HALF(TEXT, count_with=bert_folder).original_tokens
    assert HALF(TEXT, count_with="gpt-4o-folder").original_tokens == expected


def test_a_function_counts_all_of_a_prompt():
    done = HALF(instruction=TEXT, input="a b", rate=0.5, count_with=lambda text: len(text))
    assert done.original_tokens == len(done.original)
    assert done.compressed_tokens == len(done.text)
    assert done.template_tokens == len("Instruction: \nInput: \nOutput: \n")


@pytest.mark.parametrize("value", [-1, 2.0, None, True])
def test_a_function_must_count(value: object):
    with pytest.raises(ValueError, match="count_with must return an integer of at least 0"):
        HALF(TEXT, count_with=lambda text: value)  # type: ignore[arg-type, return-value]


def test_what_is_no_tokenizer_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="no-such-tokenizer"):
        HALF(TEXT, count_with=str(tmp_path / "no-such-tokenizer"))
    with pytest.raises(ValueError, match="has no fast version"):
        HALF(TEXT, count_with=3)  # type: ignore[arg-type]
