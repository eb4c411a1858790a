"""What `RayGenerator` has on the other side: replicas in actors, and batches for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcrl_gym.generators.base import Answer, DraftingGenerator, Generator, check_generator
from pcrl_gym.generators.hf import HFGenerator

MAX_PROMPTS = 256
"""How many prompts a batch has on average at most: they are asked again if a replica dies."""


class Replica:
    """What runs in an actor: the hosted generator, and how to ask it."""

    def load(self, source: str | Generator, *options: Any) -> dict[str, Any]:
        """Load the generator, and return some of its attributes by name.

        Not done at the start of the actor, where an error loses its type. The options are device,
        data type and batch size.
        """
        if isinstance(source, str):
            source = HFGenerator.from_pretrained(source, *options)
        self._generator = source
        names = ("name", "max_prompt_tokens", "tokenizer", "gives_likelihoods")
        return {name: getattr(source, name) for name in names}

    def fingerprint(self) -> str | None:
        """Return the fingerprint of the generator."""
        return self._generator.fingerprint

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the generator, or `generate_from` of the replica."""
        owner = self if method == "generate_from" else self._generator
        return getattr(owner, method)(*arguments)

    def generate_from(
        self,
        prompts: list[str],
        drafts: list[Answer | str],
        rows: list[int],
        max_new_tokens: int,
        decided: Callable[[int, str, int], bool] | None,
    ) -> list[tuple[Answer, tuple[str, int] | None]]:
        """Answer from drafts, each with what `decided`, which gets its row, was true for."""
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
    """Split texts into batches of similar length and about equal work, the longest texts first.

    Returns:
        Batches of indices, none empty: at most a multiple of the replicas, so that none of these
        stands idle while another one has two.

    Example:
        >>> split_by_length([1, 9, 1, 8, 1, 1, 1, 1], replicas=2)
        [[1, 3], [0, 2, 4, 5, 6, 7]]
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    work = np.asarray(lengths, dtype=np.float64)[order] + 1  # an empty text is some work, too
    parts = replicas * -(-len(order) // (replicas * MAX_PROMPTS))
    # Where the middle of each text lies, if all of them are laid out on a line of `parts` batches.
    batch = (work.cumsum() - work / 2) / work.sum() * parts
    batches = [order[batch.astype(int) == part].tolist() for part in range(parts)]
    return [rows for rows in batches if rows]


def starter(
    ray: Any, generator: str | Path | Generator, options: tuple[Any, ...], resources: dict[str, Any]
) -> Callable[[], tuple[Any, Any]]:
    """Return what starts a replica in an actor, for `ActorPool`; `options` are those of its `load`.

    Raises:
        ValueError: If the generator is neither a name nor a `Generator`.
    """
    source: Any
    if isinstance(generator, (str, Path)):
        # Absolute, as a replica may run in another folder.
        source = str(Path(generator).resolve() if Path(generator).exists() else generator)
    else:
        source = ray.put(check_generator(generator))
    actor_class = ray.remote(max_restarts=0, max_task_retries=0, **resources)(Replica)

    def start() -> tuple[Any, Any]:
        actor = actor_class.remote()
        return actor, actor.load.remote(source, *options)

    return start
