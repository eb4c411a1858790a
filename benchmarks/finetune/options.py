"""Options of a fine-tuning run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge

from agents.runs.config import PositiveFloat, PositiveInt
from pcrl_gym.prompts.template import check_template
from pcrl_gym.spec_strings import check_fields


class Shape(NamedTuple):
    """Size of a model: T5 architecture if it has decoder layers, else GPT-2."""

    vocab: int  # maximum vocabulary size
    width: int  # of the hidden states
    heads: int
    layers: int  # of a causal model, or of an encoder
    decoder_layers: int = 0
    dropout: float = 0.1  # only larger models see the data often enough to overfit
    batch_tokens: int = 8_192  # see `Options`; few steps fit into an hour on a CPU
    positions: int = 1_024  # context of a causal model; an encoder-decoder has relative positions


ShapeName = Literal["gpt2-mini", "t5-mini", "gpt2-small", "t5-small", "t5-medium"]
SHAPES: dict[str, Shape] = {
    # For one CPU core: 7M and 8M parameters.
    "gpt2-mini": Shape(8_192, 256, 8, 6, dropout=0.0, batch_tokens=1_024),
    "t5-mini": Shape(8_192, 256, 8, 5, 2, dropout=0.0, batch_tokens=1_024),
    # For a GPU: 98M to 107M parameters.
    "gpt2-small": Shape(16_384, 768, 12, 12),
    "t5-small": Shape(16_384, 512, 8, 6, 6),
    "t5-medium": Shape(16_384, 768, 12, 8, 4),
}
# Options that do not affect the weights and may change when a run is resumed.
_FREE = {"out", "checkpoint_steps", "splits", "evaluate_limit", "max_new_tokens"}


@dataclass(frozen=True)
class Options:
    """Options that determine the tuned model, and its output folder.

    Attributes:
        data: Name, file, folder or Hugging Face ID of the prompts; training uses the split "train".
        out: Folder of the run.
        model: Hugging Face ID or folder to start from.
        from_config: Shape of a model with random weights to start from.
        template: Prompt template; "chat", with or without settings, for a chat model.
        minutes: Budget of training time; training ends when the first budget is used up.
        epochs: Budget of passes over the data, fractions allowed; 3 without any budget.
        steps: Budget of optimizer steps, instead of epochs.
        lr: Peak learning rate; by default 5e-5, for an encoder-decoder 1e-4, with LoRA 2e-4, from
            random weights 1e-3.
        batch_tokens: Maximum padded tokens per batch and process; by default 4096, or the shape's.
        accumulate: Batches per optimizer step.
        max_tokens: Maximum row length, else left out; by default the model's context, or 512.
        bf16: Whether to compute in bfloat16 (weights stay float32); "auto" if it is faster.
        lora: Rank of the adapters, which are trained alone and then merged; 0 trains all weights.
        seed: Seed for weights, order and dropout.
        checkpoint_steps: Steps between checkpoints, the most that an interruption loses.
        splits: Held-out splits to evaluate; by default all.
        evaluate_limit: Maximum prompts per split, spread evenly; by default all.
        max_new_tokens: Maximum answer length in evaluation.
    """

    data: str
    out: str
    model: str | None = None
    from_config: ShapeName | None = None
    template: str = "alpaca"
    minutes: PositiveFloat | None = None
    epochs: PositiveFloat | None = None
    steps: PositiveInt | None = None
    lr: PositiveFloat | None = None
    batch_tokens: PositiveInt | None = None
    accumulate: PositiveInt = 1
    max_tokens: PositiveInt | None = None
    bf16: Literal["auto", "yes", "no"] = "auto"
    lora: Annotated[int, Ge(0)] = 0
    seed: int = 0
    checkpoint_steps: PositiveInt = 500
    splits: tuple[str, ...] | None = None
    evaluate_limit: PositiveInt | None = None
    max_new_tokens: PositiveInt = 30

    def __post_init__(self) -> None:
        check_fields(self, "finetune")
        fresh, chat = self.from_config is not None, check_template(self.template) is not None
        for wrong, message in (
            (fresh == (self.model is not None), "set either --model or --from-config"),
            (None not in (self.steps, self.epochs), "set either --steps or --epochs, not both"),
            (fresh and self.lora, "--lora adapts trained weights and needs --model"),
            (fresh and chat, "a new tokenizer has no chat template: --from-config needs alpaca"),
        ):
            if wrong:
                raise ValueError(message)

    def settings(self) -> dict[str, Any]:
        """Return the options that affect the weights, which must not change on resuming."""
        return {name: value for name, value in asdict(self).items() if name not in _FREE}
