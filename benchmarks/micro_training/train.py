"""Train the generators of micro: `python -m benchmarks.micro_training.train {causal,seq2seq}`.

Draws prompts without end from all families and phrasings, half of them in broken wording, never one
of a validation split; the loss is on the answer alone. A run that is started again resumes from its
last checkpoint and ends with the weights of an unbroken one. The result is a Hugging Face folder
with a model card.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from benchmarks.micro_training.card import GOALS, card, evaluate, make_report
from benchmarks.micro_training.model import (
    Config,
    build_model,
    optimizers,
    prompt_text,
    train_tokenizer,
)
from pcrl_gym.micro.families import FAMILIES
from pcrl_gym.micro.tasks import draw, key, validation_keys
from pcrl_gym.progress import progress_bar
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.storage.atomic import replace_folder, write_file

STEPS = {"causal": 11_200, "seq2seq": 11_200}
# Families that are practised more from `Config.short` on, chosen by how well the validation splits
# were answered: the first take several steps of thought, the second need the category of every
# word and are practised more still from `Config.restart` on.
HARD = (
    "filter", "two_lists", "sort_numbers", "alphabetical", "arithmetic", "over_under", "at_most",
    "count_range", "repeat_times", "letter_case", "count_category", "all_but", "swap",
)  # fmt: skip
CATEGORY = ("filter", "count_category", "is_kind", "unless", "kind_of", "if_present")


def pools(
    config: Config, tokenizer: PreTrainedTokenizerFast, first: int
) -> Iterator[list[list[tuple[Any, Any]]]]:
    """Yield pools of batches of (prompt ids, answer ids) without end, from pool `first` on."""
    forbidden = validation_keys()
    hard = tuple(family for family in FAMILIES if family.name in HARD)
    category = tuple(family for family in FAMILIES if family.name in CATEGORY)
    for number in count(first):
        rng = Random(f"{config.seed}:pool:{number}")
        step = number * config.pool
        share = config.short_share if step in range(*config.short) else 0.0
        families = FAMILIES + hard + category if step >= config.short[0] else FAMILIES
        families += 3 * category if step >= config.restart else ()
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


def loss_of(model: Any, kind: str, rows: list[tuple[Any, Any]], device: str) -> torch.Tensor:
    """Return the cross-entropy of the answers, weighted by 1 / sqrt(tokens of the answer).

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


def rate(step: int, config: Config) -> float:
    """Return the factor on the learning rates: warm-up, flat, to zero; then a lower line."""
    if step >= config.restart:
        return config.restart_rate * (config.steps - step) / (config.steps - config.restart)
    falling = config.restart * config.decay
    return min(1.0, (step + 1) / config.warmup, (config.restart - step) / falling)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replace a checkpoint by another one."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_file(path, buffer.getvalue())


def train(config: Config, run: Path, minutes_between_saves: float = 3.0) -> tuple[Any, Any, float]:
    """Train one generator in folder `run`, resuming from a checkpoint if there is one.

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
    name = f"train {config.kind}"
    with progress_bar(total=config.steps, initial=step, desc=name) as bar:
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
                states = {"model": model.state_dict(), "optimizers": [o.state_dict() for o in opts]}
                state = {"config": asdict(config), "step": step, "seconds": seconds, **states}
                save_checkpoint(checkpoint, state)
    return model.eval(), tokenizer, seconds


def main(arguments: list[str] | None = None) -> None:
    """Train, evaluate and save one generator under `RUN/model`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.micro_training.train", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("kind", choices=STEPS)
    parser.add_argument(
        "--run", type=Path, help="folder of checkpoints and result (default: runs/micro-KIND)"
    )
    parser.add_argument("--steps", type=int, help=f"training steps (default: {STEPS})")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own choice)")
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    config = Config(kind=args.kind, steps=args.steps or STEPS[args.kind])
    run = args.run or Path("runs") / f"micro-{args.kind}"
    target = run / "model"
    if target.exists():
        raise SystemExit(f"{target} exists: move it away, or name another folder with --run")
    model, tokenizer, seconds = train(config, run)
    results, misses = evaluate(model, tokenizer)
    for split, result in results.items():
        share, goal = 100 * result["exact_match"]["all"], 100 * GOALS[split]
        print(f"{split}: exact match {share:.1f} % of {result['prompts']} (goal {goal:.0f} %)")
    command = f"python -m benchmarks.micro_training.train {config.kind}"
    command += f" --steps {args.steps}" if args.steps else ""
    command += f" --threads {args.threads}" if args.threads else ""
    report = make_report(config, model, results, command, seconds)
    with replace_folder(target) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_json(folder / "training.json", report)
        write_file(folder / "README.md", card(config, report))
    write_json(run / "misses.json", misses)
    print(f"saved {target}")


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON that people can read."""
    write_file(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
