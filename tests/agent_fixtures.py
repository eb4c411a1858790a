"""Hand-made observations for the tests of agents, in the environment's form."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from agents.base import Agent
from agents.network_agent import NetworkAgent
from pcrl_gym.prompts.prompt import Prompt

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


def check_rate(agent: Agent, rate: float, counts: list[int]) -> None:
    """See that an agent drops the share `rate` of prompts with so many droppable units."""
    observations, infos = prompt_batch([" ".join("abcdefghijkl"[:n]) for n in counts], 10)
    agent.rate = rate
    masks = agent.act(observations, infos)
    droppable = observations["droppable"].astype(bool)
    dropped = (droppable & (masks == 0)).sum(1)
    np.testing.assert_array_equal(dropped, np.floor(rate * droppable.sum(1) + 1e-9))
    assert (masks[:, 0] == 1).all()


def weights(agent: NetworkAgent) -> torch.Tensor:
    """Return all weights of an agent in one row."""
    return torch.cat([p.flatten() for p in agent.network.state_dict().values()])


KEYS = ("red", "blue", "green")
FILLERS = ("please", "now", "then", "well", "so", "the", "a", "just")


def named_colours(text: str) -> str:
    """Answer that survives as long as no colour is dropped."""
    return " ".join(word for word in text.split() if word in KEYS)


def colour_prompts(count: int = 40) -> list[Prompt]:
    rng = np.random.default_rng(0)
    prompts = []
    for i in range(count):
        words = [*rng.choice(KEYS, 2), *rng.choice(FILLERS, 6)]
        prompts.append(Prompt(str(i), " ".join(map(str, rng.permutation(words)))))
    return prompts


def check_take_over(build: Callable[[], NetworkAgent], make_env: Callable, updates: int) -> None:
    """See that a learner that takes over goes on as the first one would have."""
    unbroken, resumed = build(), build()
    learner = unbroken.start(make_env)
    for update in range(updates):
        learner.update(update / updates)
        if update == updates // 2 - 1:
            network = {k: v.clone() for k, v in learner.network.state_dict().items()}
            state = {k: v.clone() for k, v in learner.state().items()}
    second = resumed.start(make_env)
    second.network.load_state_dict(network)
    second.load_state(state)
    for update in range(second.updates, updates):
        second.update(update / updates)
    assert torch.equal(weights(unbroken), weights(resumed))
