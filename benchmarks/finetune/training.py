"""One training: from prompts and a model to begin with to a generator and its report."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from agents.seeding import isolated_random_state
from benchmarks.finetune import rows as data
from benchmarks.finetune.evaluation import card
from benchmarks.finetune.options import Options
from benchmarks.finetune.shapes import SHAPES, build_shape
from benchmarks.finetune.trainer import AnswerTrainer, Clock, last_checkpoint, training_arguments
from benchmarks.provenance import machine
from pcrl_gym.episodes.tokenizers import load_tokenizer, train_byte_level
from pcrl_gym.errors import MissingExtraError
from pcrl_gym.generators.generation_config import context_length, control_ids, greedy_config
from pcrl_gym.generators.pretrained import choose_device, load_pretrained
from pcrl_gym.generators.token_codec import TokenCodec
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import make_template
from pcrl_gym.storage.atomic import replace_folder, write_file

INSTALL = "pip install -e '.[finetune]'"
_LONGEST = 512  # tokens of a row where the model has no limit of its own


def train(
    options: Options, settings: dict[str, Any], prompts: Sequence[Prompt], processes: Any
) -> None:
    """Train, or resume from the newest checkpoint; write training.json and the model.

    Args:
        options: What is asked for.
        settings: What `settings.json` holds.
        prompts: What to learn.
        processes: Accelerate's `PartialState`; the main process alone writes.

    Raises:
        ValueError: If the model cannot be loaded or has no end token, or no row is left to learn.
        MissingExtraError: If peft is needed and not installed.
        DivergedError: If the loss is no longer finite.
    """
    out, start = Path(options.out), options.model or str(options.from_config)
    with processes.main_process_first():
        model, tokenizer = _load(options, prompts, out / "tokenizer")
        checkpoint = last_checkpoint(out)
    seq2seq, control = bool(model.config.is_encoder_decoder), control_ids(model, tokenizer)
    pad, ends = control["pad_token_id"], control["eos_token_id"]
    if not ends:
        raise ValueError(f"{start!r} has no end token to learn")
    # A model may have several: the tokenizer's is the one that ends a text.
    end = tokenizer.eos_token_id if tokenizer.eos_token_id in ends else ends[0]
    context = context_length(model.config)
    limit = min(options.max_tokens or context or _LONGEST, context or sys.maxsize)
    template, codec = (
        make_template(options.template, tokenizer),
        TokenCodec(tokenizer, seq2seq, pad),
    )
    rows, left_out = data.encode_rows(prompts, template, codec, end, limit, seq2seq)
    shape = SHAPES[start] if options.from_config else None
    tokens = options.batch_tokens or (shape.batch_tokens if shape else 4_096)
    if processes.is_main_process:
        resumed = f"; resumes from {checkpoint.name}" if checkpoint else ""
        print(
            f"{start}: {model.num_parameters():,} parameters, {len(rows):,} rows; left out: "
            f"{left_out['without_answer']} without an answer, {left_out['too_long']} of more than "
            f"{limit} tokens{resumed}",
            flush=True,
        )
    clock, arguments = Clock(options.minutes), training_arguments(options, seq2seq)
    collate, typical = data.collator(model, control), data.typical_length(rows) if shape else None

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any) -> torch.Tensor:
        return data.answer_loss(outputs["logits"], labels, not seq2seq, num_items_in_batch, typical)

    report = {"parameters": model.num_parameters(), "rows": len(rows), "left_out": left_out}
    with isolated_random_state():
        trainer = AnswerTrainer(
            clock,
            model=_with_adapters(model, options.lora) if options.lora else model,
            args=arguments,
            train_dataset=data.length_batches(rows, tokens, options.seed),
            data_collator=lambda batches: collate(batches[0]),
            compute_loss_func=loss,
        )
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if not processes.is_main_process:
        return
    trained: Any = trainer.model
    report |= {
        "tokens": sum(map(data.Row.size, rows)),
        "longest_row": limit,
        "trained_parameters": trained.num_parameters(only_trainable=True),
        "learning_rate": arguments.learning_rate,
        "batch_tokens": tokens,
        "steps": trainer.state.global_step,
        "minutes": round(clock.minutes_done, 2),
        "machine": machine(),
        "history": [row for row in trainer.state.log_history if "loss" in row],
    }
    write_file(out / "training.json", json.dumps(report, indent=1) + "\n")
    if options.lora:
        trained = trained.merge_and_unload()
    trained.config.use_cache = True  # off while it was trained
    trained.generation_config = greedy_config(**control)
    with replace_folder(out / "model") as folder:
        trained.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(card(settings, report, {}), encoding="utf-8")


def _load(options: Options, prompts: Sequence[Prompt], folder: Path) -> tuple[Any, Any]:
    """Return the model to begin with, float32 on the CPU, and its tokenizer.

    A tokenizer for random weights is trained on the prompts as they are read, and their answers.
    It is kept in a folder: its trainer orders equals by chance, and a resumed run needs the same.
    """
    if options.model is not None:
        model, tokenizer = load_pretrained(options.model, device="cpu", dtype="float32")
    else:
        shape = SHAPES[str(options.from_config)]
        if not folder.is_dir():
            layout = make_template(options.template)
            texts = [layout.render(prompt).text for prompt in prompts]
            texts += [" " + prompt.output.strip() for prompt in prompts if prompt.output.strip()]
            with replace_folder(folder) as fresh:
                train_byte_level(texts, shape.vocab, shape.positions).save_pretrained(fresh)
        tokenizer = load_tokenizer(folder)
        model = build_shape(shape, tokenizer, options.seed)
    if choose_device() == "cpu":
        # The fused one's backward pass takes over half of a step on a CPU (torch 2.13).
        model.set_attn_implementation("eager")
    return model, tokenizer


def _with_adapters(model: Any, rank: int) -> Any:
    """Return a model of which only low-rank adapters of all linear layers are trained."""
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError as error:
        raise MissingExtraError(f"--lora needs: {INSTALL}") from error
    task = TaskType.SEQ_2_SEQ_LM if model.config.is_encoder_decoder else TaskType.CAUSAL_LM
    adapters: Any = {"r": rank, "lora_alpha": 2 * rank, "target_modules": "all-linear"}
    return get_peft_model(model, LoraConfig(task_type=task, **adapters))
