"""Token classifiers that label the tokens of a prompt to keep, such as LLMLingua-2's.

Follows Pan et al. 2024, "LLMLingua-2: Data Distillation for Efficient and Faithful Task-Agnostic
Prompt Compression" (arXiv 2403.12968): an encoder with two labels per token, "drop" and "keep".
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.base import Infos, Observations, check_share, drop_highest, keep_masks
from pcrl_gym.compressor.selection import character_means
from pcrl_gym.compressor.windows import plan_windows
from pcrl_gym.generators.pretrained import choose_device
from pcrl_gym.generators.torch_state import own_state
from pcrl_gym.storage.model_folder import loading

CONTEXT = 32
"""Tokens at the inner edges of a window whose logits come from the neighboring window."""


class TokenClassifierAgent:
    """Drops the units whose characters get the lowest keep logits from a token classifier.

    The classifier reads the user's text without a template, in windows if it is long.

    Args:
        model: Hugging Face ID or folder of a token classification model with a fast tokenizer, such
            as "microsoft/llmlingua-2-bert-base-multilingual-cased-meetingbank".
        rate: Exact share of each prompt's droppable units to drop, 0 to 1, rounded down.
        keep_label: Index of the label for kept tokens. The keep logit of a token is the logit of
            this label minus the highest of the others.
        device: "auto" (a GPU if there is one), or a torch device.

    Raises:
        ValueError: If the rate is not in 0 to 1, or, from `act`, if the model does not exist.
    """

    name = "token_classifier"

    def __init__(
        self,
        model: str = "microsoft/llmlingua-2-bert-base-multilingual-cased-meetingbank",
        rate: float = 0.25,
        keep_label: int = 1,
        device: str = "auto",
    ) -> None:
        self.model = model
        self.rate = check_share("rate", rate)
        self.keep_label = keep_label
        self.device = device

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModelForTokenClassification, AutoTokenizer

        with loading("the token classifier", self.model):
            tokenizer = AutoTokenizer.from_pretrained(self.model, trust_remote_code=False)
            model = AutoModelForTokenClassification.from_pretrained(
                self.model, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
            )
        if not 0 <= self.keep_label < model.config.num_labels or model.config.num_labels < 2:
            raise ValueError(
                f"keep_label={self.keep_label}, but {self.model} has {model.config.num_labels} "
                "labels: expected the index of one of at least two labels"
            )
        return model.to(choose_device(self.device)), tokenizer

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return masks that drop the units with the lowest keep logits."""
        droppable = observations["droppable"].astype(np.bool_)
        scores = np.full(droppable.shape, -np.inf)
        for row, info in enumerate(infos):
            free = np.flatnonzero(droppable[row])
            if not len(free):
                continue
            spans = np.asarray(info["spans"])[free]
            start, end = int(spans[0][0]), int(spans[-1][1])
            scores[row, free] = -self.keep_logits(info["prompt"][start:end], spans - start)
        return keep_masks(observations, drop_highest(scores, droppable, self.rate))

    def keep_logits(self, text: str, spans: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the mean keep logit of the characters in each range, (ranges,).

        Args:
            text: Input of the classifier.
            spans: Character ranges, int (ranges, 2).
        """
        model, tokenizer = self._loaded
        encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = encoding["input_ids"], encoding["offset_mapping"]
        around = tokenizer("")["input_ids"]  # such as [CLS] and [SEP]
        before, after = np.split(np.array(around, np.int64), [len(around) - len(around) // 2])
        positions = getattr(model.config, "max_position_embeddings", 512) - 2  # RoBERTa's offset
        limit = min(tokenizer.model_max_length, positions) - len(around)
        room = max(2 * CONTEXT + 1, limit)
        logits = np.zeros(len(ids))
        for window in plan_windows(len(ids), room, CONTEXT):
            framed = [*before, *ids[window.start : window.end], *after]
            with own_state(model):
                found = model(torch.tensor([framed], device=model.device)).logits[0].double().cpu()
            others = found.clone()
            others[:, self.keep_label] = -torch.inf
            keep = (found[:, self.keep_label] - others.amax(1)).numpy()[len(before) :]
            first, last = window.first - window.start, window.last - window.start
            logits[window.first : window.last] = keep[first:last]
        return character_means(logits, offsets, spans.tolist(), len(text))
