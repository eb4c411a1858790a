"""What a tuning run is asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.finetune.shapes import SHAPES
from pcrl_gym.prompts.template import check_template

BF16 = ("auto", "yes", "no")


@dataclass(frozen=True)
class Options:
    """Everything that decides the tuned model, and where it goes.

    Of several budgets the first that is used up ends the training; without any, 3 epochs.

    Raises:
        ValueError: If a number is out of range, a name unknown, or not exactly one of `model` and
            `from_config` given.
    """

    data: str  # as `pcrl_gym.load_prompts` takes it; split "train" is learned
    out: str  # folder of the run
    model: str | None = None  # to start from: Hugging Face id or folder
    from_config: str | None = None  # name of `shapes.SHAPES` to begin with random weights
    template: str = "alpaca"  # "chat" with or without settings: for a model with a chat template
    minutes: float | None = None  # budget of training time
    epochs: float | None = None  # budget of passes over the data, fractions allowed
    steps: int | None = None  # budget of optimizer steps
    lr: float | None = None  # highest learning rate; None: see `default_rate`
    batch_tokens: int | None = None  # most padded tokens of a batch, per process; None: by model
    accumulate: int = 1  # batches per optimizer step
    max_tokens: int | None = None  # of a row; None: the model's context, 512 without a limit
    # Arithmetic of the training in bfloat16; weights stay float32. "auto": see `uses_bf16`.
    bf16: str = "auto"
    lora: int = 0  # rank of adapters, which alone are trained and then merged; 0: all weights
    seed: int = 0  # of weights, order and dropout
    checkpoint_minutes: float = 5.0
    splits: tuple[str, ...] | None = None  # held-out ones to evaluate; None: all there are
    evaluate_limit: int | None = None  # most prompts of a split, spread evenly; None: all
    max_new_tokens: int = 30  # longest answer in evaluation

    def __post_init__(self) -> None:
        if (self.model is None) == (self.from_config is None):
            raise ValueError("give one of --model and --from-config")
        if self.from_config is not None and self.from_config not in SHAPES:
            raise ValueError(
                f"there is no config {self.from_config!r}; there are: {', '.join(SHAPES)}"
            )
        if self.from_config is not None and self.lora:
            raise ValueError("--lora adapts trained weights: it needs --model")
        if check_template(self.template) is not None and self.from_config is not None:
            raise ValueError("a new tokenizer has no chat template: --from-config needs alpaca")
        if self.bf16 not in BF16:
            raise ValueError(f"bf16 must be one of {', '.join(BF16)}, got {self.bf16!r}")
        for name in ("minutes", "epochs", "lr"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < float("inf"):
                raise ValueError(f"{name} must be more than 0, got {value}")
        for name in ("steps", "batch_tokens", "accumulate", "max_tokens", "max_new_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.lora < 0 or not 0.0 <= self.checkpoint_minutes < float("inf"):
            raise ValueError(
                "lora and checkpoint_minutes must be 0 or more, got "
                f"{self.lora} and {self.checkpoint_minutes}"
            )

    def settings(self) -> dict[str, Any]:
        """Return what decides the weights, and so must not change when a run goes on."""
        others = {"out", "checkpoint_minutes", "splits", "evaluate_limit", "max_new_tokens"}
        return {name: value for name, value in asdict(self).items() if name not in others}
