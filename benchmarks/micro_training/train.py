"""Train the generators of micro: `python -m benchmarks.micro_training.train {causal,seq2seq}`.

Draws an endless stream of prompts from all families and phrasings, half of them in broken wording,
and never one of a validation split; the loss covers only the answer. A restarted run resumes from
its last checkpoint and ends with the weights of an uninterrupted one. The result is a Hugging Face
folder with a model card.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from random import Random
from typing import Any, Literal

import cyclopts
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.micro_training import model as models
from benchmarks.micro_training.card import GOALS, card, make_report
from benchmarks.micro_training.model import Config, prompt_text, train_tokenizer
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.micro.families import FAMILIES
from pcrl_gym.micro.tasks import draw, key, validation_keys
from pcrl_gym.progress import progress_bar
from pcrl_gym.storage.atomic import replace_folder, write_file

# Families that are sampled more often from `Config.short` on, chosen by results on the validation
# splits: the first take several reasoning steps; the second need the category of every word and are
# sampled even more often from `Config.restart` on.
HARD = (
    "filter", "two_lists", "sort_numbers", "alphabetical", "arithmetic", "over_under", "at_most",
    "count_range", "repeat_times", "letter_case", "count_category", "all_but", "swap",
)  # fmt: skip
CATEGORY = ("filter", "count_category", "is_kind", "unless", "kind_of", "if_present")


def pools(config: Config, tokenizer: Any, first: int) -> Iterator[list[list[tuple[Any, Any]]]]:
    """Yield endless pools of batches of (prompt IDs, answer IDs), from pool `first` on."""
    forbidden = validation_keys()
    hard, category = (tuple(f for f in FAMILIES if f.name in names) for names in (HARD, CATEGORY))
    for number in count(first):
        rng, step = Random(f"{config.seed}:pool:{number}"), number * config.pool
        families = FAMILIES + hard + category if step >= config.short[0] else FAMILIES
        families += 3 * category if step >= config.restart else ()
        prompts: list[Any] = []
        while len(prompts) < config.batch * config.pool:
            broken = rng.random() < 0.5
            short = step in range(*config.short) and rng.random() < config.short_share
            prompt = draw(rng, families, broken=broken, short=short)
            if key(prompt) not in forbidden:
                prompts.append(prompt)
        asked = tokenizer([prompt_text(p) for p in prompts])["input_ids"]
        answers = [[*ids, 1] for ids in tokenizer([" " + p.output for p in prompts])["input_ids"]]
        rows = sorted(zip(asked, answers, strict=True), key=lambda row: sum(map(len, row)))
        batches = [rows[i : i + config.batch] for i in range(0, len(rows), config.batch)]
        rng.shuffle(batches)
        yield batches


def loss_of(model: Any, kind: str, rows: Sequence[tuple[Any, Any]], device: str) -> torch.Tensor:
    """Return the cross-entropy of the answers, weighted by 1 / sqrt(tokens of the answer).

    This is a compromise between equal weights per token, where long copies dominate one-word
    answers, and equal weights per answer.
    """

    def padded(lists: Iterator[list[int]]) -> torch.Tensor:
        return pad_sequence([torch.tensor(own) for own in lists], batch_first=True).to(device)

    if kind == "causal":
        ids = padded(prompt + answer for prompt, answer in rows)
        labels = padded([0] * (len(prompt) - 1) + answer + [0] for prompt, answer in rows)
        at = labels > 0
        logits = model.lm_head(model.transformer(ids).last_hidden_state[at])
    else:
        ids, labels = (padded(row[place] for row in rows) for place in (0, 1))
        at = labels > 0
        logits = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).logits[at]
    losses = torch.nn.functional.cross_entropy(logits.float(), labels[at], reduction="none")
    weights = (at.sum(1, keepdim=True).double() ** -0.5).float().expand_as(at)[at]
    return (losses * weights).sum() / weights.sum()


def rate(step: int, config: Config) -> float:
    """Return the learning rate factor: warm-up, constant, decay to 0; then a lower decay."""
    if step >= config.restart:
        left = config.steps - step  # may start at 0
        return config.restart_rate * left / max(1, config.steps - config.restart)
    falling = config.restart * config.decay
    return min(1.0, (step + 1) / config.warmup, (config.restart - step) / falling)


def train(config: Config, run: Path, minutes_between_saves: float = 3.0) -> tuple[Any, Any, float]:
    """Train a generator in folder `run`, resuming from its checkpoint if there is one.

    Returns the model, its tokenizer, and the seconds of training, including earlier sessions.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    run.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(config)
    model = models.build_model(config).to(device).train()
    optimizers = models.optimizers(model, config)
    checkpoint, step, seconds = run / "checkpoint.pt", 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        if state["config"] != asdict(config):
            raise ValueError(
                f"{checkpoint} was made with {state['config']}, not {asdict(config)}: "
                "choose another folder with --run"
            )
        for part, saved in zip((model, *optimizers), state["parts"], strict=True):
            part.load_state_dict(saved)
        step, seconds = state["step"], state["seconds"]
    rates = [LambdaLR(opt, partial(rate, config=config), step - 1) for opt in optimizers]
    saved_at = time.monotonic()
    batches = chain.from_iterable(pools(config, tokenizer, first=step // config.pool))
    with progress_bar(total=config.steps, initial=step, desc=f"train {config.kind}") as bar:
        for rows in islice(batches, config.steps - step):
            with torch.autocast(device, torch.bfloat16):
                loss = loss_of(model, config.kind, rows, device)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)
            for stepping in (*optimizers, *rates):
                stepping.step()
            model.zero_grad()
            step += 1
            bar.update()
            bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
            # Only between pools, so that a resumed run draws the same batches.
            passed = time.monotonic() - saved_at
            due = passed > 60 * minutes_between_saves and step % config.pool == 0
            if due or step == config.steps:
                seconds, saved_at = seconds + passed, saved_at + passed
                state = {"config": asdict(config), "step": step, "seconds": seconds}
                state["parts"] = [part.state_dict() for part in (model, *optimizers)]
                torch.save(state, buffer := io.BytesIO())
                write_file(checkpoint, buffer.getvalue())
    return model.eval(), tokenizer, seconds


def main(
    kind: Literal["causal", "seq2seq"],
    /,
    *,
    run: Path | None = None,
    steps: int = Config.steps,
    threads: int | None = None,
) -> None:
    """Train, evaluate and save one generator of micro under `RUN/model`.

    Args:
        kind: Kind of generator.
        run: Folder of checkpoints and result; by default runs/micro-KIND.
        steps: Training steps.
        threads: CPU threads; by default torch's own choice.
    """
    torch.set_num_threads(threads or torch.get_num_threads())
    config, run = Config(kind, steps), run or Path("runs", f"micro-{kind}")
    target = run / "model"
    if target.exists():
        raise SystemExit(f"{target} already exists: move it, or choose another folder with --run")
    model, tokenizer, seconds = train(config, run)
    report = make_report(config, HFGenerator(model, tokenizer, name="micro"), seconds)
    for split, found in report["splits"].items():
        share, goal = found["exact_match"]["all"], GOALS[split]
        print(f"{split}: exact match {share:.1%} of {found['prompts']} (goal {goal:.0%})")
    with replace_folder(target) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_file(folder / "training.json", json.dumps(report, indent=1) + "\n")
        write_file(folder / "README.md", card(config, report))
    print(f"saved {target}")


if __name__ == "__main__":
    cyclopts.run(main)
