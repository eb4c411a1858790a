"""Surprisal of text units under a causal language model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pcrl_gym.episodes.tokenizers import TextEncoder
from pcrl_gym.generators.pretrained import load_pretrained
from pcrl_gym.generators.torch_state import own_state

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from pcrl_gym.envs.task import Task
    from pcrl_gym.generators.base import Generator

FloatArray = NDArray[np.float64]
Span = tuple[int, int]
MICRO_PROMPTS = "micro-prompts"
"""Name of the language model of micro's prompts that is included in this package."""
PROMPT_MODEL = Path(__file__).with_name("prompt_model")
BATCH = 32
MAX_LOGITS = 2**26
"""Maximum logits per batch: 256 MiB in float32."""


def ranks_units(generator: Generator) -> bool:
    """Return whether a generator holds a causal transformers model and its tokenizer."""
    config = getattr(getattr(generator, "model", None), "config", None)
    causal = getattr(config, "is_encoder_decoder", None) is False
    return causal and generator.tokenizer is not None


class SurprisalRanker:
    """Base class of agents that rank units by surprisal, by default under the run's generator.

    Args:
        model: Causal language model: "micro-prompts" (of micro's prompts, 0.4 M parameters), a
            Hugging Face ID, or a folder, loaded on first use. None uses the run's generator if it
            is a causal transformers model.
        device: Device of `model`: "auto" (a GPU if there is one), or a torch device.
    """

    name: str
    ranker = True

    def __init__(self, model: str | None = None, device: str = "auto") -> None:
        self.model = model
        self.device = device
        self._surprisal: Surprisal | None = None

    def attach(self, task: Task) -> None:
        """Use the generator of the task whose prompts are compressed, unless `model` is given."""
        if self.model is not None:
            return
        generator: Any = task.scorer.generator
        if not ranks_units(generator):
            raise ValueError(
                f"{self.name} ranks units with a causal language model, but the generator "
                f"{generator.name!r} is not one that runs in this process: choose a model, such as "
                f"{self.name}:model=FOLDER"
            )
        self._surprisal = Surprisal(generator.model, generator.tokenizer)

    @property
    def surprisal(self) -> Surprisal:
        """The model's surprisals."""
        if self._surprisal is None:
            if self.model is None:
                raise RuntimeError(
                    f"{self.name} ranks units with the run's generator: call attach(task) before "
                    "act, or set model"
                )
            self._surprisal = Surprisal.load(self.model, self.device)
        return self._surprisal


class Surprisal:
    """Surprisals of units under a causal language model.

    The surprisal of a token is `-log p(token | all text before it)` in nats (also called its
    self-information). The surprisal of a unit is the sum over its tokens; a token that spans
    several units is split by characters. In texts longer than the model's context, each token sees
    at least half a context of the preceding text.
    """

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
        self._model = model
        self._encoder = TextEncoder(tokenizer)
        start = (tokenizer.bos_token_id, tokenizer.eos_token_id)
        self._start_id = next((i for i in start if i is not None), None)
        # One position is reserved for the start token.
        self._context = getattr(self._model.config, "max_position_embeddings", 1024) - 1

    @classmethod
    def load(cls, model: str, device: str = "auto") -> Surprisal:
        """Load a causal model by name (see `SurprisalRanker`) in float32."""
        folder = str(PROMPT_MODEL) if model == MICRO_PROMPTS else model
        loaded, tokenizer = load_pretrained(folder, device, "float32")
        if loaded.config.is_encoder_decoder:
            raise ValueError(
                f"surprisals need a causal language model, but {model!r} is an encoder-decoder"
            )
        return cls(loaded, tokenizer)

    def __call__(
        self, texts: Sequence[str], spans: Sequence[Sequence[Span] | NDArray[np.int64]]
    ) -> list[FloatArray]:
        """Return the surprisal of each unit in nats, per text (n_units,).

        Units are character ranges `(start, end)`, in order and without overlaps. Characters outside
        the units only serve as context.
        """
        encodings = self._encoder.encodings(texts)
        values = self._of_tokens([encoding.ids for encoding in encodings])
        return [
            _share_out(encoding.offsets, nats, np.asarray(own, dtype=np.int64).reshape(-1, 2))
            for encoding, nats, own in zip(encodings, values, spans, strict=True)
        ]

    def _of_tokens(self, texts: list[list[int]]) -> list[FloatArray]:
        values = [np.zeros(len(ids)) for ids in texts]
        # (text, first token of the window, first token that is scored in it)
        step = max(1, self._context // 2)
        windows = [
            (text, max(0, start - (self._context - step)), start)
            for text, ids in enumerate(texts)
            for start in ([0, *range(self._context, len(ids), step)] if ids else ())
        ]
        windows.sort(key=lambda w: len(texts[w[0]]))
        rest = iter(windows)
        longest = min(self._context, max(map(len, texts), default=0)) + 1
        rows = MAX_LOGITS // (longest * self._model.get_input_embeddings().num_embeddings)
        while batch := list(islice(rest, min(BATCH, max(1, rows)))):
            pieces = [texts[text][first : first + self._context] for text, first, _ in batch]
            with own_state(self._model):
                scored = self._score(pieces)
            for (text, first, start), nats in zip(batch, scored, strict=True):
                values[text][start : first + len(nats)] = nats[start - first :]
        return values

    def _score(self, pieces: list[list[int]]) -> list[FloatArray]:
        """Return surprisals of token ID sequences that fit the context, right-padded."""
        device = self._model.device
        prefix = [] if self._start_id is None else [self._start_id]
        width = max(map(len, pieces)) + len(prefix)
        ids = torch.zeros(len(pieces), max(width, 1), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, piece in enumerate(pieces):
            ids[row, : len(prefix) + len(piece)] = torch.tensor([*prefix, *piece])
            mask[row, : max(1, len(prefix) + len(piece))] = 1
        ids, mask = ids.to(device), mask.to(device)
        logits = self._model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        nats = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), ids[:, 1:], reduction="none"
        )
        surprisals = nats.double().cpu().numpy()
        if not prefix:  # a first token has no probability: assign the mean surprisal
            means = [
                row[: len(p) - 1].mean() if len(p) > 1 else 0.0
                for row, p in zip(surprisals, pieces, strict=True)
            ]
            surprisals = np.concatenate([np.array(means)[:, None], surprisals], axis=1)
        return [row[: len(piece)] for row, piece in zip(surprisals, pieces, strict=True)]


def _share_out(offsets: Sequence[Span], nats: FloatArray, spans: NDArray[np.int64]) -> FloatArray:
    """Return the summed token surprisals per unit, weighted by the share of characters in it."""
    end = max([0, *(e for _, e in offsets), *spans[:, 1].tolist()])
    density = np.zeros(end + 1)
    for (start, stop), value in zip(offsets, nats, strict=True):
        if stop > start:
            density[start:stop] += value / (stop - start)
    before = np.concatenate([[0.0], np.cumsum(density)])
    return before[spans[:, 1]] - before[spans[:, 0]]
