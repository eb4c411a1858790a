"""Fine-tuning with Hugging Face's `Trainer`, from prompts and a model to a generator."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.optim.lr_scheduler import LambdaLR
from transformers.trainer_callback import ExportableState

from agents.runs.run import TrainingError
from agents.seeding import isolated_random_state
from benchmarks.finetune import rows as data
from benchmarks.finetune.options import SHAPES, Options, Shape
from benchmarks.provenance import machine
from pcrl_gym.episodes.tokenizers import load_tokenizer, train_byte_level
from pcrl_gym.generators.generation_config import context_length, control_ids, greedy_config
from pcrl_gym.generators.pretrained import choose_device, load_pretrained
from pcrl_gym.progress import progress_bar
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import make_template
from pcrl_gym.storage.atomic import replace_folder, write_file

_LONGEST = 512  # tokens of a row if the model has no limit
_UNLIMITED = 10**9  # steps of a run with only a time budget
_WARM_UP = 0.05  # share of the budget for learning rate warm-up


def train(options: Options, prompts: Sequence[Prompt], processes: Any) -> None:
    """Train, or resume from the latest checkpoint; the main process writes report and model."""
    out, start = Path(options.out), options.model or str(options.from_config)
    shape = SHAPES[start] if options.from_config else None
    with processes.main_process_first():
        model, tokenizer = _load(options, shape, prompts)
        checkpoint = _last_checkpoint(out)
    seq2seq, control = bool(model.config.is_encoder_decoder), control_ids(model, tokenizer)
    context = context_length(model.config)
    limit = min(options.max_tokens or context or _LONGEST, context or sys.maxsize)
    template = make_template(options.template, tokenizer)
    rows, left_out = data.encode_rows(prompts, template, tokenizer, control, limit)
    tokens = options.batch_tokens or (shape.batch_tokens if shape else 4_096)
    parameters, arguments = model.num_parameters(), _arguments(options, seq2seq)
    if processes.is_main_process:
        resumed = f"; resumes from {checkpoint}" if checkpoint else ""
        about = f"{parameters:,} parameters, {len(rows):,} rows; left out: {left_out}{resumed}"
        print(f"{start}: {about}", flush=True)
    clock, collate = Clock(options.minutes), data.collator(model, control)
    typical = data.typical_length(rows) if shape else None

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any) -> torch.Tensor:
        return data.answer_loss(outputs["logits"], labels, not seq2seq, num_items_in_batch, typical)

    with isolated_random_state():
        if options.lora:
            from peft import LoraConfig, get_peft_model

            torch.manual_seed(options.seed)  # `Trainer` seeds after the adapters are initialized
            task = "SEQ_2_SEQ_LM" if seq2seq else "CAUSAL_LM"
            adapters = {"lora_alpha": 2 * options.lora, "target_modules": "all-linear"}
            model = get_peft_model(model, LoraConfig(task_type=task, r=options.lora, **adapters))
        trainer = transformers.Trainer(
            model=model,
            args=arguments,
            train_dataset=data.length_batches(rows, tokens, options.seed),
            data_collator=lambda batches: collate(batches[0]),
            compute_loss_func=loss,
            callbacks=[clock],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.lr_scheduler = LambdaLR(trainer.create_optimizer(), clock.rate)
        trainer.train(resume_from_checkpoint=checkpoint)
    if not processes.is_main_process:
        return
    trained: Any = trainer.model
    report = {
        "parameters": parameters,
        "rows": len(rows),
        "left_out": left_out,
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
    trained.config.use_cache = True  # off during training
    trained.generation_config = greedy_config(**control)
    with replace_folder(out / "model") as folder:
        trained.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def uses_bf16(wanted: str) -> bool:
    """Return whether to train in bfloat16; "auto" uses it if the hardware accelerates it."""
    if wanted != "auto":
        return wanted == "yes"
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def build_shape(shape: Shape, tokenizer: Any, seed: int) -> Any:
    """Return a model of a shape with reproducible random weights, in float32 on the CPU."""
    _, width, heads, layers, decoder_layers, drop, _, positions = shape
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    common: Any = {"vocab_size": len(tokenizer), "pad_token_id": pad, "eos_token_id": end}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if decoder_layers:
            t5 = transformers.T5Config(
                d_model=width, d_kv=width // heads, d_ff=4 * width, num_heads=heads,
                num_layers=layers, num_decoder_layers=decoder_layers, dropout_rate=drop,
                decoder_start_token_id=pad, **common,
            )  # fmt: skip
            return transformers.T5ForConditionalGeneration(t5)
        gpt2 = transformers.GPT2Config(
            n_positions=positions, n_embd=width, n_layer=layers, n_head=heads, bos_token_id=None,
            resid_pdrop=drop, embd_pdrop=drop, attn_pdrop=drop,
            activation_function="gelu_pytorch_tanh", **common,
        )  # fmt: skip
        return transformers.GPT2LMHeadModel(gpt2)


def _load(options: Options, shape: Shape | None, prompts: Sequence[Prompt]) -> tuple[Any, Any]:
    """Return the initial model, in float32 on the CPU, and its tokenizer.

    For random weights, a tokenizer is trained on the rendered prompts and their answers. It is
    stored in a folder, as its trainer breaks ties randomly and a resumed run needs the same one.
    """
    if shape is None:
        model, tokenizer = load_pretrained(str(options.model), device="cpu", dtype="float32")
    else:
        folder = Path(options.out, "tokenizer")
        if not folder.is_dir():
            layout = make_template(options.template)
            texts = [layout.render(prompt).text for prompt in prompts]
            texts += [" " + prompt.output.strip() for prompt in prompts if prompt.output.strip()]
            with replace_folder(folder) as fresh:
                train_byte_level(texts, shape.vocab, shape.positions).save_pretrained(fresh)
        tokenizer = load_tokenizer(folder)
        model = build_shape(shape, tokenizer, options.seed)
    if choose_device() == "cpu":
        # The backward pass of fused attention takes over half of a step on a CPU (torch 2.13).
        model.set_attn_implementation("eager")
    return model, tokenizer


def _last_checkpoint(folder: Path) -> str | None:
    """Return the latest complete checkpoint, if any; `Trainer` writes its state last."""
    states = {}
    for file in folder.glob("checkpoint-*/trainer_state.json"):
        with contextlib.suppress(json.JSONDecodeError):
            states[json.loads(file.read_text(encoding="utf-8"))["global_step"]] = str(file.parent)
    return states.get(max(states, default=0))


def _arguments(options: Options, is_encoder_decoder: bool) -> transformers.TrainingArguments:
    fresh = options.from_config is not None
    rate = 1e-3 if fresh else 2e-4 if options.lora else 1e-4 if is_encoder_decoder else 5e-5
    only_time = options.minutes is not None and options.steps is options.epochs is None
    return transformers.TrainingArguments(
        output_dir=options.out, seed=options.seed, num_train_epochs=options.epochs or 3.0,
        max_steps=_UNLIMITED if only_time else options.steps or -1,
        per_device_train_batch_size=1, gradient_accumulation_steps=options.accumulate,
        learning_rate=options.lr or rate, weight_decay=0.1 if fresh else 0.0,
        adam_beta2=0.98 if fresh else 0.999, bf16=uses_bf16(options.bf16),
        use_cpu=choose_device() == "cpu",  # else bfloat16 is refused there
        save_steps=options.checkpoint_steps, save_total_limit=1, remove_unused_columns=False,
        # The clock shows progress and ends a training whose loss is not finite.
        logging_steps=20, logging_first_step=True, logging_nan_inf_filter=False,
        disable_tqdm=True, report_to="none",
    )  # fmt: skip


class Clock(transformers.TrainerCallback, ExportableState):
    """Ends training when its budget is used up, including earlier sessions, and shows progress.

    All processes use the clock of the main one, so that they share a learning rate and stop at the
    same step.
    """

    def __init__(self, minutes: float | None) -> None:
        self._limit = math.inf if minutes is None else minutes
        self._began = 0.0
        self._bar: Any = None
        self.minutes_done = 0.0  # up to the last step
        self.done = 0.0  # share of the budget, in [0, 1]

    def state(self) -> dict[str, Any]:
        """Return the state stored in a checkpoint."""
        return {"args": {}, "attributes": {"minutes_done": self.minutes_done}}

    def count(self, minutes: float, steps: float) -> None:
        """Record the minutes used and the share of the steps done."""
        self.minutes_done, self.done = minutes, min(1.0, max(steps, minutes / self._limit))

    def rate(self, _: int) -> float:
        """Return the learning rate factor: warm-up at the start of the budget, then decay to 0."""
        rise, fall = 0.1 + 0.9 * self.done / _WARM_UP, (1.0 - self.done) / (1.0 - _WARM_UP)
        return max(0.0, min(rise, fall))

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Resume from the checkpoint."""
        before = state.stateful_callbacks["Clock"]["attributes"]["minutes_done"]
        self._began = time.monotonic() - 60 * before
        self.count(before, state.global_step / state.max_steps)
        hidden = not state.is_world_process_zero
        self._bar = progress_bar(total=100, desc="finetune", unit="%", disable=hidden)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Count the step, before the scheduler sets the learning rate of the next one."""
        from accelerate.utils import broadcast

        minutes = torch.tensor((time.monotonic() - self._began) / 60, device=args.device)
        self.count(broadcast(minutes).item(), (state.global_step + 1) / state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Stop when the budget is used up."""
        self._bar.update(int(100 * self.done) - self._bar.n)
        if self.done >= 1.0:
            self._bar.close()
            control.should_training_stop = True
            control.should_save = False  # the model itself is stored next
        # Log before saving, so that a non-finite loss ends training before it is saved.
        control.should_log |= control.should_save

    def on_log(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Show the loss, and end training if it is not finite."""
        loss, step = others["logs"].get("loss", 0.0), state.global_step
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is {loss} at step {step}: lower --lr, or set --bf16 no")
        self._bar.set_postfix(step=step, loss=loss, refresh=False)
