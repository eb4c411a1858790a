"""A tuning run: from options to a folder that `generator=` takes."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from agents.seeding import isolated_random_state
from benchmarks.finetune.card import card
from benchmarks.finetune.evaluation import evaluate, figures_tables
from benchmarks.finetune.folder import check_folder, locked
from benchmarks.finetune.material import prepare
from benchmarks.finetune.models import (
    INSTALL,
    add_adapters,
    batch_tokens,
    default_rate,
    training_arguments,
    uses_bf16,
)
from benchmarks.finetune.options import Options
from benchmarks.finetune.rows import Batches
from benchmarks.provenance import git_state, library_versions
from pcrl_gym.errors import MissingExtraError
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.generators.pretrained import choose_device
from pcrl_gym.named_datasets import dataset_splits, load_prompts
from pcrl_gym.prompts.datasets import dataset_checksum, pick_evenly
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import make_template
from pcrl_gym.storage.atomic import recover_folder, write_file


def run(options: Options) -> None:
    """Tune, save and evaluate; resumes a folder that has the same settings.

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
    # Told that it is a CPU, or else several processes do not find one another there.
    processes = PartialState(cpu=choose_device() == "cpu")
    prompts = load_prompts(options.data, "train")
    settings = options.settings() | {
        "bf16": uses_bf16(options.bf16),
        "processes": processes.num_processes,
        "train_sha256": dataset_checksum(prompts),
    }
    splits = _held_out(options)
    check_folder(out, settings)
    processes.wait_for_everyone()
    with locked(out, processes.is_main_process):
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
    from benchmarks.finetune.trainer import AnswerTrainer, Clock, last_checkpoint, quiet

    out = Path(options.out)
    with processes.main_process_first():
        material = prepare(options, prompts, out / "tokenizer")
        checkpoint = last_checkpoint(out)
    if processes.is_main_process:
        resumed = f"; resumes from {checkpoint.name}" if checkpoint else ""
        print(f"{options.model or options.from_config}: {material.summary()}{resumed}", flush=True)
    batches, steps = _plan(options, [row.size for row in material.encoded.rows], processes)
    seconds = None if options.minutes is None else 60 * options.minutes
    clock = Clock(seconds, steps, 60 * options.checkpoint_minutes)
    model = add_adapters(material.model, options.lora) if options.lora else material.model
    with isolated_random_state(), quiet():
        seq2seq = material.is_encoder_decoder
        arguments = training_arguments(options, seq2seq, steps, settings["bf16"])
        even = options.from_config is not None
        trainer = AnswerTrainer(model, material, batches, clock, arguments, even)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if not processes.is_main_process:
        return
    report = material.report() | {
        "trained_parameters": model.num_parameters(only_trainable=True),
        "learning_rate": default_rate(options, material.is_encoder_decoder),
        "batch_tokens": batch_tokens(options),
        "steps": trainer.state.global_step,
        "minutes": round(clock.seconds_done / 60, 2),
        "device": _device_name(),
        **_code(),
        "history": [row for row in trainer.state.log_history if "loss" in row],
    }
    write_file(out / "training.json", json.dumps(report, indent=1) + "\n")
    material.save(model, out / "model", card(settings, report))


def _plan(options: Options, sizes: list[int], processes: Any) -> tuple[Batches, int]:
    """Return the batches of this process, and the optimizer steps that the budget allows."""
    from benchmarks.finetune.trainer import UNLIMITED

    batches = partial(
        Batches,
        sizes,
        batch_tokens(options),
        options.seed,
        process=processes.process_index,
        processes=processes.num_processes,
    )
    epochs = options.epochs
    if epochs is None and options.steps is None and options.minutes is None:
        epochs = 3.0
    steps = options.steps or UNLIMITED
    if epochs is not None:
        steps = min(steps, max(1, len(batches(epochs=epochs)) // options.accumulate))
    return batches(count=steps * options.accumulate), steps


def _evaluate(
    options: Options, settings: dict[str, Any], train: Sequence[Prompt], splits: Sequence[str]
) -> None:
    """Evaluate the splits that have not been yet, print all figures and write them."""
    out = Path(options.out)
    report = json.loads((out / "training.json").read_text(encoding="utf-8"))
    file = out / "evaluation.json"
    stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    # An evaluation of before `known_texts` is made again.
    done = {split: of for split, of in stored.items() if "known_texts" in of}
    asked = {"limit": options.evaluate_limit, "max_new_tokens": options.max_new_tokens}
    wanted = [split for split in splits if done.get(split, {}).get("asked") != asked]
    if wanted:
        generator: Any = load_generator(out / "model")
        template = make_template(options.template, generator.tokenizer)
        for split in wanted:
            prompts = load_prompts(options.data, split)
            picked = [prompts[i] for i in pick_evenly(len(prompts), options.evaluate_limit)]
            print(f"Answering {len(picked)} prompts of {split} ...", file=sys.stderr, flush=True)
            figures, rows = evaluate(generator, template, picked, train, options.max_new_tokens)
            print(
                f"{split}: left out {figures['without_gold']} without a gold answer, "
                f"{figures['too_long']} too long for the model"
            )
            done[split] = figures | {"asked": asked, **_code()}
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            write_file(out / f"answers-{split}.jsonl", lines)
            write_file(file, json.dumps(done, indent=1) + "\n")
        write_file(out / "model" / "README.md", card(settings, report, done))
    print(
        f"{report['parameters']:,} parameters, {report['minutes']:.1f} minutes on "
        f"{report['device']}, {report['steps']} steps\n"
    )
    print(figures_tables(done) if done else f"{options.data} has no held-out split to evaluate.")
    print(f"\ngenerator={str(out / 'model')!r}")


def _code() -> dict[str, Any]:
    return {"libraries": library_versions(), "git": git_state()}


def _device_name() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"{torch.get_num_threads()} of {os.cpu_count()} CPU cores"
