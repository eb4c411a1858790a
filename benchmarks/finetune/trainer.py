"""The training itself: Hugging Face's `Trainer` with a budget of time or steps."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import ExportableState
from transformers.utils import logging

from benchmarks.finetune.material import Material
from benchmarks.finetune.rows import Batches, Row, answer_loss, typical_length
from pcrl_gym.errors import PcrlError
from pcrl_gym.progress import progress_bar

WARM_UP = 0.05  # share of the budget in which the learning rate rises
UNLIMITED = 10**9  # steps of a training that only time ends


class DivergedError(PcrlError, RuntimeError):
    """The loss is no longer a finite number."""


def learning_rate_factor(done: float) -> float:
    """Return the factor on the learning rate at a share `done` of the budget: up, then to 0.

    Example:
        >>> [round(learning_rate_factor(done), 2) for done in (0.0, 0.05, 0.525, 1.0)]
        [0.1, 1.0, 0.5, 0.0]
    """
    if done < WARM_UP:
        return 0.1 + 0.9 * done / WARM_UP
    return max(0.0, (1.0 - done) / (1.0 - WARM_UP))


class Clock(TrainerCallback, ExportableState):
    """Counts the budget, ends the training with it, asks for checkpoints and shows progress.

    The time is that of the main process, sent to the others in every step, so that all of them
    learn at the same rate and stop at the same step. Time of earlier sittings counts.

    Args:
        seconds: Budget of time; None: no limit.
        steps: Budget of steps.
        save_every: Seconds between checkpoints.

    Attributes:
        seconds_done: Seconds of training up to the last step.
        done: Share of the budget that is used, in [0, 1].
    """

    def __init__(self, seconds: float | None, steps: int, save_every: float) -> None:
        self.seconds, self.steps, self.save_every = seconds, steps, save_every
        self.seconds_done = self.done = self._began = self._saved = 0.0
        self._bar: Any = None

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"args": {}, "attributes": {"seconds_done": self.seconds_done}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Go on where the checkpoint was."""
        self.seconds_done = state.stateful_callbacks["Clock"]["attributes"]["seconds_done"]
        self._began = time.monotonic() - self.seconds_done
        self._saved = self.seconds_done
        self._count(state.global_step)
        if state.is_world_process_zero:
            by_time = self.steps == UNLIMITED
            self._bar = progress_bar(
                total=round((self.seconds or 0) / 60, 2) if by_time else self.steps,
                desc="finetune",
                unit="min" if by_time else "step",
                bar_format="{desc}: {percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} {unit} "
                "[{elapsed}{postfix}]",
            )
            self._show(state.global_step)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Count the step; the learning rate of the next one is taken right after."""
        passed = torch.tensor(time.monotonic() - self._began, dtype=torch.float64)
        if args.world_size > 1:
            passed = passed.to(torch.float32).to(args.device)
            torch.distributed.broadcast(passed, src=0)
        self.seconds_done = passed.item()
        self._count(state.global_step + 1)

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Stop at the end of the budget; save when it is time."""
        if self.done >= 1.0:
            control.should_training_stop = True
        elif self.seconds_done - self._saved >= self.save_every:
            control.should_save = True
            # A loss that is not finite ends the training before it would be saved.
            control.should_log = True
            self._saved = self.seconds_done
        self._show(state.global_step)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any], **others: Any
    ) -> None:
        """Show the loss, and end a training that came to nothing."""
        if "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise DivergedError(
                f"the loss is {logs['loss']} at step {state.global_step}: lower --lr, or give "
                "--bf16 no; the last checkpoint is from before"
            )
        if self._bar is not None:
            loss, lr = f"{logs['loss']:.3f}", f"{logs['learning_rate']:.1e}"
            self._bar.set_postfix(step=state.global_step, loss=loss, lr=lr, refresh=False)

    def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def _count(self, steps: int) -> None:
        shares = [steps / self.steps]
        if self.seconds is not None:
            shares.append(self.seconds_done / self.seconds)
        self.done = min(1.0, max(shares))

    def _show(self, steps: int) -> None:
        if self._bar is not None:
            now = steps if self.steps != UNLIMITED else round(self.seconds_done / 60, 2)
            self._bar.update(now - self._bar.n)


class AnswerTrainer(Trainer):
    """A `Trainer` with planned batches, a learning rate from a clock and `answer_loss`.

    What is trained is the material's model, or that with adapters; the batches are those of this
    process. With `even_answers` tokens of long answers count less, see `answer_loss`.
    """

    def __init__(
        self,
        model: Any,
        material: Material,
        batches: Batches,
        clock: Clock,
        arguments: TrainingArguments,
        even_answers: bool,
    ) -> None:
        rows, seq2seq = material.encoded.rows, material.is_encoder_decoder
        typical = typical_length(rows) if even_answers else None

        def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> torch.Tensor:
            return answer_loss(outputs["logits"], labels, seq2seq, num_items_in_batch, typical)

        self._clock, self._batches = clock, batches
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=material.collate(),
            compute_loss_func=loss,
            callbacks=[clock],
        )
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(self) -> DataLoader[Row]:
        """Return the batches of this process; they are not split again among processes."""
        return DataLoader(
            self.train_dataset, batch_sampler=self._batches, collate_fn=self.data_collator
        )

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        """Return a learning rate that follows the budget, whatever of it is used up first."""
        self.lr_scheduler = LambdaLR(
            optimizer or self.optimizer, lambda _: learning_rate_factor(self._clock.done)
        )
        self._created_lr_scheduler = True
        return self.lr_scheduler


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing into the progress bar, and leave its settings as they were."""
    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)  # a `Trainer` changes it
        if bars:
            logging.enable_progress_bar()


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint; one that was cut off is removed.

    `Trainer` writes `trainer_state.json` last, so that a checkpoint with it is complete.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for path in reversed(found):
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            return path
        shutil.rmtree(path)
    return None
