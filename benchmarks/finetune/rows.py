"""Training data: rows of prompt and answer token IDs, batching, collation, and the loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import torch

from pcrl_gym.generators.batching import pad_rows
from pcrl_gym.generators.token_codec import TokenCodec
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import Template

IGNORED = -100  # label of a position excluded from the loss
_POOL = 32  # batches per pool


class Row(NamedTuple):
    """Token IDs of a prompt and of its target answer, including the end token."""

    prompt: list[int]
    answer: list[int]

    def size(self) -> int:
        """Return the total number of tokens."""
        return len(self.prompt) + len(self.answer)


def encode_rows(
    prompts: Sequence[Prompt],
    template: Template,
    tokenizer: Any,
    control: dict[str, Any],
    limit: int,
) -> tuple[list[Row], dict[str, int]]:
    """Encode prompts as the generator reads them, each with its gold answer and an end token.

    Prompts "without_answer" and those "too_long" are left out and counted. The limit in tokens
    applies to prompt and answer together, or to each of them if an encoder reads the prompt.
    """
    seq2seq, ends = "decoder_start_token_id" in control, control["eos_token_id"]
    if not ends:
        raise ValueError("the model has no end token")
    # Of several end tokens, the tokenizer's is the one that ends a text.
    end = tokenizer.eos_token_id if tokenizer.eos_token_id in ends else ends[0]
    codec = TokenCodec(tokenizer, seq2seq, control["pad_token_id"])
    answered = [prompt for prompt in prompts if prompt.output.strip()]
    asked = codec.prompts([template.render(prompt).text for prompt in answered])
    answers = codec.answers([prompt.output.strip() for prompt in answered])
    rows = [Row(a, [*b, end]) for a, b in zip(asked, answers, strict=True)]
    size = max if seq2seq else sum
    fitting = [row for row in rows if size(map(len, row)) <= limit]
    out = {"without_answer": len(prompts) - len(answered), "too_long": len(rows) - len(fitting)}
    if not fitting:
        raise ValueError(
            f"nothing to learn: {len(prompts)} prompts, {out} with a limit of {limit} tokens"
        )
    return fitting, out


def length_batches(rows: Sequence[Row], tokens: int, seed: int) -> list[list[Row]]:
    """Return batches of rows of similar length, with at most `tokens` padded tokens or one row.

    Rows are drawn in pools, which are sorted by length and split; the trainer shuffles the batches.
    """
    drawn = Random(seed).sample(rows, len(rows))
    pool = _POOL * tokens * len(rows) // sum(map(Row.size, rows)) + 1
    batches: list[list[Row]] = []
    for start in range(0, len(drawn), pool):
        batches.append([])
        for row in sorted(drawn[start : start + pool], key=Row.size):
            # Sorted, so this row is the longest so far.
            if batches[-1] and (len(batches[-1]) + 1) * row.size() > tokens:
                batches.append([])
            batches[-1].append(row)
    return batches


def collator(model: Any, control: Mapping[str, Any]) -> Callable[[Sequence[Row]], dict[str, Any]]:
    """Return a function that collates rows into model inputs: int64 tensors (rows, longest).

    A causal model reads prompt and answer in one row, left-padded as in generation, so that answers
    end at the right edge and only the last logits and labels are needed.
    """
    takes = inspect.signature(model.forward).parameters
    pad, cpu = control["pad_token_id"], torch.device("cpu")

    def causal(rows: Sequence[Row]) -> dict[str, Any]:
        ids, mask = pad_rows([row.prompt + row.answer for row in rows], pad, True, cpu)
        # One position more than the longest answer, which predicts the first token.
        labels, _ = pad_rows([[IGNORED, *row.answer] for row in rows], IGNORED, True, cpu)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        optional = {"position_ids": positions, "logits_to_keep": labels.shape[1]}
        given = {name: value for name, value in optional.items() if name in takes}
        return {"input_ids": ids, "attention_mask": mask, "labels": labels, **given}

    def seq2seq(rows: Sequence[Row]) -> dict[str, Any]:
        ids, mask = pad_rows([row.prompt for row in rows], pad, False, cpu)
        labels, _ = pad_rows([row.answer for row in rows], IGNORED, False, cpu)
        read = labels.masked_fill(labels == IGNORED, pad).roll(1, dims=1)
        read[:, 0] = control["decoder_start_token_id"]
        asked = {"input_ids": ids, "attention_mask": mask}
        return {**asked, "decoder_input_ids": read, "labels": labels}

    return seq2seq if model.config.is_encoder_decoder else causal


def answer_loss(
    logits: torch.Tensor, labels: torch.Tensor, shifted: bool, count: Any, typical: float | None
) -> torch.Tensor:
    """Return the cross-entropy of the answer tokens, in nats, summed and divided by a count.

    The logits of a causal model are `shifted`: the last ones predict the next label. With a
    `typical` length t, a token of an answer of n tokens is weighted by sqrt(t / n), so that long
    answers, of which a small model learns little, do not dominate one-word answers.
    """
    if shifted:
        logits, labels = logits[:, -labels.shape[1] : -1], labels[:, 1:]
    at = labels != IGNORED
    losses = torch.nn.functional.cross_entropy(logits[at].float(), labels[at], reduction="none")
    if typical is not None:
        lengths = at.sum(dim=1, keepdim=True).expand_as(at)[at]
        losses = losses * (typical / lengths).sqrt()
    return losses.sum() / count


def typical_length(rows: Sequence[Row]) -> float:
    """Return the `typical` of `answer_loss` for which token weights are 1 on average."""
    lengths = [len(row.answer) for row in rows]
    return (sum(lengths) / sum(length**0.5 for length in lengths)) ** 2
