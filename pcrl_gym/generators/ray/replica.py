"""What `RayGenerator` has on the other side: replicas in actors, and batches for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pcrl_gym.generators.base import Answer, DraftingGenerator, Generator, check_generator
from pcrl_gym.generators.hf import HFGenerator

MOST_PROMPTS = 256
"""How many prompts a batch has on average at most: they are asked again if a replica dies."""


class Replica:
    """What runs in an actor: the hosted generator, and how to ask it."""

    def load(
        self,
        source: str | Generator,
        device: str,
        dtype: str,
        batch_size: int | Literal["auto"],
    ) -> dict[str, Any]:
        """Load the generator; not at the start of the actor, where an error loses its type.

        Returns:
            Its `name`, `max_prompt_tokens`, `tokenizer` and `gives_likelihoods`.
        """
        self._generator: Generator = (
            HFGenerator.from_pretrained(source, device, dtype, batch_size)
            if isinstance(source, str)
            else source
        )
        return {
            "name": self._generator.name,
            "max_prompt_tokens": self._generator.max_prompt_tokens,
            "tokenizer": self._generator.tokenizer,
            "gives_likelihoods": self._generator.gives_likelihoods,
        }

    def fingerprint(self) -> str | None:
        """Return the fingerprint of the generator, if it has one."""
        return self._generator.fingerprint

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the generator."""
        return getattr(self._generator, method)(*arguments)

    def generate_from(
        self,
        prompts: list[str],
        drafts: list[Answer | str],
        max_new_tokens: int,
        decided: Callable[[int, str, int], bool] | None,
        rows: list[int],
    ) -> list[tuple[Answer, tuple[str, int] | None]]:
        """Answers, each with what `decided`, whose index counts all prompts, was true for."""
        if not isinstance(self._generator, DraftingGenerator):
            return [(answer, None) for answer in self.ask("generate", prompts, max_new_tokens)]
        asked: dict[int, tuple[str, int]] = {}

        def decide(k: int, text: str, words_left: int) -> bool:
            assert decided is not None
            if decided(rows[k], text, words_left):
                asked[k] = text, words_left
                return True
            return False

        answers = self._generator.generate_from(
            prompts, drafts, max_new_tokens, None if decided is None else decide
        )
        return [(a, asked.get(k) if a.partial else None) for k, a in enumerate(answers)]


def split_by_length(lengths: Sequence[int], replicas: int) -> list[list[int]]:
    """Split texts into batches of similar length and about equal work.

    Args:
        lengths: Length of each text, in any unit.
        replicas: How many batches are worked on at once; there are at most a multiple of it, so
            that no replica stands idle while another one has two.

    Returns:
        Batches of indices, the longest texts first; none is empty.

    Example:
        >>> split_by_length([1, 9, 1, 8, 1, 1, 1, 1], replicas=2)
        [[1, 3], [0, 2, 4, 5, 6, 7]]
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    work = np.asarray(lengths, dtype=np.float64)[order] + 1  # an empty text is some work, too
    parts = replicas * -(-len(order) // (replicas * MOST_PROMPTS))
    # Where the middle of each text lies, if all of them are laid out on a line of `parts` batches.
    batch = (work.cumsum() - work / 2) / work.sum() * parts
    batches = [order[batch.astype(int) == part].tolist() for part in range(parts)]
    return [rows for rows in batches if rows]


def starter(
    ray: Any, generator: str | Path | Generator, loading: tuple[Any, ...], resources: dict[str, Any]
) -> Callable[[], tuple[Any, Any]]:
    """Make what starts a replica, again whenever one dies.

    Args:
        ray: The module, connected.
        generator: What the replicas host.
        loading: The other arguments of `Replica.load`.
        resources: Options of the actor.

    Returns:
        A function that returns the actor and the reference of what `Replica.load` returns.

    Raises:
        ValueError: If the generator is neither a name nor a `Generator`.
    """
    source: Any = generator
    if not isinstance(generator, (str, Path)):
        source = ray.put(check_generator(generator))
    elif Path(generator).exists():
        source = str(Path(generator).resolve())  # a replica may run in another folder
    actor_class = ray.remote(max_restarts=0, max_task_retries=0, **resources)(Replica)

    def start() -> tuple[Any, Any]:
        actor = actor_class.remote()
        return actor, actor.load.remote(source, *loading)

    return start
