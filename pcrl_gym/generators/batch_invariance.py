"""Probes which batches and drafts leave a model's logits, and thus its answers, unchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import torch

from pcrl_gym.generators.batching import pad_rows
from pcrl_gym.generators.generation_config import greedy_config, refuse_nan
from pcrl_gym.generators.likelihood import answer_logits
from pcrl_gym.generators.speculative.kv_cache import Reader
from pcrl_gym.generators.token_codec import TokenCodec
from pcrl_gym.generators.torch_state import own_state

Batching = Literal["padded", "equal", "single"]
"""Which prompts may share a batch: all with padding, those of equal length, or none."""

TEXTS = (
    "Write the words fig, plum and 12 pears in reverse order.",
    "Is it true that the sun rises in the east?",
    "Sort the numbers 3, 14 and 15, please.",
)
LONG, SHORT, NEW = 9, 3, 3
"""Tokens of the long and the short test prompts, and of their answers."""

TOLERANCE = 1e-3
"""Maximum `difference` of logits that count as equal; larger for less precise data types."""


@dataclass(frozen=True)
class Invariance:
    """How to run a model so that each answer depends only on its prompt.

    If `scoring` is None, one forward pass does not reproduce the logits of `generate`, so answers
    are scored by decoding them. Prompts that exceed the boundary are answered one by one.
    """

    decoding: Batching  # which prompts `generate` may answer in one batch
    scoring: Batching | None  # which prompts may share a forward pass that scores answers
    drafts: bool  # whether a `Reader` can read drafts
    boundary: int | None  # max tokens, answer included, whose positions do not depend on the batch
    problems: tuple[str, ...] = ()  # slow paths and the reasons for them, human-readable

    def exceeds(self, size: int) -> bool:
        """Return whether `size` tokens exceed the boundary."""
        return self.boundary is not None and size > self.boundary

    def groups(
        self, batching: Batching, sizes: Sequence[int], lengths: Sequence[tuple[int, ...]]
    ) -> list[tuple[int, ...]]:
        """Return the group of each row for `Batcher.run`; "equal" groups rows by `lengths`."""
        groups: list[tuple[int, ...]] = []
        for i, size in enumerate(sizes):
            if batching == "single" or self.exceeds(size):
                groups.append((1, size, i))
            else:
                groups.append((0, *lengths[i]) if batching == "equal" else (0,))
        return groups

    def reset(self, model: Any, ids: Mapping[str, Any]) -> None:
        """Run a short pass so that embeddings reset frequencies changed by long prompts."""
        if self.boundary is not None:
            answer_logits(model, ids, [[ids["pad_token_id"]]], [[ids["pad_token_id"]]])


def probe(model: Any, ids: Mapping[str, Any], codec: TokenCodec, context: int | None) -> Invariance:
    """Compare a model's logits in batches and with drafts to those of each prompt alone.

    The reference is what `generate` predicts for a single prompt. Takes about a dozen forward
    passes over a few tokens and restores the state of the process and of the model. `ids` are the
    model's control tokens; `context` is its maximum number of tokens, `None` if unlimited.

    Raises:
        ValueError: If `generate` fails on a prompt, returns NaN, or is not reproducible.
    """
    boundary = length_boundary(model)
    limits = [limit for limit in (context, boundary) if limit is not None]
    long = max(1, min(LONG, min(limits, default=LONG + NEW) - NEW))
    rows = [(row * long)[:long] for row in codec.prompts(TEXTS)]
    rows[1] = rows[1][: max(1, min(SHORT, long - 1))]
    eos = ids["eos_token_id"] or ()
    words = [i for row in codec.answers(TEXTS) for i in row if i not in eos] or [0]
    answers = [(words[k:] * NEW)[:NEW] for k in range(len(rows))]
    kind = type(model).__name__
    with own_state(model):
        model_probe = _Probe(model, ids, rows, answers)
        try:
            for i in (0, 1):
                model_probe.alone(i)
        except Exception as error:
            raise ValueError(
                f"{kind} cannot be used: its `generate` fails on a prompt of at most {long} tokens "
                f"with {type(error).__name__}: {error}"
            ) from error
        decoding, decoding_fault = model_probe.widest(decoded_logits)
        scoring, scoring_fault = model_probe.widest(answer_logits)
        drafts_fault = model_probe.fault(model_probe.draft_logits, [0, 1])
    if decoding is None:
        raise ValueError(
            f"{kind} cannot be used: `generate` returns different logits when it is called again "
            f"with the same prompt ({decoding_fault})"
        )
    problems = []
    if decoding_fault:
        problems.append(f"prompts are answered {_HOW[decoding]} ({decoding_fault})")
    if scoring_fault:
        problems.append(f"answers are scored {_HOW[scoring]} ({scoring_fault})")
    if drafts_fault:
        problems.append(f"drafts are not used ({drafts_fault})")
    if boundary is not None:
        problems.append(
            f"prompts that exceed {boundary} tokens, including their answers, are answered one by "
            "one and without drafts (positions depend on the length)"
        )
    return Invariance(decoding, scoring, not drafts_fault, boundary, tuple(problems))


_HOW = {"equal": "in batches of equal length", "single": "one by one", None: "by decoding them"}


class _Probe:
    """Test prompts (the second is short) and answers, and the logits of each prompt alone."""

    def __init__(
        self, model: Any, ids: Mapping[str, Any], rows: list[list[int]], answers: list[list[int]]
    ) -> None:
        self._model, self._ids = model, ids
        self._rows, self._answers = rows, answers
        self.alone = cache(lambda i: decoded_logits(model, ids, [rows[i]], [answers[i]]))

    def widest(self, logits: Callable[..., torch.Tensor]) -> tuple[Batching | None, str]:
        """Return the widest batching that changes no logits, and the fault of the next wider."""
        kinds: dict[Batching, list[int]] = {"padded": [0, 1], "equal": [0, 2], "single": [0]}
        fault = ""
        for batching, chosen in kinds.items():
            rows, answers = [self._rows[i] for i in chosen], [self._answers[i] for i in chosen]
            found = self.fault(partial(logits, self._model, self._ids, rows, answers), chosen)
            if not found:
                return batching, fault
            fault = found
        return None, fault

    def fault(self, logits: Callable[[], torch.Tensor], chosen: Sequence[int]) -> str:
        """Describe how logits differ from those of the chosen prompts alone, "" if they do not."""
        try:
            found = difference(logits(), torch.cat([self.alone(i) for i in chosen]))
        except Exception as error:  # then this path is not used, and the warning gives the reason
            return str(error) or type(error).__name__
        allowed = max(TOLERANCE, 8 * torch.finfo(self._model.dtype).eps)
        return "" if found <= allowed else f"logits differ by {found:.0%} of their spread"

    def draft_logits(self) -> torch.Tensor:
        """Read the answers of two prompts in two parts, the first of which has a wrong token."""
        config = self._model.config
        relative = getattr(config, "relative_attention_num_buckets", None) is not None
        if config.is_encoder_decoder and not relative:
            # Half precision may hide that padding shifts a decoder's positions.
            raise NotImplementedError("its decoder does not accept position ids")
        reader = Reader(self._model, self._ids, self._rows[:2])
        (long, short), (first, second) = reader.unread, self._answers[:2]
        begun = reader.logits([[*long, first[1]], [*short, second[0]]], [2, 2])
        if not reader.can_rewind:
            raise NotImplementedError("its cache cannot be rewound")
        reader.retain([0, 1], [1, 0])
        rest = reader.logits([first[:2], second[1:2]], [2, 1])
        return torch.cat([begun[:1], rest[:2], begun[2:], rest[2:]])


def decoded_logits(
    model: Any,
    ids: Mapping[str, Any],
    rows: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
) -> torch.Tensor:
    """Compute the logits of given answers token by token, as `generate` does.

    Slower than `likelihood.answer_logits` (see there), but correct for every model.
    """
    encoder_decoder, pad = model.config.is_encoder_decoder, ids["pad_token_id"]
    input_ids, mask = pad_rows(rows, pad, not encoder_decoder, model.device)
    answers, _ = pad_rows(targets, pad, False, model.device)
    start = 1 if encoder_decoder else input_ids.shape[1]

    def force(read: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        tokens = answers[:, read.shape[1] - start, None]
        return torch.full_like(scores, -torch.inf).scatter(1, tokens, 0.0)

    recorded = {"output_logits": True, "return_dict_in_generate": True}
    output = model.generate(
        input_ids=input_ids,
        attention_mask=mask,
        generation_config=greedy_config(max_new_tokens=answers.shape[1], **recorded, **ids),
        logits_processor=[refuse_nan, force],
    )
    steps = torch.stack(output.logits, dim=1)
    return torch.cat([steps[i, : len(target)] for i, target in enumerate(targets)])


def difference(logits: torch.Tensor, expected: torch.Tensor) -> float:
    """Return how much logits, (positions, vocabulary), differ from the expected ones.

    This is the maximum over positions of the root mean square difference, divided by the standard
    deviation of the expected values. Logits of impossible tokens are ignored.

    Example:
        >>> expected = torch.tensor([[1.0, 3.0]])
        >>> round(difference(torch.tensor([[1.5, 3.5]]), expected), 6)  # equal probabilities
        0.0
        >>> round(difference(torch.tensor([[1.0, 4.0]]), expected), 1)
        0.7
    """
    given, right = (
        x.float().log_softmax(dim=-1).clamp(min=-100.0)
        for x in (logits, expected.to(logits.device))
    )
    errors = (given - right).square().mean(dim=-1).sqrt()
    worst = (errors / right.std(dim=-1, correction=0).clamp(min=1e-9)).max()
    return float("inf") if torch.isnan(worst) else float(worst)


def length_boundary(model: Any) -> int | None:
    """Return the number of tokens up to which positions ignore the batch; `None` if unlimited.

    Some rotary embeddings change all frequencies when one prompt of a batch exceeds a certain
    length, and Llama 4 scales attention by columns that count padding. A probe would need prompts
    of that length, so the modules are inspected instead. This covers the types handled by
    `dynamic_rope_update` in transformers and those implemented in its models.
    """
    limits = []
    for module in model.modules():
        if getattr(module, "attn_temperature_tuning", False):
            limits.append(module.floor_scale - 1)
        kinds = getattr(module, "rope_type", None)
        settings = getattr(getattr(module, "config", None), "rope_parameters", None) or {}
        for layer, kind in kinds.items() if isinstance(kinds, dict) else [(None, kinds)]:
            if not isinstance(kind, str):
                continue
            if "dynamic" in kind:
                # Only strictly below it does each pass also reset what a longer one has changed.
                limits.append(module.original_max_seq_len - 1)
            elif kind == "longrope":
                own = settings if layer is None else settings[layer]
                limits.append(own["original_max_position_embeddings"])
    return min(limits, default=None)
