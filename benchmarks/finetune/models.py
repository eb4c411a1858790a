"""What is tuned: a model from the hub, a folder or random weights, and its low-rank adapters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.finetune.options import Options
from benchmarks.finetune.shapes import SHAPES, build_shape
from pcrl_gym.episodes.tokenizers import load_tokenizer, train_byte_level
from pcrl_gym.errors import MissingExtraError
from pcrl_gym.generators.pretrained import choose_device, load_pretrained
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import make_template
from pcrl_gym.storage.atomic import replace_folder

INSTALL = "pip install -e '.[finetune]'"


def load_start(options: Options, prompts: Sequence[Prompt], folder: Path) -> tuple[Any, Any]:
    """Return the model to begin with, float32 on the CPU, and its tokenizer.

    A tokenizer for random weights is trained on the prompts as they are read, and their answers.
    It is kept in a folder: its trainer orders equals by chance, and a resumed run needs the same.

    Raises:
        ValueError: If the model cannot be loaded.
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
                tokenizer = train_byte_level(texts, shape.vocab, shape.positions)
                tokenizer.save_pretrained(fresh)
        tokenizer = load_tokenizer(folder)
        model = build_shape(shape, tokenizer, options.seed)
    if choose_device() == "cpu":
        # The fused one's backward pass takes over half of a step on a CPU (torch 2.13).
        model.set_attn_implementation("eager")
    return model, tokenizer


def add_adapters(model: Any, rank: int) -> Any:
    """Return a model of which only low-rank adapters of all linear layers are trained.

    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021),
    https://arxiv.org/abs/2106.09685. The adapters' output is doubled (alpha is twice the rank).

    Raises:
        MissingExtraError: If peft is not installed.
    """
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError as error:
        raise MissingExtraError(f"--lora needs: {INSTALL}") from error
    seq2seq = bool(model.config.is_encoder_decoder)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        task_type=TaskType.SEQ_2_SEQ_LM if seq2seq else TaskType.CAUSAL_LM,
    )
    return get_peft_model(model, config)


def default_rate(options: Options, is_encoder_decoder: bool) -> float:
    """Return the highest learning rate, by default for the kind of model and training."""
    if options.lr is not None:
        return options.lr
    if options.from_config is not None:
        return 1e-3
    if options.lora:
        return 2e-4
    return 1e-4 if is_encoder_decoder else 5e-5


def batch_tokens(options: Options) -> int:
    """Return the most padded tokens of a batch, by default what the config does well with."""
    if options.batch_tokens is not None:
        return options.batch_tokens
    return 4_096 if options.from_config is None else SHAPES[options.from_config].batch_tokens


def uses_bf16(wanted: str) -> bool:
    """Return whether to train in bfloat16; "auto": where the processor multiplies it faster."""
    if wanted != "auto":
        return wanted == "yes"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def training_arguments(options: Options, is_encoder_decoder: bool, steps: int, bf16: bool) -> Any:
    """Return the `TrainingArguments` of a run.

    `steps` are those of the whole training; `bf16` says whether to train in bfloat16.
    """
    from transformers import TrainingArguments

    fresh = options.from_config is not None
    return TrainingArguments(
        output_dir=options.out,
        max_steps=steps,
        gradient_accumulation_steps=options.accumulate,
        per_device_train_batch_size=1,  # the batches are planned
        learning_rate=default_rate(options, is_encoder_decoder),
        weight_decay=0.1 if fresh else 0.0,
        adam_beta2=0.98 if fresh else 0.999,
        bf16=bf16,
        use_cpu=choose_device() == "cpu",  # else bfloat16 is refused there
        seed=options.seed,
        save_strategy="no",  # the clock asks for checkpoints
        save_total_limit=1,
        logging_steps=20,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # the clock ends such a training
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,  # the clock shows progress
        log_level="error",
    )
