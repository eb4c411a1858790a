"""What a training needs: the model to begin with, its control tokens, and the encoded rows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.finetune.models import load_start
from benchmarks.finetune.options import Options
from benchmarks.finetune.rows import Encoded, Row, collator, encode_rows
from pcrl_gym.generators.generation_config import context_length, control_ids, greedy_config
from pcrl_gym.generators.token_codec import TokenCodec
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import make_template
from pcrl_gym.storage.atomic import replace_folder

_LONGEST = 512  # tokens of a row where the model has no limit of its own


@dataclass(frozen=True, eq=False)
class Material:
    """What a training needs."""

    model: Any  # with the weights to begin with, float32 on the CPU
    tokenizer: Any
    control: dict[str, Any]  # control tokens, see `control_ids`
    encoded: Encoded
    limit: int  # most tokens of a row, see `encode_rows`
    parameters: int

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether the model is one; else it is causal."""
        return bool(self.model.config.is_encoder_decoder)

    def collate(self) -> Callable[[Sequence[Row]], dict[str, Any]]:
        """Return the function from rows to what the model takes."""
        start = self.control.get("decoder_start_token_id")
        return collator(self.model, self.control["pad_token_id"], start)

    def report(self) -> dict[str, Any]:
        """Return the sizes, and how many prompts were left out and why."""
        rows, unanswered, too_long = self.encoded
        return {
            "parameters": self.parameters,
            "rows": len(rows),
            "tokens": sum(row.size for row in rows),
            "left_out": {"without_answer": unanswered, "too_long": too_long},
            "longest_row": self.limit,
        }

    def summary(self) -> str:
        """Return the report as a line of text."""
        report = self.report()
        return (
            f"{report['parameters']:,} parameters, {report['rows']:,} rows of {report['tokens']:,} "
            f"tokens; left out: {report['left_out']['without_answer']} without an answer, "
            f"{report['left_out']['too_long']} of more than {self.limit} tokens"
        )

    def save(self, model: Any, folder: Path, card: str) -> None:
        """Write the trained model, adapters merged, so that `generator=` takes the folder."""
        if hasattr(model, "merge_and_unload"):
            model = model.merge_and_unload()
        model.config.use_cache = True  # off while it was trained
        model.generation_config = greedy_config(**self.control)
        with replace_folder(folder) as fresh:
            model.save_pretrained(fresh)
            self.tokenizer.save_pretrained(fresh)
            (fresh / "README.md").write_text(card, encoding="utf-8")


def prepare(options: Options, prompts: Sequence[Prompt], tokenizer_folder: Path) -> Material:
    """Load the model and encode the prompts as it will read them.

    `tokenizer_folder` is that of `load_start`.

    Raises:
        ValueError: If the model cannot be loaded or has no end token, or no row is left.
    """
    model, tokenizer = load_start(options, prompts, tokenizer_folder)
    control = control_ids(model, tokenizer)
    ends = control["eos_token_id"]
    if not ends:
        raise ValueError(f"{options.model!r} has no end token to learn")
    context = context_length(model.config)
    limit = min(options.max_tokens or context or _LONGEST, context or sys.maxsize)
    seq2seq = bool(model.config.is_encoder_decoder)
    encoded = encode_rows(
        prompts,
        make_template(options.template, tokenizer),
        TokenCodec(tokenizer, seq2seq, control["pad_token_id"]),
        # A model may have several: the tokenizer's is the one that ends a text.
        tokenizer.eos_token_id if tokenizer.eos_token_id in ends else ends[0],
        limit,
        seq2seq,
    )
    if not encoded.rows:
        raise ValueError(
            f"nothing to learn: of {len(prompts)} prompts {encoded.unanswered} have no answer and "
            f"{encoded.too_long} are longer than {limit} tokens"
        )
    parameters = sum(p.numel() for p in model.parameters())
    return Material(model, tokenizer, control, encoded, limit, parameters)
