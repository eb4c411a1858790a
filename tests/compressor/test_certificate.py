"""Certificates: which calls have one, and how it is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import models
from pcrl_gym import Compressor
from policies import CERTIFICATE, TEXT, compressor

POLICY = compressor(models.gpt2_tokenizer(), max_units=24)
CERTIFIED = compressor(models.gpt2_tokenizer(), max_units=24, certificate=CERTIFICATE)


def test_calls_without_a_rate_use_that_of_the_certificate():
    done = CERTIFIED(TEXT)
    assert done.certificate == CERTIFICATE
    assert done == replace(POLICY(TEXT, rate=0.5), certificate=CERTIFICATE)
    assert done.to_dict()["certificate"] == CERTIFICATE.to_dict()
    assert CERTIFIED(instruction=TEXT).certificate == CERTIFICATE
    assert [one.certificate for one in CERTIFIED([TEXT, "a b"])] == [CERTIFICATE] * 2


def test_other_settings_are_not_certified():
    """Protected units make room for others to be dropped, which no calibration has tried."""
    assert CERTIFIED(TEXT, rate=0.5).certificate is None
    for amount in ({"rate": 0.0}, {"rate": 0.1}, {"target_tokens": 10}):
        assert CERTIFIED(TEXT, **amount) == POLICY(TEXT, **amount)
    for kept in (
        {"force_keep": ["apple"]},
        {"keep_digits": True},
        {"keep": ["apple"]},
        {"protect": "constraints"},
    ):
        assert CERTIFIED(TEXT, **kept) == POLICY(TEXT, rate=0.5, **kept)
        assert CERTIFIED(TEXT, **kept).certificate is None
    assert CERTIFIED(TEXT, count_with=len, batch_size=1).certificate == CERTIFICATE
    assert POLICY(TEXT).to_dict()["certificate"] is None


def test_messages_and_contexts_are_not_certified_and_have_its_rate():
    chat = [{"role": "user", "content": TEXT}]
    assert CERTIFIED(messages=chat) == POLICY(messages=chat, rate=0.5)
    assert CERTIFIED(messages=chat, target_tokens=9) == POLICY(messages=chat, target_tokens=9)
    question = {"question": TEXT, "context": [TEXT, f"{TEXT}, fig"]}
    assert CERTIFIED(**question) == POLICY(**question, rate=0.5)
    given, same = ({**question, "context_rates": [0.1, rate]} for rate in (None, 0.5))
    assert CERTIFIED(**given) == POLICY(**same)


def test_it_is_saved_with_the_policy(tmp_path: Path):
    CERTIFIED.save_pretrained(tmp_path / "policy")
    loaded = Compressor.from_pretrained(tmp_path / "policy", device="cpu")
    assert loaded.certificate == CERTIFICATE
    assert loaded(TEXT) == CERTIFIED(TEXT)
    card = (tmp_path / "policy" / "README.md").read_text()
    assert str(CERTIFICATE) in card
    assert "| 100: toy, split train |" in card
    with pytest.raises(ValueError, match=r"holds only for the current weights.*float16"):
        CERTIFIED.save_pretrained(tmp_path / "half", dtype=torch.float16)
    assert not (tmp_path / "half").exists()


def test_older_folders_have_none_and_damaged_ones_are_refused(tmp_path: Path):
    POLICY.save_pretrained(tmp_path / "policy")
    path = tmp_path / "policy" / "compressor.json"
    assert "Certificate" not in (tmp_path / "policy" / "README.md").read_text()
    settings = json.loads(path.read_text())
    del settings["certificate"]
    path.write_text(json.dumps(settings))
    assert Compressor.from_pretrained(tmp_path / "policy", device="cpu").certificate is None
    for changes in ({"rate": 2.0}, {"rate": "much"}, {"prompts": None}, {"date": "x"}):
        settings["certificate"] = CERTIFICATE.to_dict() | changes
        path.write_text(json.dumps(settings))
        with pytest.raises(ValueError, match="an invalid certificate"):
            Compressor.from_pretrained(tmp_path / "policy", device="cpu")
    settings["certificate"] = CERTIFICATE.to_dict() | {"later": 1}
    path.write_text(json.dumps(settings))
    assert Compressor.from_pretrained(tmp_path / "policy").certificate == CERTIFICATE


def test_the_sentence():
    assert str(CERTIFICATE) == (
        "At rate 0.5, at most 10% of the answers are lost, with 90% confidence "
        "(4 of 100 were, and 37.5% of the tokens saved)."
    )
