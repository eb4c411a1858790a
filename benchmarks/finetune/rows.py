"""What is learned: rows of prompt and answer ids, batches of similar length, and their tensors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count, islice
from random import Random
from typing import Any, NamedTuple

import torch
from torch.utils.data import Sampler

from pcrl_gym.generators.batching import pad_rows
from pcrl_gym.generators.token_codec import TokenCodec
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import Template

IGNORED = -100  # label of a position that no loss is taken of
# Batches that are cut from one pool are of similar length; a pool holds so many batches' tokens.
_POOL = 32


class Row(NamedTuple):
    """One prompt as the model reads it, and the answer that it is to give, end token included."""

    prompt: list[int]
    answer: list[int]

    @property
    def size(self) -> int:
        """Tokens in all."""
        return len(self.prompt) + len(self.answer)


class Encoded(NamedTuple):
    """The rows of a dataset in its order, and how many prompts are not among them."""

    rows: list[Row]
    unanswered: int  # prompts without an answer
    too_long: int  # prompts that with their answer do not fit


def encode_rows(
    prompts: Sequence[Prompt],
    template: Template,
    codec: TokenCodec,
    end: int,
    limit: int | None,
    is_encoder_decoder: bool,
) -> Encoded:
    """Encode prompts as the generator will read them, and their gold answers as it should answer.

    Args:
        prompts: The prompts.
        template: Gives the text of a prompt.
        codec: Encodes prompts and answers.
        end: Id of the token that ends an answer.
        limit: Most tokens of prompt and answer together, or of an encoder-decoder each of the two;
            None: any number. Longer rows are left out, not cut.
        is_encoder_decoder: Whether the model is one.
    """
    answered = [prompt for prompt in prompts if prompt.output.strip()]
    asked = codec.prompts([template.render(prompt).text for prompt in answered])
    answers = codec.answers([prompt.output.strip() for prompt in answered])
    rows = [Row(a, [*b, end]) for a, b in zip(asked, answers, strict=True)]
    most = float("inf") if limit is None else limit
    fitting = [
        row for row in rows if (max(map(len, row)) if is_encoder_decoder else row.size) <= most
    ]
    return Encoded(fitting, len(prompts) - len(answered), len(rows) - len(fitting))


class Batches(Sampler[list[int]]):
    """Batches of row indices, epoch after epoch, those of one process of several.

    Every epoch holds every row once in an order of its own. Rows are drawn in pools that are sorted
    by length and cut where the padded tokens reach the budget; the batches of a pool are shuffled.
    The same arguments give the same batches, so a resumed training skips what it has seen.

    Args:
        sizes: Tokens of each row.
        tokens: Most padded tokens of a batch; a longer row is a batch of its own.
        seed: Of the shuffling.
        count: How many batches to give; None: those of `epochs`.
        epochs: How many epochs make the count.
        process: Which of the processes this one is.
        processes: How many there are, of P each takes every P-th batch.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        tokens: int,
        seed: int,
        count: int | None = None,
        epochs: float = 1.0,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self._sizes, self._tokens, self._seed = sizes, tokens, seed
        self._process, self._processes = process, processes
        if count is None:
            whole = [len(list(self._epoch(epoch))) for epoch in range(int(-(-epochs // 1)))]
            whole[-1] = round(whole[-1] * (epochs - len(whole) + 1))
            count = sum(whole) // processes
        self._count = max(1, count)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[int]]:
        batches = chain.from_iterable(map(self._epoch, count()))
        end = self._count * self._processes
        return islice(batches, self._process, end, self._processes)

    def _epoch(self, epoch: int) -> Iterator[list[int]]:
        rng = Random(f"{self._seed}:epoch:{epoch}")
        order = list(range(len(self._sizes)))
        rng.shuffle(order)
        pool: list[int] = []
        held = 0
        for index in order:
            pool.append(index)
            held += self._sizes[index]
            if held >= _POOL * self._tokens:
                yield from self._cut(pool, rng)
                pool, held = [], 0
        yield from self._cut(pool, rng)

    def _cut(self, pool: list[int], rng: Random) -> list[list[int]]:
        batches: list[list[int]] = []
        for index in sorted(pool, key=lambda i: self._sizes[i]):
            # Sorted: the row that comes is the longest so far.
            if batches and (len(batches[-1]) + 1) * self._sizes[index] <= self._tokens:
                batches[-1].append(index)
            else:
                batches.append([index])
        rng.shuffle(batches)
        return batches


def collator(model: Any, pad: int, start: int | None) -> Callable[[Sequence[Row]], dict[str, Any]]:
    """Return a function from rows to what the model takes, with `labels`.

    A causal model reads prompt and answer in one row, padded on the left as in answering, so that
    answers end at the right edge and only the last logits are needed. Labels are `IGNORED` except
    on the answer; those of a causal model stand at the position of their token, and the logits one
    before are to predict it. All tensors are int64 of shape (rows, longest).

    Args:
        model: The model, not wrapped by others.
        pad: Id to fill up with.
        start: Id that a decoder starts with; None for a causal model.
    """
    takes = inspect.signature(model.forward).parameters
    cpu = torch.device("cpu")

    def causal(rows: Sequence[Row]) -> dict[str, Any]:
        ids, mask = pad_rows([row.prompt + row.answer for row in rows], pad, True, cpu)
        labels = torch.full_like(ids, IGNORED)
        for label, row in zip(labels, rows, strict=True):
            label[-len(row.answer) :] = torch.tensor(row.answer)
        batch: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        if "position_ids" in takes:
            batch["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)
        if "logits_to_keep" in takes:
            batch["logits_to_keep"] = max(len(row.answer) for row in rows) + 1
        return batch

    def seq2seq(rows: Sequence[Row]) -> dict[str, Any]:
        ids, mask = pad_rows([row.prompt for row in rows], pad, False, cpu)
        answers, given = pad_rows([row.answer for row in rows], pad, False, cpu)
        first = answers.new_full((len(rows), 1), start)
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "decoder_input_ids": torch.cat([first, answers[:, :-1]], dim=1),
            "labels": answers.masked_fill(given == 0, IGNORED),
        }

    return seq2seq if model.config.is_encoder_decoder else causal


def answer_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    is_encoder_decoder: bool,
    count: Any = None,
    typical: float | None = None,
) -> torch.Tensor:
    """Return the cross-entropy of the answers' tokens, in nats.

    Args:
        logits: (rows, positions, vocabulary); of a causal model perhaps the last positions alone.
        labels: (rows, longest), see `collator`.
        is_encoder_decoder: Whether logits and labels stand at the same position; else logits
            predict the label one after them.
        count: What to divide the sum by; None: the number of labels.
        typical: None: every token counts the same. A number t: one of an answer of n tokens counts
            sqrt(t / n), so that long answers, of which a small model learns little, do not drown
            those of a word. See `typical_length`.
    """
    if not is_encoder_decoder:
        labels = labels[:, -logits.shape[1] :][:, 1:]
        logits = logits[:, :-1]
    counted = labels != IGNORED
    losses = torch.nn.functional.cross_entropy(
        logits[counted].float(), labels[counted], reduction="none"
    )
    if typical is not None:
        lengths = counted.sum(dim=1, keepdim=True).expand_as(counted)[counted]
        losses = losses * (typical / lengths).sqrt()
    return losses.sum() / (counted.sum() if count is None else count)


def typical_length(rows: Sequence[Row]) -> float:
    """Return `typical` of `answer_loss` with which the weights of all tokens are 1 on average."""
    lengths = [len(row.answer) for row in rows]
    return (sum(lengths) / sum(length**0.5 for length in lengths)) ** 2
