"""Train the generators of micro: `python -m pcrl_gym.micro.train {causal,seq2seq}`.

Draws prompts without end from all families and phrasings, half of them in broken wording, never one
of a validation split; the loss is on the answer alone. A run that is started again goes on from its
last checkpoint and ends with the weights of an unbroken one. The result is a Hugging Face folder
with a model card.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from pcrl_gym.datasets import dataset_checksum
from pcrl_gym.micro.families import FAMILIES
from pcrl_gym.micro.tasks import draw, key, micro_prompts, validation_keys
from pcrl_gym.prompt import Prompt
from pcrl_gym.template import AlpacaTemplate

if TYPE_CHECKING:
    from pcrl_gym.generators.hf import HFGenerator

STEPS = {"causal": 8_800, "seq2seq": 8_800}
PAD, END = "<pad>", "</s>"
MAX_NEW_TOKENS = 30
HARD = (
    "filter", "two_lists", "sort_numbers", "alphabetical", "arithmetic", "over_under", "at_most",
    "count_range", "repeat_times", "letter_case", "count_category", "all_but", "swap",
)  # fmt: skip
GOALS = {"validation_seen": 0.97, "validation_unseen": 0.95, "validation_human": 0.80}


@dataclass(frozen=True)
class Config:
    """Everything that decides the weights of one generator."""

    kind: str
    steps: int
    batch: int = 128
    pool: int = 16  # batches that are drawn together and sorted by length
    warmup: int = 200
    decay: float = 0.27  # share of the steps, at the end, in which the learning rate falls to zero
    # Steps in which most prompts come without filler: there the tasks are learned at half the cost.
    # Reading past filler is learned before, and all of it together after. From the first of these
    # steps on, HARD families come twice as often.
    short: tuple[int, int] = (3_600, 6_400)
    short_share: float = 0.85
    matrix_lr: float = 0.02
    other_lr: float = 3e-3
    vocab: int = 1536
    positions: int = 384
    seed: int = 0


def train_tokenizer(config: Config) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on micro prompts."""
    rng = Random(f"{config.seed}:tokenizer")
    texts = []
    for _ in range(30_000):
        prompt = draw(rng, FAMILIES)
        texts += [prompt_text(prompt), " " + prompt.output]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        model_max_length=config.positions,
        clean_up_tokenization_spaces=False,
    )


def prompt_text(prompt: Prompt) -> str:
    """What a generator reads."""
    return AlpacaTemplate().render(prompt).text


def build_model(config: Config) -> Any:
    """A randomly initialised generator: GPT-2 type (1.9 M parameters) or T5 type (2.0 M)."""
    torch.manual_seed(config.seed)  # the command's own process: nobody else draws from this stream
    # Eager attention: the fused one's backward pass takes over half of a CPU step (torch 2.13).
    if config.kind == "causal":
        return GPT2LMHeadModel._from_config(
            GPT2Config(
                vocab_size=config.vocab,
                n_positions=config.positions,
                n_embd=160,
                n_layer=5,
                n_head=5,
                activation_function="gelu_pytorch_tanh",
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                bos_token_id=None,
                eos_token_id=1,
                pad_token_id=0,
            ),
            attn_implementation="eager",
        )
    decoder: dict[str, Any] = {"decoder_start_token_id": 0}  # missing in T5Config's signature
    return T5ForConditionalGeneration._from_config(
        T5Config(
            vocab_size=config.vocab,
            d_model=128,
            d_kv=32,
            d_ff=512,
            num_layers=5,
            num_decoder_layers=3,
            num_heads=4,
            relative_attention_num_buckets=64,
            relative_attention_max_distance=128,
            dropout_rate=0.0,
            eos_token_id=1,
            pad_token_id=0,
            **decoder,
        ),
        attn_implementation="eager",
    )


def pools(
    config: Config, tokenizer: PreTrainedTokenizerFast, first: int
) -> Iterator[list[list[tuple[Any, Any]]]]:
    """Endless pools of batches of (prompt ids, answer ids), from pool number ``first`` on."""
    forbidden = validation_keys()
    hard = tuple(family for family in FAMILIES if family.name in HARD)
    number = first
    while True:
        rng = Random(f"{config.seed}:pool:{number}")
        step = number * config.pool
        share = config.short_share if step in range(*config.short) else 0.0
        families = FAMILIES + hard if step >= config.short[0] else FAMILIES
        prompts: list[Prompt] = []
        while len(prompts) < config.batch * config.pool:
            broken, short = rng.random() < 0.5, bool(share) and rng.random() < share
            prompt = draw(rng, families, broken=broken, short=short)
            if key(prompt) not in forbidden:
                prompts.append(prompt)
        asked = tokenizer([prompt_text(p) for p in prompts])["input_ids"]
        answers = tokenizer([" " + p.output for p in prompts])["input_ids"]
        rows = sorted(
            zip(asked, [[*a, 1] for a in answers], strict=True),
            key=lambda row: len(row[0]) + len(row[1]),
        )
        batches = [rows[i : i + config.batch] for i in range(0, len(rows), config.batch)]
        rng.shuffle(batches)
        yield batches
        number += 1


def loss_of(model: Any, kind: str, rows: list[tuple[Any, Any]], device: str) -> torch.Tensor:
    """Cross-entropy of the answers, a token weighted by one over the root of its answer's length.

    The root lies between counting every token, where long copies drown one-word answers, and
    counting every answer.
    """

    def padded(lists: list[list[Any]], value: float) -> torch.Tensor:
        width = max(map(len, lists))
        return torch.tensor([row + [value] * (width - len(row)) for row in lists], device=device)

    asked, answers = [list(a) for a, _ in rows], [list(b) for _, b in rows]
    weight_rows = [[len(b) ** -0.5] * len(b) for b in answers]
    if kind == "causal":
        ids = padded([a + b for a, b in zip(asked, answers, strict=True)], 0)
        weights = padded(
            [[0.0] * (len(a) - 1) + w + [0.0] for a, w in zip(asked, weight_rows, strict=True)], 0.0
        )
        states = model.transformer(ids).last_hidden_state
        at = weights > 0
        logits, targets, weights = model.lm_head(states[at]), ids.roll(-1, 1)[at], weights[at]
    else:
        ids, labels, weights = padded(asked, 0), padded(answers, 0), padded(weight_rows, 0.0)
        logits = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).logits
        at = weights > 0
        logits, targets, weights = logits[at], labels[at], weights[at]
    losses = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
    return (losses * weights).sum() / weights.sum()


def optimizers(model: Any, config: Config) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for all the rest.

    T5 does not scale its attention logits: with the large steps of Muon on its query and key
    matrices they saturate, and copying is learned late.
    """
    outside = ("wte", "wpe", "shared", "lm_head", "relative_attention_bias", ".q.", ".k.")
    named = list(model.named_parameters())
    matrices = [p for n, p in named if p.ndim == 2 and not any(o in n for o in outside)]
    slow = [p for n, p in named if ".q." in n or ".k." in n]
    taken = {id(p) for p in [*matrices, *slow]}
    others = [p for _, p in named if id(p) not in taken]
    groups = [
        {"params": others, "lr": config.other_lr},
        {"params": slow, "lr": config.other_lr / 3},
    ]
    return [
        torch.optim.Muon(matrices, lr=config.matrix_lr, weight_decay=0.01),
        torch.optim.AdamW([g for g in groups if g["params"]], betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate(step: int, config: Config) -> float:
    """Factor on the learning rates: linear warm-up, flat, linear to zero."""
    falling = config.steps * config.decay
    return max(0.0, min(1.0, (step + 1) / config.warmup, (config.steps - step) / falling))


def exact_match(
    generator: HFGenerator, prompts: list[Prompt]
) -> tuple[dict[str, float], list[dict[str, str]]]:
    """Compare greedy answers with the gold ones.

    Returns:
        The share of equal answers under "all" and by family, and the misses.
    """
    answers = generator.generate([prompt_text(p) for p in prompts], MAX_NEW_TOKENS)
    hits: dict[str, list[bool]] = defaultdict(list)
    misses = []
    for prompt, answer in zip(prompts, answers, strict=True):
        hit = answer.text == prompt.output
        hits["all"].append(hit)
        hits[prompt.source.split("/")[0]].append(hit)
        if not hit:
            misses.append({**asdict(prompt), "answer": answer.text})
    return {name: sum(rows) / len(rows) for name, rows in hits.items()}, misses


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint under another name, then rename it: a kill leaves the old one whole."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def train(config: Config, run: Path, minutes_between_saves: float = 3.0) -> tuple[Any, Any, float]:
    """Train one generator in folder ``run``, going on from a checkpoint if there is one.

    Returns:
        The model, its tokenizer and the seconds spent in training, earlier sittings included.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    run.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(config)
    model = build_model(config).to(device).train()
    opts = optimizers(model, config)
    rates = [group["lr"] for opt in opts for group in opt.param_groups]
    checkpoint, step, seconds = run / "checkpoint.pt", 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        if state["config"] != asdict(config):
            raise ValueError(
                f"{checkpoint} was made with {state['config']}, not {asdict(config)}: "
                "name another folder with --run"
            )
        model.load_state_dict(state["model"])
        for opt, saved in zip(opts, state["optimizers"], strict=True):
            opt.load_state_dict(saved)
        step, seconds = state["step"], state["seconds"]
    # Only now: loading a state replaces the groups.
    groups = [group for opt in opts for group in opt.param_groups]
    began, saved_at, smooth = time.monotonic() - seconds, time.monotonic(), 0.0
    with tqdm(total=config.steps, initial=step, desc=f"train {config.kind}", mininterval=5) as bar:
        for batches in pools(config, tokenizer, first=step // config.pool):
            if step >= config.steps:
                break
            for rows in batches:
                for group, lr in zip(groups, rates, strict=True):
                    group["lr"] = lr * rate(step, config)
                with torch.autocast(device, torch.bfloat16):
                    loss = loss_of(model, config.kind, rows, device)
                if not torch.isfinite(loss):
                    raise RuntimeError(
                        f"the loss of step {step} is {loss.item()}: lower matrix_lr and start again"
                    )
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                for opt in opts:
                    opt.step()
                    opt.zero_grad(set_to_none=True)
                step += 1
                smooth = loss.item() if smooth == 0 else 0.98 * smooth + 0.02 * loss.item()
                bar.update()
                bar.set_postfix(loss=f"{smooth:.4f}", refresh=False)
            # Between pools only: there a resumed run draws the same batches as an unbroken one.
            if time.monotonic() - saved_at > 60 * minutes_between_saves or step >= config.steps:
                seconds, saved_at = time.monotonic() - began, time.monotonic()
                save_checkpoint(
                    checkpoint,
                    {
                        "config": asdict(config),
                        "model": model.state_dict(),
                        "optimizers": [opt.state_dict() for opt in opts],
                        "step": step,
                        "seconds": seconds,
                    },
                )
    return model.eval(), tokenizer, seconds


def card(config: Config, report: dict[str, Any]) -> str:
    """The model card, from what the run measured."""
    rows = [
        f"| {split} | {result['prompts']} | {100 * result['exact_match']['all']:.1f} % "
        f"| {100 * GOALS[split]:.0f} % | `{result['sha256'][:16]}` |"
        for split, result in report["splits"].items()
    ]
    family = "GPT-2" if config.kind == "causal" else "T5"
    return f"""---
license: apache-2.0
language: en
---
# micro generator, {config.kind}

A {family}-type model of {report["parameters"]:,} parameters, trained from scratch on micro, the
procedural instruction set of pcrl_gym. It answers micro prompts and nothing else: results on it say
nothing about large language models.

Exact match of greedy answers (float32, at most {MAX_NEW_TOKENS} new tokens):

| split | prompts | exact match | goal | data SHA-256 |
|---|---|---|---|---|
{chr(10).join(rows)}

Made by `{report["command"]}` in {report["seconds"] / 60:.0f} minutes on {report["machine"]}:
{config.steps:,} steps of {config.batch} prompts, half of them with words missing. `training.json`
holds all settings, versions and the exact match of every family.
"""


def main(arguments: list[str] | None = None) -> None:
    """Train, evaluate and save one generator under ``RUN/model``."""
    parser = argparse.ArgumentParser(
        prog="python -m pcrl_gym.micro.train", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("kind", choices=STEPS)
    parser.add_argument(
        "--run", type=Path, help="folder of checkpoints and result (default: runs/micro-KIND)"
    )
    parser.add_argument("--steps", type=int, help="training steps (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own choice)")
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    config = Config(kind=args.kind, steps=args.steps or STEPS[args.kind])
    run = args.run or Path("runs") / f"micro-{args.kind}"
    target = run / "model"
    if target.exists():
        raise SystemExit(
            f"{target} is there already: move it away, or name another folder with --run"
        )
    model, tokenizer, seconds = train(config, run)

    from pcrl_gym.generators.hf import HFGenerator

    generator = HFGenerator(model, tokenizer, name=f"micro {config.kind}")
    splits, misses = {}, {}
    for split in GOALS:
        prompts = micro_prompts(split)
        shares, misses[split] = exact_match(generator, prompts)
        splits[split] = {
            "prompts": len(prompts),
            "sha256": dataset_checksum(prompts),
            "exact_match": shares,
        }
        share, goal = 100 * shares["all"], 100 * GOALS[split]
        print(f"{split}: exact match {share:.1f} % of {len(prompts)} (goal {goal:.0f} %)")
    report = {
        "command": f"python -m pcrl_gym.micro.train {config.kind}"
        + (f" --steps {args.steps}" if args.steps else ""),
        "config": asdict(config),
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(seconds),
        "machine": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{torch.get_num_threads()} of {os.cpu_count()} CPU cores ({platform.machine()})",
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
        "train_sha256": dataset_checksum(micro_prompts("train")),
        "splits": splits,
    }
    part = run / "model.part"
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    (part / "training.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (part / "README.md").write_text(card(config, report), encoding="utf-8")
    (run / "misses.json").write_text(
        json.dumps(misses, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    part.replace(target)
    print(f"saved {target}")


if __name__ == "__main__":
    main()
