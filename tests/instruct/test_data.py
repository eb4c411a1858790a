"""The prompts that the package ships."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from pcrl_gym.instruct import CHECKSUMS, instruct_prompts
from pcrl_gym.instruct.data import held_out_texts
from pcrl_gym.instruct.filters import fault, without_duplicates
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.datasets import dataset_checksum
from pcrl_gym.scoring.checks import passes

LEAST = {"train": 12_000, "validation_seen": 500, "validation_unseen": 300, "validation_human": 300}


@pytest.mark.parametrize("split", CHECKSUMS)
def test_splits_are_what_their_checksums_say(split: str) -> None:
    prompts = load_prompts("instruct", split)
    assert dataset_checksum(prompts) == CHECKSUMS[split]
    assert len(prompts) >= LEAST[split]
    texts = {(prompt.instruction, prompt.input) for prompt in prompts}
    assert len(texts) == len(prompts)


def test_splits_share_no_prompt() -> None:
    texts = [(p.instruction, p.input) for split in CHECKSUMS for p in instruct_prompts(split)]
    assert len(set(texts)) == len(texts)
    written = [
        prompt.instruction
        for split in ("train", "validation_seen")
        for prompt in instruct_prompts(split)
        if prompt.source == "request"
    ]
    # Of two that are close, the order of writing decides which stays, and rows are shuffled.
    assert len(without_duplicates(written, held_out_texts())) > 0.99 * len(written)


def test_written_requests_pass_the_filters() -> None:
    for split in ("train", "validation_seen"):
        for prompt in instruct_prompts(split):
            if prompt.source == "request":
                assert fault(prompt.instruction, True) is None


def test_gold_answers_pass_their_own_checks() -> None:
    for prompt in instruct_prompts("validation_human"):
        assert prompt.check
        assert passes(prompt.check, prompt.output, prompt.output), prompt


def test_hand_written_prompts_hold_no_personal_data() -> None:
    for text in held_out_texts():
        assert not re.search(r"\w@\w|https?:|www\.", text)


def test_the_files_are_small_and_the_card_has_their_counts() -> None:
    folder = Path(str(files("pcrl_gym.instruct")))
    size = sum(file.stat().st_size for file in folder.glob("*.jsonl*"))
    assert size <= 3_000_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    for split in CHECKSUMS:
        assert f"| {split} | {len(instruct_prompts(split)):,} |" in card


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(ValueError, match=r"instruct has the splits train, .* got 'test'"):
        instruct_prompts("test")
