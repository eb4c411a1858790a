"""Fine-tuning run: from options to a folder for `generator=`.

OUT/settings.json     settings of the run; compared when the run is resumed
OUT/tokenizer/        tokenizer of a model from random weights
OUT/checkpoint-N/     checkpoint of `Trainer`; removed when training has ended
OUT/training.json     cost of the training, and its losses
OUT/model/            the result, with its card
OUT/evaluation.json   metrics of the held-out splits; OUT/answers-SPLIT.jsonl the answers
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import filelock

from agents.runs.config import differences
from benchmarks.finetune.evaluation import card, evaluate, figures_tables
from benchmarks.finetune.options import Options
from benchmarks.finetune.training import train, uses_bf16
from benchmarks.provenance import machine
from pcrl_gym.errors import MissingExtraError
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.generators.pretrained import choose_device
from pcrl_gym.named_datasets import dataset_splits, load_prompts
from pcrl_gym.prompts.datasets import dataset_checksum, pick_evenly
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import make_template
from pcrl_gym.storage.atomic import recover_folder, write_file


def run(options: Options) -> None:
    """Tune, save, and evaluate, or resume a folder with the same settings.

    In a multi-process launch, every process calls it, but only the first writes and evaluates.
    """
    for library in ("accelerate", "peft") if options.lora else ("accelerate",):
        if find_spec(library) is None:
            raise MissingExtraError(f"finetune needs {library}: pip install -e '.[finetune]'")
    from accelerate import PartialState

    out = Path(options.out)
    # `cpu` must be set for several processes to find one another on a CPU.
    processes = PartialState(cpu=choose_device() == "cpu")
    prompts = load_prompts(options.data, "train")
    settings = options.settings() | {
        "bf16": uses_bf16(options.bf16),
        "processes": processes.num_processes,
        "train_sha256": dataset_checksum(prompts),
    }
    there = [split for split in dataset_splits(options.data) if split != "train"]
    splits = there if options.splits is None else options.splits
    if missing := [split for split in splits if split not in there]:
        known = ", ".join(there) or "none"
        raise ValueError(f"{options.data} has no held-out split {missing[0]}; it has {known}")
    with contextlib.ExitStack() as stack:
        if main := processes.is_main_process:
            _check_folder(out, settings)
            out.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(filelock.FileLock(out / "lock", timeout=0))
            except filelock.Timeout:
                raise ValueError(f"{out} is in use by another run; wait for it to end") from None
            write_file(out / "settings.json", json.dumps(settings, indent=2) + "\n")
            recover_folder(out / "model")
            recover_folder(out / "tokenizer")
        processes.wait_for_everyone()
        if not (out / "model").is_dir():
            train(options, prompts, processes)
        if main:
            for checkpoint in out.glob("checkpoint-*"):
                shutil.rmtree(checkpoint)
            _evaluate(options, settings, prompts, splits)


def _check_folder(out: Path, settings: dict[str, Any]) -> None:
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; choose a folder for the run")
    # Files that a run killed right after its start may leave behind.
    if not out.is_dir() or {entry.name for entry in out.iterdir()} <= {"lock", "settings.json.tmp"}:
        return
    file = out / "settings.json"
    if not file.is_file():
        raise ValueError(f"{out} contains files but no settings.json; choose another folder")
    if changed := differences(_read(file), settings):
        raise ValueError(
            f"{out} contains a run with different settings:\n{changed}\n"
            "Use its settings to resume it, or choose another folder"
        )


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def _evaluate(
    options: Options, settings: dict[str, Any], train: Sequence[Prompt], splits: Sequence[str]
) -> None:
    """Evaluate the remaining splits, write all metrics and the card, and print the metrics."""
    out = Path(options.out)
    report, file = _read(out / "training.json"), out / "evaluation.json"
    done = _read(file) if file.is_file() else {}
    asked = {"limit": options.evaluate_limit, "max_new_tokens": options.max_new_tokens}
    if wanted := [split for split in splits if done.get(split, {}).get("asked") != asked]:
        generator: Any = load_generator(out / "model")
        template = make_template(options.template, generator.tokenizer)
        for split in wanted:
            prompts = load_prompts(options.data, split)
            picked = [prompts[i] for i in pick_evenly(len(prompts), options.evaluate_limit)]
            print(f"Answering {len(picked)} prompts of {split} ...", file=sys.stderr)
            figures, rows = evaluate(generator, template, picked, train, options.max_new_tokens)
            done[split] = figures | {"asked": asked, "machine": machine()}
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            write_file(out / f"answers-{split}.jsonl", lines)
            write_file(file, json.dumps(done, indent=1) + "\n")
    write_file(out / "model" / "README.md", card(settings, report, done))
    print(f"{report['steps']} steps in {report['minutes']:.1f} minutes\n")
    print(figures_tables(done) if done else f"{options.data} has no held-out split to evaluate.")
    print(f"generator={str(out / 'model')!r}")
