"""What is certain of an unfinished answer."""

from __future__ import annotations

import re

import pytest

import models
from pcrl_gym.generators.speculative.partial_text import GrowingText


@pytest.mark.parametrize("name", sorted(models.TOKENIZERS))
def test_most_words_of_a_token(name: str) -> None:
    tokenizer = models.TOKENIZERS[name]()
    most = GrowingText(tokenizer).words_per_token
    if name == "bert":
        assert most is None  # its decoder joins pieces: text that is there may change
        return
    assert most is not None
    for text in ("Write 12 plums, don't!", "a.b.c d-e-f", "猫K K!"):
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        for n in range(len(tokens)):
            before, after = (
                len(re.findall("[a-z0-9]+", tokenizer.decode(tokens[:k]).lower()))
                for k in (n, n + 1)
            )
            assert after - before <= most


def test_a_run_of_bytes_is_not_certain_before_it_is_over() -> None:
    tokenizer = models.llama_tokenizer()
    growing = GrowingText(tokenizer)
    letter, half = tokenizer.convert_tokens_to_ids(["<0x5A>", "<0xE7>"])
    plum = tokenizer(" plums", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode([*plum, letter]).endswith("Z")
    assert not tokenizer.decode([*plum, letter, half]).startswith(tokenizer.decode([*plum, letter]))
    assert growing.certain([*plum, letter]) == tokenizer.decode(plum) + "\ufffd"
    assert growing.certain([*plum, letter, half]) == tokenizer.decode(plum) + 2 * "\ufffd"
    assert growing.certain([letter, *plum]) == tokenizer.decode([letter, *plum])


def test_special_tokens_do_not_end_a_run_of_bytes() -> None:
    """Decoding leaves them out, so that the bytes on both sides are one run."""
    tokenizer = models.llama_tokenizer()
    letter, half = tokenizer.convert_tokens_to_ids(["<0x5A>", "<0xE7>"])
    special = tokenizer.bos_token_id
    run = tokenizer.decode([letter, special, half], skip_special_tokens=True)
    assert "Z" not in run
    assert GrowingText(tokenizer).certain([letter, special]) == "\ufffd"
    assert GrowingText(tokenizer).certain([letter, special, half, special]) == 2 * "\ufffd"
