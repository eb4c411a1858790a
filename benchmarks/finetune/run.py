"""A tuning run: from options to a folder that `generator=` takes.

OUT/settings.json     what was asked for; compared when the run goes on
OUT/tokenizer/        of a model from random weights
OUT/checkpoint-N/     what the training needs to go on; removed when it has ended
OUT/training.json     what the training took, and its losses
OUT/model/            the result
OUT/evaluation.json   figures of the held-out splits; OUT/answers-SPLIT.jsonl the answers
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agents.runs.config import differences
from agents.seeding import isolated_random_state
from benchmarks.finetune.card import card
from benchmarks.finetune.evaluation import Majority, evaluate, figures_table
from benchmarks.finetune.models import (
    INSTALL,
    add_adapters,
    batch_tokens,
    default_rate,
    load_start,
    uses_bf16,
)
from benchmarks.finetune.options import Options
from benchmarks.finetune.rows import Batches, collator, encode_rows, typical_length
from benchmarks.provenance import git_state, library_versions
from pcrl_gym.atomic import recover_folder, replace_folder, write_file
from pcrl_gym.datasets import dataset_checksum, dataset_splits, load_prompts, pick_evenly
from pcrl_gym.errors import MissingExtraError
from pcrl_gym.generators.framing import PromptFramer
from pcrl_gym.generators.greedy import context_length, control_ids, greedy_config
from pcrl_gym.generators.loading import choose_device, load_generator
from pcrl_gym.prompt import Prompt
from pcrl_gym.template import make_template

_LONGEST = 512  # tokens of a row where the model has no limit of its own


def run(options: Options) -> None:
    """Tune, save and evaluate; goes on with a folder that has the same settings.

    In a launch of several processes each calls it; the first one alone writes and evaluates.

    Raises:
        ValueError: If the folder holds something else or a run with other settings, the model or
            data cannot be loaded, or no row is left to learn.
        MissingExtraError: If accelerate, or peft with LoRA, is not installed.
    """
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise MissingExtraError(f"finetune needs: {INSTALL}") from error
    out = Path(options.out)
    processes = PartialState()
    prompts = load_prompts(options.data, "train")
    settings = options.settings() | {
        "bf16": uses_bf16(options.bf16),
        "processes": processes.num_processes,
        "train_sha256": dataset_checksum(prompts),
    }
    splits = _held_out(options)
    check_folder(out, settings)
    processes.wait_for_everyone()
    with _locked(out, processes.is_main_process):
        if processes.is_main_process:
            write_file(out / "settings.json", json.dumps(settings, indent=2) + "\n")
            for folder in (out / "model", out / "tokenizer"):
                recover_folder(folder)
        processes.wait_for_everyone()
        if not (out / "model").is_dir():
            _train(options, settings, prompts, processes)
        if processes.is_main_process:
            for checkpoint in out.glob("checkpoint-*"):
                shutil.rmtree(checkpoint)
            _evaluate(options, settings, prompts, splits)


def check_folder(out: Path, settings: dict[str, Any]) -> None:
    """See whether a run may use a folder. Changes nothing.

    Raises:
        ValueError: If it holds a run with other settings (each difference is named) or something
            else.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; give a folder for the run")
    # What a run that was killed at once may leave.
    if not out.is_dir() or {entry.name for entry in out.iterdir()} <= {"lock", "settings.json.tmp"}:
        return
    file = out / "settings.json"
    if not file.is_file():
        raise ValueError(f"{out} holds files but no settings.json, so it is no run; give another")
    changed = differences(json.loads(file.read_text(encoding="utf-8")), settings)
    if changed:
        lines = "\n".join(f"  {line}" for line in changed)
        raise ValueError(
            f"{out} holds a run with other settings:\n{lines}\n"
            "Repeat its settings to go on with it, or give another folder."
        )


@contextlib.contextmanager
def _locked(out: Path, is_main: bool) -> Iterator[None]:
    if not is_main:
        yield
        return
    import filelock

    out.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(out / "lock", timeout=0):
            yield
    except filelock.Timeout:
        raise ValueError(f"{out} is in use by another run that has not ended") from None


def _held_out(options: Options) -> tuple[str, ...]:
    there = [split for split in dataset_splits(options.data) if split != "train"]
    if options.splits is None:
        return tuple(there)
    missing = [split for split in options.splits if split not in there]
    if missing:
        raise ValueError(
            f"{options.data} has no held-out split {', '.join(missing)}; it has "
            f"{', '.join(there) or 'none'}"
        )
    return options.splits


def _train(
    options: Options, settings: dict[str, Any], prompts: Sequence[Prompt], processes: Any
) -> None:
    from transformers import TrainingArguments

    from benchmarks.finetune.trainer import Clock, last_checkpoint, make_trainer

    out = Path(options.out)
    with processes.main_process_first():
        model, tokenizer = load_start(options, prompts, out / "tokenizer")
        checkpoint = last_checkpoint(out)
    seq2seq = bool(model.config.is_encoder_decoder)
    control = control_ids(model, tokenizer)
    if not control["eos_token_id"]:
        raise ValueError(f"{options.model!r} has no end token to learn")
    end = tokenizer.eos_token_id
    if end not in control["eos_token_id"]:
        end = control["eos_token_id"][0]
    pad = control["pad_token_id"]
    context = context_length(model.config)
    limit = min(options.max_tokens or context or _LONGEST, context or sys.maxsize)
    encoded = encode_rows(
        prompts,
        make_template(options.template, tokenizer),
        PromptFramer(tokenizer, seq2seq, pad),
        end,
        limit,
        seq2seq,
    )
    rows = encoded.rows
    if not rows:
        raise ValueError(
            f"nothing to learn: of {len(prompts)} prompts {encoded.unanswered} have no answer and "
            f"{encoded.too_long} are longer than {limit} tokens"
        )
    parameters = sum(p.numel() for p in model.parameters())
    if processes.is_main_process:
        print(
            f"{options.model or options.from_config}: {parameters:,} parameters, {len(rows)} rows "
            f"of {sum(row.size for row in rows):,} tokens; left out: {encoded.unanswered} without "
            f"an answer, {encoded.too_long} of more than {limit} tokens"
            + (f"; goes on from {checkpoint.name}" if checkpoint else ""),
            flush=True,
        )
    collate = collator(model, pad, control.get("decoder_start_token_id"))
    batches, steps = _plan(options, [row.size for row in rows], processes)
    clock = Clock(
        None if options.minutes is None else 60 * options.minutes,
        steps,
        60 * options.checkpoint_minutes,
    )
    if options.lora:
        model = add_adapters(model, options.lora)
    fresh = options.from_config is not None
    with isolated_random_state():
        trainer = make_trainer(
            model,
            rows,
            collate,
            batches,
            clock,
            TrainingArguments(
                output_dir=str(out),
                max_steps=steps,
                gradient_accumulation_steps=options.accumulate,
                per_device_train_batch_size=1,  # the batches are planned
                learning_rate=default_rate(options, seq2seq),
                weight_decay=0.1 if fresh else 0.0,
                adam_beta2=0.98 if fresh else 0.999,
                bf16=settings["bf16"],
                use_cpu=choose_device() == "cpu",  # else bfloat16 is refused there
                seed=options.seed,
                save_strategy="no",  # the clock asks for checkpoints
                save_total_limit=1,
                logging_steps=20,
                logging_nan_inf_filter=False,
                remove_unused_columns=False,
                report_to="none",
                disable_tqdm=True,
                log_level="error",
            ),
            typical_length(rows) if fresh else None,
        )
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if not processes.is_main_process:
        return
    report = {
        "parameters": parameters,
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "rows": len(rows),
        "tokens": sum(row.size for row in rows),
        "left_out": {"without_answer": encoded.unanswered, "too_long": encoded.too_long},
        "longest_row": limit,
        "learning_rate": default_rate(options, seq2seq),
        "steps": trainer.state.global_step,
        "minutes": round(clock.seconds_done / 60, 2),
        "device": _device_name(),
        "libraries": library_versions(),
        "git": git_state(),
        "history": [row for row in trainer.state.log_history if "loss" in row],
    }
    write_file(out / "training.json", json.dumps(report, indent=1) + "\n")
    _save(model, tokenizer, control, out / "model", card(settings, report))


def _plan(options: Options, sizes: list[int], processes: Any) -> tuple[Batches, int]:
    """The batches of this process, and the optimizer steps that the budget allows."""
    from benchmarks.finetune.trainer import UNLIMITED

    def batches(**size: Any) -> Batches:
        return Batches(
            sizes,
            batch_tokens(options),
            options.seed,
            process=processes.process_index,
            processes=processes.num_processes,
            **size,
        )

    epochs = options.epochs
    if epochs is None and options.steps is None and options.minutes is None:
        epochs = 3.0
    steps = options.steps or UNLIMITED
    if epochs is not None:
        steps = min(steps, max(1, len(batches(epochs=epochs)) // options.accumulate))
    return batches(count=steps * options.accumulate), steps


def _save(model: Any, tokenizer: Any, control: dict[str, Any], folder: Path, text: str) -> None:
    from transformers import GenerationConfig

    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    model.config.use_cache = True
    settings: GenerationConfig = greedy_config(**control)
    model.generation_config = settings
    with replace_folder(folder) as fresh:
        model.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        (fresh / "README.md").write_text(text, encoding="utf-8")


def _evaluate(
    options: Options,
    settings: dict[str, Any],
    train: Sequence[Prompt],
    splits: Sequence[str],
) -> None:
    """Evaluate the splits that have not been yet, print all figures and write them."""
    out = Path(options.out)
    report = json.loads((out / "training.json").read_text(encoding="utf-8"))
    file = out / "evaluation.json"
    done: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    asked = {"limit": options.evaluate_limit, "max_new_tokens": options.max_new_tokens}
    wanted = [split for split in splits if done.get(split, {}).get("asked") != asked]
    if wanted:
        generator: Any = load_generator(out / "model")
        template = make_template(options.template, generator.tokenizer)
        majority = Majority(train)
        for split in wanted:
            prompts = load_prompts(options.data, split)
            picked = [prompts[i] for i in pick_evenly(len(prompts), options.evaluate_limit)]
            print(f"Answering {len(picked)} prompts of {split} ...", file=sys.stderr, flush=True)
            figures, rows = evaluate(generator, template, picked, majority, options.max_new_tokens)
            done[split] = figures | {"asked": asked}
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            write_file(out / f"answers-{split}.jsonl", lines)
            write_file(file, json.dumps(done, indent=1) + "\n")
        write_file(out / "model" / "README.md", card(settings, report, done))
    print(
        f"{report['parameters']:,} parameters, {report['minutes']:.1f} minutes on "
        f"{report['device']}, {report['steps']} steps\n"
    )
    print(figures_table(done) if done else f"{options.data} has no held-out split to evaluate.")
    print(f"\ngenerator={str(out / 'model')!r}")


def _device_name() -> str:
    import os

    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"{torch.get_num_threads()} of {os.cpu_count()} CPU cores"
