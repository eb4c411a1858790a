"""The data files of instruct and their prompts."""

from __future__ import annotations

import json
import lzma
from functools import cache
from importlib.resources import files

from pcrl_gym.prompts.prompt import Prompt

CHECKSUMS = {
    "train": "4df5f8b9a07c62c97ec577a395851429d3f7bd8bdb8d77a77a17ccf1a28a3a74",
    "validation_seen": "103bb2a29490800c4cbc98f9affcd35cbba9757d44ab79c009f585fccb0d32a9",
    "validation_unseen": "74d9207d6829302a966a44494d780cfadb37873eafb894cafd91a3b69e0e6fa6",
    "validation_human": "6b5561037bcfee9f92af6093b5965a35f08085970ad98732987c66797237aaa1",
}
"""Checksum of each split, see `prompts.datasets.dataset_checksum`."""

_ONE_BY_ONE = ("validation_unseen", "validation_human")


@cache
def lines_of(name: str) -> tuple[str, ...]:
    """Return the lines of a file in this folder, decompressing `.xz` files."""
    content = (files(__package__) / name).read_bytes()
    text = lzma.decompress(content) if name.endswith(".xz") else content
    return tuple(text.decode("utf-8").split("\n")[:-1])


def instruct_prompts(split: str) -> list[Prompt]:
    """Return the prompts of one split of instruct.

    Args:
        split: "train" or "validation_seen" (written by SmolLM2, without answers; see `write`);
            "validation_unseen" (written one by one, with an example answer); or "validation_human"
            (written one by one, with an answer that the prompt's `check` can verify).

    Returns:
        Prompts with their kind as `source`.

    Raises:
        ValueError: If the split is unknown.
    """
    if split not in CHECKSUMS:
        raise ValueError(f"instruct has the splits {', '.join(CHECKSUMS)}, got {split!r}")
    rows = map(json.loads, lines_of(f"{split}.jsonl" + ("" if split in _ONE_BY_ONE else ".xz")))
    return [Prompt(id=f"instruct:{split}:{number}", **row) for number, row in enumerate(rows)]


def held_out_texts() -> list[str]:
    """Return the texts of the prompts that no generated prompt may resemble."""
    prompts = [prompt for split in _ONE_BY_ONE for prompt in instruct_prompts(split)]
    return [f"{prompt.instruction}\n{prompt.input}" for prompt in prompts]
