"""Hand-made observations for the tests of agents, in the environment's form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PREFIX = "Instruction: "


def prompt_batch(
    instructions: list[str], max_units: int = 24, pattern: str = r"\s*\S+"
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Return (observations, infos) of prompts "Instruction: ..." whose first unit is protected.

    Units are the matches of `pattern`; the unit id is derived from the unit's text.
    """
    shape = (len(instructions), max_units)
    observations = {
        "input_ids": np.zeros(shape, dtype=np.int64),
        "attention_mask": np.zeros(shape, dtype=np.int8),
        "droppable": np.zeros(shape, dtype=np.int8),
    }
    infos = []
    for row, instruction in enumerate(instructions):
        text = PREFIX + instruction
        start = len(PREFIX)
        spans = [(0, start), *(m.span() for m in re.compile(pattern).finditer(text, start))]
        width = min(len(spans), max_units)
        observations["input_ids"][row, :width] = [
            sum(map(ord, text[a:b])) % 97 + 1 for a, b in spans[:width]
        ]
        observations["attention_mask"][row, :width] = 1
        observations["droppable"][row, 1:width] = 1
        infos.append(
            {
                "prompt": text,
                "spans": np.array(
                    (spans + [(len(text), len(text))] * max_units)[:max_units], dtype=np.int64
                ),
                "instruction": instruction,
                "input": "",
                "prompt_id": f"p{row}",
            }
        )
    return observations, infos


def kept_text(info: dict[str, Any], keep: np.ndarray) -> str:
    """Return the text that is left, without the protected prefix; units past the mask are kept."""
    spans = info["spans"]
    flags = np.concatenate([keep, np.ones(max(0, len(spans) - len(keep)), dtype=keep.dtype)])
    text = "".join(info["prompt"][a:b] for (a, b), kept in zip(spans, flags, strict=False) if kept)
    return text.removeprefix(PREFIX).strip()


def by_hand(folder: Path, text: str) -> list[tuple[tuple[int, int], float]]:
    """Offsets and surprisals of a text's tokens from one plain forward pass."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    start = tokenizer.bos_token_id
    start = tokenizer.eos_token_id if start is None else start
    ids = torch.tensor([[start, *encoded["input_ids"]]])
    with torch.no_grad():
        logits = model(ids).logits[0].double()
    log_probs = torch.log_softmax(logits, -1)
    return [
        (tuple(span), -log_probs[place, ids[0, place + 1]].item())
        for place, span in enumerate(encoded["offset_mapping"])
    ]
