"""Pruned encoders read the tokens that are left as the whole encoder with as many layers does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import models
from agents.pruned_encoder import prune_encoder
from pcrl_gym.compressor.network import pretrained_encoder
from pcrl_gym.episodes.tokenizers import TextEncoder, load_tokenizer

TEXTS = ["Please sort the numbers from the smallest to the largest: 3 14 15 92 65 35."]


@pytest.fixture
def pruned(bert_folder: Path, tmp_path: Path) -> Path:
    prune_encoder(bert_folder, tmp_path / "small", TEXTS, layers=1, min_count=1)
    return tmp_path / "small"


def test_what_is_left_is_read_as_before(bert_folder: Path, pruned: Path) -> None:
    states = []
    for folder in (bert_folder, pruned):
        encoder, tokenizer = pretrained_encoder(folder), load_tokenizer(folder)
        del encoder.encoder.layer[1:]
        ids = torch.tensor(TextEncoder(tokenizer).prompt_ids(TEXTS))
        tokens = tokenizer.convert_ids_to_tokens(ids[0])
        with torch.no_grad():
            states.append((tokens, encoder.eval()(ids).last_hidden_state))
    assert states[0][0] == states[1][0]
    assert torch.equal(states[0][1], states[1][1])


def test_other_words_are_cut_into_smaller_pieces(bert_folder: Path, pruned: Path) -> None:
    before, after = load_tokenizer(bert_folder), load_tokenizer(pruned)
    assert len(after) < len(before)
    text = next(s for s in models.SENTENCES if "reverse" in s)
    assert len(after(text)["input_ids"]) > len(before(text)["input_ids"])
    assert after.unk_token_id not in after(text)["input_ids"]
    assert after.all_special_tokens == before.all_special_tokens


def test_what_is_wrong_is_said(
    bert_folder: Path, roberta_folder: Path, gpt2_folder: Path, pruned: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="exists: give another folder"):
        prune_encoder(bert_folder, pruned, TEXTS, layers=1)
    with pytest.raises(ValueError, match=r"of 9 or more layers: .* has 2 layers"):
        prune_encoder(bert_folder, tmp_path / "a", TEXTS, layers=9)
    with pytest.raises(ValueError, match="expected a WordPiece tokenizer, as BERT's, got BPE"):
        prune_encoder(roberta_folder, tmp_path / "a", TEXTS, layers=1)
    with pytest.raises(ValueError, match="no bidirectional text encoder"):
        prune_encoder(gpt2_folder, tmp_path / "a", TEXTS, layers=1)
    assert not (tmp_path / "a").exists()
