"""The remote side of `RayGenerator`: replicas in actors, and batches for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcrl_gym.generators.base import (
    Answer,
    Decided,
    DraftingGenerator,
    Drafts,
    Generator,
    check_generator,
)
from pcrl_gym.generators.hf import HFGenerator

MAX_PROMPTS = 256
"""Maximum average number of prompts per batch; a batch is retried if its replica dies."""


class Replica:
    """The code that runs in an actor and calls the hosted generator."""

    def load(self, source: str | Generator, *options: Any) -> tuple[Any, ...]:
        """Load the generator; return its name, prompt limit, tokenizer, and `gives_likelihoods`.

        This is not done in the actor's constructor, where errors lose their type. The options are
        device, data type, and batch size.
        """
        if isinstance(source, str):
            source = HFGenerator.from_pretrained(source, *options)
        self._generator = source
        return source.name, source.max_prompt_tokens, source.tokenizer, source.gives_likelihoods

    def ask(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of the replica, or else of its generator."""
        return getattr(self if hasattr(self, method) else self._generator, method)(*arguments)  # type: ignore[no-any-return]

    def fingerprints(self, texts: list[str]) -> list[str | None]:
        """Return the fingerprint of the generator for each text."""
        return [self._generator.fingerprint for _ in texts]

    def generate_from(
        self,
        prompts: list[str],
        drafts: Drafts,
        rows: list[int],
        max_new_tokens: int,
        decided: Decided,
    ) -> list[tuple[Answer, tuple[str, int] | None]]:
        """Answer from drafts; return answers with the arguments for which `decided` was true.

        `decided` gets the index of the prompt in `rows`.
        """
        if not isinstance(self._generator, DraftingGenerator):
            return [(answer, None) for answer in self.ask("generate", prompts, max_new_tokens)]
        reasons: dict[int, tuple[str, int]] = {}

        def decide(k: int, text: str, words_left: int) -> bool:
            if decided is None or not decided(rows[k], text, words_left):
                return False
            reasons[k] = text, words_left
            return True

        answers = self._generator.generate_from(
            prompts, drafts, max_new_tokens, None if decided is None else decide
        )
        return [(a, reasons.get(k) if a.partial else None) for k, a in enumerate(answers)]


def split_by_length(lengths: Sequence[int], replicas: int) -> list[list[int]]:
    """Split texts into batches of similar length and about equal work, longest texts first.

    Returns:
        Nonempty batches of indices, at most a multiple of the number of replicas, so that no
        replica is idle while another one has two batches.

    Example:
        >>> split_by_length([1, 9, 1, 8, 1, 1, 1, 1], replicas=2)
        [[1, 3], [0, 2, 4, 5, 6, 7]]
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    work = np.asarray(lengths, dtype=np.float64)[order] + 1  # an empty text also takes some work
    parts = replicas * -(-len(order) // (replicas * MAX_PROMPTS))
    # Position of the middle of each text if all texts are laid out on a line of `parts` batches.
    batch = ((work.cumsum() - work / 2) / work.sum() * parts).astype(int)
    return [rows for part in range(parts) if (rows := order[batch == part].tolist())]


def portable(ray: Any, generator: str | Path | Generator) -> Any:
    """Return the argument of `Replica.load` for a generator, usable on any machine of a cluster.

    Raises:
        ValueError: If the generator is neither a name nor a `Generator`.
    """
    if not isinstance(generator, (str, Path)):
        return ray.put(check_generator(generator))
    # Absolute, because a replica may run in another folder.
    return str(Path(generator).resolve() if Path(generator).exists() else generator)
