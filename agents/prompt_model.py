"""Small causal language model of micro's prompts, for agents that rank units by surprisal.

micro's own generators were trained only on answers and cannot score prompts. This model was trained
on the prompts of the train split by

    python -m agents.prompt_model

which reproduces it exactly on the same machine, within minutes on one CPU core.
"""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import torch

from agents.surprisal import PROMPT_MODEL
from pcrl_gym.episodes.tokenizers import TextEncoder, load_tokenizer
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.progress import progress_bar
from pcrl_gym.prompts.datasets import dataset_checksum
from pcrl_gym.prompts.template import make_template
from pcrl_gym.storage.atomic import write_file

CONTEXT = 256
UPDATES, BATCH, LR, SEED = 1_500, 64, 3e-3, 0


def main() -> int:
    """Train the model, evaluate it on validation_seen, and save it."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from agents.seeding import isolated_random_state

    tokenizer = load_tokenizer("micro")
    train = load_prompts("micro", "train")
    texts = _ids(train)
    with isolated_random_state():
        torch.manual_seed(SEED)
        model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=len(tokenizer), n_positions=CONTEXT, n_embd=96, n_layer=2, n_head=4,
                resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, attn_implementation="eager",
                bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
            )
        )  # fmt: skip
        _train(model, texts, tokenizer.eos_token_id)
    held_out = _nats(model, _ids(load_prompts("micro", "validation_seen")), tokenizer.eos_token_id)
    print(f"validation_seen: {held_out:.3f} nats per token", file=sys.stderr)
    model.half().save_pretrained(PROMPT_MODEL)
    tokenizer.save_pretrained(PROMPT_MODEL)
    facts = {
        "data": "prompts of micro's train split",
        "checksum": dataset_checksum(train),
        "command": "python -m agents.prompt_model",
        "updates": UPDATES,
        "parameters": sum(p.numel() for p in model.parameters()),
        "validation_seen_nats_per_token": round(held_out, 3),
    }
    write_file(PROMPT_MODEL / "training.json", json.dumps(facts, indent=2) + "\n")
    return 0


def _ids(prompts) -> list[list[int]]:
    template = make_template("alpaca", None)
    encoder = TextEncoder(load_tokenizer("micro"))
    return [list(e.ids) for e in encoder.encodings([template.render(p).text for p in prompts])]


def _train(model, texts: list[list[int]], start: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), LR, weight_decay=0.01)
    rng = np.random.default_rng(SEED)
    for update in progress_bar(iterable=range(UPDATES), desc="train prompt model", unit="update"):
        for group in optimizer.param_groups:
            warmed = min(1.0, (update + 1) / 50)
            group["lr"] = LR * warmed * 0.5 * (1 + math.cos(math.pi * update / UPDATES))
        loss = _loss(model, [texts[i] for i in rng.integers(0, len(texts), BATCH)], start)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


@torch.inference_mode()
def _nats(model, texts: list[list[int]], start: int) -> float:
    parts = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
    nats = sum(float(_loss(model, part, start)) * sum(map(len, part)) for part in parts)
    return nats / sum(map(len, texts))


def _loss(model, texts: list[list[int]], start: int) -> torch.Tensor:
    width = 1 + max(map(len, texts))
    ids = torch.full((len(texts), width), start)
    labels = torch.full_like(ids, -100)
    for row, text in enumerate(texts):
        ids[row, 1 : 1 + len(text)] = labels[row, 1 : 1 + len(text)] = torch.tensor(text)
    return model(input_ids=ids, labels=labels).loss


if __name__ == "__main__":
    sys.exit(main())
