"""Pruned encoders read the tokens that are left as the whole encoder with as many layers does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

import models
from agents.__main__ import main
from agents.pruned_encoder import prune_encoder
from pcrl_gym import Compressor
from pcrl_gym.compressor.network import KeepNetwork, pretrained_encoder
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


def test_an_exported_policy_gives_its_encoder(bert_folder: Path, tmp_path: Path) -> None:
    network = KeepNetwork(pretrained_encoder(bert_folder))
    policy = Compressor(network, bert_folder, max_units=32, device="cpu")
    policy.save_pretrained(tmp_path / "policy")
    prune_encoder(tmp_path / "policy", tmp_path / "small", TEXTS, layers=1, min_count=1)
    first = [own.encoder.layer[0].output.dense.weight for own in (
        network.encoder, pretrained_encoder(tmp_path / "small")
    )]  # fmt: skip
    assert torch.equal(*first)


def test_special_tokens_move_with_their_ids(bert_folder: Path, tmp_path: Path) -> None:
    """Of tokenizers as BERT's, whose first ids are never used."""
    tokenizer = load_tokenizer(bert_folder)
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    shift = {token: i + 7 for token, i in state["model"]["vocab"].items()}
    state["model"]["vocab"] = {f"[unused{i}]": i for i in range(7)} | shift
    for token in state["added_tokens"]:
        token["id"] += 7
    cls, sep = ("[CLS]", shift["[CLS]"]), ("[SEP]", shift["[SEP]"])
    state["post_processor"] = {"type": "BertProcessing", "cls": cls, "sep": sep}
    encoder = pretrained_encoder(bert_folder)
    encoder.resize_token_embeddings(len(state["model"]["vocab"]))
    encoder.save_pretrained(tmp_path / "shifted")
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)), **tokenizer.special_tokens_map
    ).save_pretrained(tmp_path / "shifted")
    prune_encoder(tmp_path / "shifted", tmp_path / "small", TEXTS, layers=1, min_count=1)
    pruned = load_tokenizer(tmp_path / "small")
    tokens = pruned.convert_ids_to_tokens(pruned(TEXTS[0])["input_ids"])
    assert (tokens[0], tokens[-1]) == ("[CLS]", "[SEP]")
    assert "[unused0]" not in pruned.get_vocab()


def test_the_command_writes_a_folder(
    bert_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(bert_folder), str(tmp_path / "small"), "--layers", "1", "--dataset", "micro"]
    assert main(["prune-encoder", *words]) == 0
    assert "--set encoder=" in capsys.readouterr().out
    assert len(pretrained_encoder(tmp_path / "small").encoder.layer) == 1


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
    with pytest.raises(ValueError, match="already exists: choose another folder"):
        prune_encoder(bert_folder, pruned, TEXTS, layers=1)
    with pytest.raises(ValueError, match="expected layers to be an integer >= 1, got 0"):
        prune_encoder(bert_folder, tmp_path / "a", TEXTS, layers=0)
    with pytest.raises(ValueError, match=r"at least 9 layers, but .* has 2 layers"):
        prune_encoder(bert_folder, tmp_path / "a", TEXTS, layers=9)
    with pytest.raises(ValueError, match="expected a WordPiece tokenizer, such as BERT's, got BPE"):
        prune_encoder(roberta_folder, tmp_path / "a", TEXTS, layers=1)
    with pytest.raises(ValueError, match="no bidirectional text encoder"):
        prune_encoder(gpt2_folder, tmp_path / "a", TEXTS, layers=1)
    assert not (tmp_path / "a").exists()
