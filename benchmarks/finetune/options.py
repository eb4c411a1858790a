"""What a tuning run is asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.finetune.shapes import SHAPES
from pcrl_gym.prompts.template import check_template

BF16 = ("auto", "yes", "no")
_COUNTS = (
    "steps", "batch_tokens", "accumulate", "max_tokens", "checkpoint_steps", "evaluate_limit",
    "max_new_tokens", "lora",
)  # fmt: skip
# What does not decide the weights, and so may change when a run is resumed.
_FREE = {"out", "checkpoint_steps", "splits", "evaluate_limit", "max_new_tokens"}


@dataclass(frozen=True)
class Options:
    """All that decides the tuned model, and where it goes.

    Attributes:
        data: Name, file, folder or Hugging Face id of the prompts; split "train" is learned.
        out: Folder of the run.
        model: Hugging Face id or folder to start from.
        from_config: Name of a shape of `benchmarks.finetune.shapes` to begin with random weights.
        template: Layout of a prompt; "chat", with or without settings, for a chat model.
        minutes: Budget of training time; the first budget that is used up ends the training.
        epochs: Budget of passes over the data, fractions allowed; 3 without any budget.
        steps: Budget of optimizer steps, in place of epochs.
        lr: Highest learning rate; by default 5e-5, of an encoder-decoder 1e-4, with LoRA 2e-4,
            from random weights 1e-3.
        batch_tokens: Most padded tokens of a batch, per process; by default 4096, or what suits the
            shape.
        accumulate: Batches per optimizer step.
        max_tokens: Longest row, others are left out; by default the model's context, or 512.
        bf16: Whether to calculate in bfloat16, "yes" or "no", weights stay float32; "auto": where
            the processor does so faster.
        lora: Rank of adapters, which alone are trained and then merged; 0: all weights.
        seed: Seed of weights, order and dropout.
        checkpoint_steps: Steps between checkpoints, the most that an interruption costs.
        splits: Held-out splits to evaluate; by default all there are.
        evaluate_limit: Most prompts of a split, spread evenly; by default all.
        max_new_tokens: Longest answer in evaluation.

    Raises:
        ValueError: If a number is out of range, a name unknown, steps and epochs are both given, or
            not exactly one of `model` and `from_config`.
    """

    data: str
    out: str
    model: str | None = None
    from_config: str | None = None
    template: str = "alpaca"
    minutes: float | None = None
    epochs: float | None = None
    steps: int | None = None
    lr: float | None = None
    batch_tokens: int | None = None
    accumulate: int = 1
    max_tokens: int | None = None
    bf16: str = "auto"
    lora: int = 0
    seed: int = 0
    checkpoint_steps: int = 500
    splits: tuple[str, ...] | None = None
    evaluate_limit: int | None = None
    max_new_tokens: int = 30

    def __post_init__(self) -> None:
        if (self.model is None) == (self.from_config is None):
            raise ValueError("give one of --model and --from-config")
        if self.from_config is not None:
            if self.from_config not in SHAPES:
                known = ", ".join(SHAPES)
                raise ValueError(f"there is no config {self.from_config!r}; there are: {known}")
            if self.lora:
                raise ValueError("--lora adapts trained weights: it needs --model")
        if check_template(self.template) is not None and self.from_config is not None:
            raise ValueError("a new tokenizer has no chat template: --from-config needs alpaca")
        if self.steps is not None and self.epochs is not None:
            raise ValueError("give one of --steps and --epochs")
        if self.bf16 not in BF16:
            raise ValueError(f"bf16 must be one of {', '.join(BF16)}, got {self.bf16!r}")
        for name in ("minutes", "epochs", "lr"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < float("inf"):
                raise ValueError(f"{name} must be more than 0, got {value}")
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < (least := int(name != "lora")):
                raise ValueError(f"{name} must be at least {least}, got {value}")

    def settings(self) -> dict[str, Any]:
        """Return what decides the weights, and so must not change when a run is resumed."""
        return {name: value for name, value in asdict(self).items() if name not in _FREE}
