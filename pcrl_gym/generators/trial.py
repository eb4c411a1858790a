"""What a model can do without changing its answers: tried out, not guessed from its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from pcrl_gym.generators.batching import pad_rows
from pcrl_gym.generators.generation_config import greedy_config
from pcrl_gym.generators.likelihood import answer_logits
from pcrl_gym.generators.prompt_encoder import PromptFramer
from pcrl_gym.generators.speculative.reader import Reader
from pcrl_gym.generators.torch_state import own_state

Company = Literal["any", "equal", "none"]
"""Which prompts may share a batch: all of them, padded; those of equal length; none."""

TEXTS = (
    "Write the words fig, plum and 12 pears in reverse order.",
    "Is it true that the sun rises in the east?",
    "Sort the numbers 3, 14 and 15, please.",
)
LONG, SHORT, NEW = 9, 3, 3
"""Tokens of the prompts that are tried, and of their answers."""

TOLERANCE = 1e-3
"""Up to what `difference` logits count as equal; more for data types that round more."""


@dataclass(frozen=True)
class Abilities:
    """How a model has to be asked so that each answer is the one to its prompt alone.

    Attributes:
        decoding: Which prompts `generate` may answer in one batch.
        scoring: Which prompts may share a forward pass that scores answers; `None`: it does not
            predict what `generate` does, so answers are scored by decoding them.
        drafts: Whether a `Reader` can read drafts.
        boundary: Tokens of prompt and answer up to which positions are the same in any company;
            longer ones are answered alone. `None`: there is no such boundary.
        problems: What is answered the slow way and why, for people.
    """

    decoding: Company
    scoring: Company | None
    drafts: bool
    boundary: int | None
    problems: tuple[str, ...] = ()


def try_out(
    model: Any, ids: Mapping[str, Any], framer: PromptFramer, context: int | None
) -> Abilities:
    """Try what a model can do, by its logits on two or three short prompts.

    What `generate` predicts for a prompt alone is right; that padding, company and drafts change
    nothing is seen by doing it. Costs about a dozen forward passes over a few tokens, and leaves
    the state of the process and of the model as it was.

    Args:
        model: The model, in evaluation mode.
        ids: Its control tokens, see `greedy.control_ids`.
        framer: Encodes its prompts.
        context: Most tokens that it takes; `None`: any number.

    Raises:
        ValueError: If `generate` cannot answer a prompt, or not twice alike, or gives NaN.
    """
    boundary = length_boundary(model)
    most = min((limit for limit in (context, boundary) if limit is not None), default=LONG + NEW)
    long = max(1, min(LONG, most - NEW))
    rows = [(row * long)[:long] for row in framer(TEXTS)]
    rows[1] = rows[1][: max(1, min(SHORT, long - 1))]
    ends = ids["eos_token_id"] or ()
    words = [i for row in framer.answers(TEXTS) for i in row if i not in ends] or [0]
    answers = [(words[k:] * NEW)[:NEW] for k in range(len(rows))]
    with own_state(model):
        trial = _Trial(model, ids, rows, answers)
        try:
            alone = [trial.alone(0), trial.alone(1)]
        except Exception as error:
            raise ValueError(
                f"{type(model).__name__} cannot be used: its `generate` fails on a prompt of at "
                f"most {long} tokens with {type(error).__name__}: {error}"
            ) from error
        if any(bool(logits.isnan().any()) for logits in alone):
            raise ValueError(
                f"{type(model).__name__} cannot be used: its logits are NaN; try dtype='float32', "
                "or check its weights"
            )
        return trial.abilities(boundary)


class _Trial:
    """Compares ways to ask with the logits of each prompt alone; the second prompt is short."""

    def __init__(
        self, model: Any, ids: Mapping[str, Any], rows: list[list[int]], answers: list[list[int]]
    ) -> None:
        self._model = model
        self._ids = ids
        self._rows = rows
        self._answers = answers
        self._known: dict[int, torch.Tensor] = {}

    def alone(self, i: int) -> torch.Tensor:
        """Return the logits of one of the prompts alone."""
        if i not in self._known:
            self._known[i] = decoded_logits(
                self._model, self._ids, [self._rows[i]], [self._answers[i]]
            )
        return self._known[i]

    def abilities(self, boundary: int | None) -> Abilities:
        """Try all ways.

        Raises:
            ValueError: If `generate` gives other logits when asked again.
        """
        kind = type(self._model).__name__
        decoding, why = self._widest(decoded_logits)
        if decoding is None:
            raise ValueError(
                f"{kind} cannot be used: `generate` does not answer a prompt twice alike ({why})"
            )
        problems = []
        if decoding != "any":
            problems.append(f"prompts are answered {_HOW[decoding]} ({why})")
        scoring, why = self._widest(answer_logits)
        if scoring != "any":
            problems.append(f"answers are scored {_HOW[scoring]} ({why})")
        if why := self._fault(self._read_drafts, [0, 1]):
            problems.append(f"drafts are not used ({why})")
        if boundary is not None:
            problems.append(
                f"prompts that exceed {boundary} tokens with their answers are answered one by "
                "one and without drafts (positions depend on the length)"
            )
        return Abilities(decoding, scoring, not why, boundary, tuple(problems))

    def _widest(self, logits: Callable[..., torch.Tensor]) -> tuple[Company | None, str]:
        """Find the widest company that changes nothing, and what a wider one changes."""
        companies: list[tuple[Company, list[int]]] = [
            ("any", [0, 1]),
            ("equal", [0, 2]),
            ("none", [0]),
        ]
        why = ""
        for company, chosen in companies:
            rows, answers = [self._rows[i] for i in chosen], [self._answers[i] for i in chosen]
            fault = self._fault(partial(logits, self._model, self._ids, rows, answers), chosen)
            if not fault:
                return company, why
            why = fault
        return None, why

    def _fault(self, logits: Callable[[], torch.Tensor], chosen: Sequence[int]) -> str:
        """Tell how logits differ from those of the chosen prompts alone, "" if they do not."""
        try:
            found = difference(logits(), torch.cat([self.alone(i) for i in chosen]))
        except Exception as error:  # the caller answers in another way and tells why
            return str(error) or type(error).__name__
        allowed = max(TOLERANCE, 8 * torch.finfo(self._model.dtype).eps)
        return "" if found <= allowed else f"logits differ by {found:.0%} of their spread"

    def _read_drafts(self) -> torch.Tensor:
        """Read the answers of two prompts in two parts; the first has a token that is wrong."""
        (long, short), (first, second) = self._rows[:2], self._answers[:2]
        pad = self._ids["pad_token_id"]
        if (config := self._model.config).is_encoder_decoder:
            # Where padding moves a decoder's positions, half precision may hide it in a trial.
            if getattr(config, "relative_attention_num_buckets", None) is None:
                raise NotImplementedError("its decoder is not told positions")
            reader = Reader(self._model, pad, encoder_rows=[long, short])
            long = short = [self._ids["decoder_start_token_id"]]
        else:
            reader = Reader(self._model, pad)
        begun = reader.logits([[*long, first[1]], [*short, second[0]]], [2, 2])
        if not reader.takes_back:
            raise NotImplementedError("its cache takes no tokens back")
        reader.retain([0, 1], [1, 0])
        rest = reader.logits([first[:2], second[1:2]], [2, 1])
        return torch.cat([begun[:1], rest[:2], begun[2:], rest[2:]])


_HOW = {
    "equal": "in batches of equal length",
    "none": "one by one",
    None: "by decoding them",
}


class Forced(LogitsProcessor):
    """Lets `generate` write given answers, (rows, tokens)."""

    def __init__(self, answers: torch.Tensor) -> None:
        self._answers = answers
        self._start: int | None = None

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> Any:
        """Return scores, (rows, vocabulary), under which only the next token is possible."""
        if self._start is None:
            self._start = input_ids.shape[1]
        tokens = self._answers[:, input_ids.shape[1] - self._start, None]
        return torch.full_like(scores, -torch.inf).scatter(1, tokens, 0.0)


def decoded_logits(
    model: Any,
    ids: Mapping[str, Any],
    rows: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
) -> torch.Tensor:
    """Predict the tokens of given answers as `generate` does, one after the other.

    Slower than `likelihood.answer_logits`, which see, but right for every model.
    """
    pad, device = ids["pad_token_id"], model.device
    input_ids, mask = pad_rows(rows, pad, not model.config.is_encoder_decoder, device)
    answers, _ = pad_rows(targets, pad, False, device)
    output = model.generate(
        input_ids=input_ids,
        attention_mask=mask,
        generation_config=greedy_config(
            max_new_tokens=answers.shape[1],
            output_logits=True,
            return_dict_in_generate=True,
            **ids,
        ),
        logits_processor=LogitsProcessorList([Forced(answers)]),
    )
    steps = torch.stack(output.logits, dim=1)
    return torch.cat([steps[i, : len(target)] for i, target in enumerate(targets)])


def difference(logits: torch.Tensor, expected: torch.Tensor) -> float:
    """Return how far logits, (positions, vocabulary), are from the expected ones.

    That is the largest root mean square of a position's differences, as a share of the standard
    deviation of what is expected there. Logits of tokens that are impossible do not count.

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
    """Return up to how many tokens positions are encoded alike; `None`: however many.

    Rotary embeddings of some kinds change all frequencies when one prompt of a batch exceeds a
    length, and Llama 4 scales attention by columns that count padding. A trial would have to be
    that long to see it, so the modules are looked at: these are the kinds that
    `dynamic_rope_update` of transformers knows, and those that its models have themselves.
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
                # Below, not at it, each pass also resets what a longer one has changed.
                limits.append(module.original_max_seq_len - 1)
            elif kind == "longrope":
                own = settings if layer is None else settings[layer]
                limits.append(own["original_max_position_embeddings"])
    return min(limits, default=None)
