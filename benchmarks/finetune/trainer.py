"""The training itself: Hugging Face's `Trainer` on answers, with a budget of steps or time."""

from __future__ import annotations

import contextlib
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import ExportableState

from benchmarks.finetune.options import Options
from pcrl_gym.errors import PcrlError
from pcrl_gym.generators.pretrained import choose_device
from pcrl_gym.progress import progress_bar

_WARM_UP = 0.05  # share of the budget in which the learning rate rises
_UNLIMITED = 10**9  # steps of a training that only time ends


class DivergedError(PcrlError, RuntimeError):
    """The loss is no longer a finite number."""


class Clock(TrainerCallback, ExportableState):
    """Ends the training with its budget, whether steps or time, and shows progress.

    The time is that of the main process, sent to the others in every step, so that all of them
    learn at the same rate and stop at the same step. Time of earlier sittings counts.

    Args:
        minutes: Budget of time; None: no limit.

    Attributes:
        minutes_done: Minutes of training up to the last step.
        done: Share of the budget that is used, in [0, 1].
    """

    def __init__(self, minutes: float | None) -> None:
        self._limit = math.inf if minutes is None else minutes
        self.minutes_done = self.done = self._began = 0.0
        self._bar: Any = None

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"args": {}, "attributes": {"minutes_done": self.minutes_done}}

    def count(self, minutes: float, steps: float) -> None:
        """Note what is used: minutes, and the share of the steps."""
        self.minutes_done, self.done = minutes, min(1.0, max(steps, minutes / self._limit))

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Resume where the checkpoint was."""
        before = state.stateful_callbacks["Clock"]["attributes"]["minutes_done"]
        self._began = time.monotonic() - 60 * before
        self.count(before, state.global_step / state.max_steps)
        layout = "{desc}: {percentage:3.0f}%|{bar:20}| [{elapsed}{postfix}]"
        hidden = not state.is_world_process_zero
        self._bar = progress_bar(total=100, desc="finetune", bar_format=layout, disable=hidden)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Count the step; the learning rate of the next one is taken right after."""
        passed = torch.tensor((time.monotonic() - self._began) / 60)
        if args.world_size > 1:
            passed = passed.to(args.device)
            torch.distributed.broadcast(passed, src=0)
        self.count(passed.item(), (state.global_step + 1) / state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Stop at the end of the budget."""
        self._bar.update(round(100 * self.done, 1) - self._bar.n)
        if self.done >= 1.0:
            self._bar.close()
            control.should_training_stop = True
            control.should_save = False  # the model itself is stored next
        # A loss that is not finite ends the training before it would be saved.
        control.should_log |= control.should_save

    def on_log(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Show the loss, and end a training that came to nothing."""
        loss, step = others["logs"].get("loss", 0.0), state.global_step
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss is {loss} at step {step}: lower --lr, or give --bf16 no; the last "
                "checkpoint is from before"
            )
        self._bar.set_postfix(step=step, loss=loss, refresh=False)


class AnswerTrainer(Trainer):
    """A `Trainer` with a learning rate that follows a clock, whatever budget is used up first."""

    def __init__(self, clock: Clock, **options: Any) -> None:
        self._clock = clock
        super().__init__(callbacks=[clock], **options)
        self.remove_callback(PrinterCallback)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        """Return the learning rate: up in the first part of the budget, then down to 0."""

        def factor(_: int) -> float:
            done = self._clock.done
            return max(0.0, min(0.1 + 0.9 * done / _WARM_UP, (1.0 - done) / (1.0 - _WARM_UP)))

        self.lr_scheduler = LambdaLR(optimizer or self.optimizer, factor)
        self._created_lr_scheduler = True
        return self.lr_scheduler


def uses_bf16(wanted: str) -> bool:
    """Return whether to train in bfloat16; "auto": where the processor multiplies it faster."""
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported()
    else:
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return wanted == "yes" or (wanted == "auto" and fast)


def training_arguments(options: Options, is_encoder_decoder: bool) -> TrainingArguments:
    """Return what `Trainer` needs to know."""
    fresh = options.from_config is not None
    rate = 1e-3 if fresh else 2e-4 if options.lora else 1e-4 if is_encoder_decoder else 5e-5
    only_time = options.minutes is not None and options.steps is options.epochs is None
    return TrainingArguments(
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


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint, if any: `Trainer` writes its state last."""
    found = folder.glob("checkpoint-*")
    for path in sorted(found, key=lambda path: int(path.name.split("-")[1]), reverse=True):
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            return path
    return None
