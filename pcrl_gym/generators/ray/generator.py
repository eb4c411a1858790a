"""A generator replicated on a Ray cluster, across many GPUs and machines."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl

from pcrl_gym.errors import GeneratorError, excerpt
from pcrl_gym.generators.base import (
    Answer,
    Decided,
    DraftingGenerator,
    Drafts,
    Generator,
    SharedGenerator,
    check_integer,
    check_new_tokens,
    check_pairs,
)
from pcrl_gym.generators.ray.cluster import check_room, connected
from pcrl_gym.generators.ray.pool import ActorPool, LostCallError, NoActorError
from pcrl_gym.generators.ray.replica import Replica, portable, split_by_length
from pcrl_gym.spec_strings import check_settings


class RayGenerator(SharedGenerator, DraftingGenerator):
    """Replicas of one frozen generator in the actors of a Ray cluster, as a `Generator`.

    Prompts are split by length into batches of about equal work (`replica.split_by_length`), which
    go to any free replica. Answers are returned in the order of the prompts and are the same tokens
    as in a single process. If the process or machine of a replica dies, the replica is replaced and
    its batch retried.

    The cluster is the one at `RAY_ADDRESS` (each of its machines needs this package), or a local
    one that is stopped with its last generator; see `ray.cluster.connected`. Call `close` or use a
    `with` block; otherwise, replicas end with the program.

    Args:
        generator: The name, ID, or folder of a model that each replica loads, or a picklable
            `Generator`, of which each replica gets a copy.
        replicas: Number of replicas.
        num_gpus: GPUs per replica, such as 0.5 for two replicas per GPU; `None` for 1 if the
            cluster has GPUs, else 0.
        num_cpus: CPUs per replica, which is also the number of threads of a model on a CPU.
        device: Device on which replicas load the generator. "auto" is the replica's own GPU, or the
            CPU if it has none.
        dtype: See `load_generator`.
        batch_size: Number of prompts that a replica's model answers at once; see `load_generator`.
        retries: Maximum number of retries of a batch if its replica dies.
        start_timeout: Seconds that a replica may take to load while no other one is running.

    Attributes:
        name, max_prompt_tokens, tokenizer, gives_likelihoods: Those of the hosted generator.
        replicas: Number of replicas.

    Raises:
        ValueError: If a number is out of range, the generator cannot be loaded, or the local
            cluster is too small.
        MissingExtraError: If Ray is not installed.
        ConnectionError: If there is no cluster at `RAY_ADDRESS`.
        GeneratorError: If the replicas cannot be started.

    Example:
        >>> with RayGenerator("Qwen/Qwen3-0.6B", replicas=4) as generator:  # doctest: +SKIP
        ...     env = gym.make("pcrl_gym:PromptCompression-v0", generator=generator)
    """

    def __init__(
        self,
        generator: str | Path | Generator,
        replicas: int = 1,
        *,
        num_gpus: float | None = None,
        num_cpus: float = 1.0,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int | Literal["auto"] = "auto",
        retries: int = 2,
        start_timeout: float = 1800.0,
    ) -> None:
        check_integer("replicas", replicas, 1)
        check_integer("retries", retries, 0)
        if not (num_cpus >= 0 and (num_gpus is None or num_gpus >= 0) and start_timeout > 0):
            raise ValueError(
                f"expected num_cpus >= 0, num_gpus >= 0 or None, and start_timeout > 0, got "
                f"{num_cpus!r}, {num_gpus!r}, and {start_timeout!r}"
            )
        self.replicas = replicas
        self._lock = threading.RLock()
        with ExitStack() as stack:
            self._ray = stack.enter_context(connected())
            if num_gpus is None:
                num_gpus = 1.0 if self._ray.cluster_resources().get("GPU") else 0.0
            check_room(self._ray, replicas, num_cpus, num_gpus, "replicas")
            if device == "auto" and not num_gpus:
                device = "cpu"  # a GPU that the actor may see is not its own
            actor_class = self._ray.remote(num_cpus=num_cpus, num_gpus=num_gpus)(Replica)
            source = portable(self._ray, generator), device, dtype, batch_size
            self._pool = ActorPool(self._ray, actor_class, source, replicas, retries, start_timeout)
            stack.callback(self._pool.close)
            try:
                known = self._pool.wait_until_ready()[0]
            except NoActorError as error:
                raise GeneratorError(f"cannot start the replicas: {error}") from error
            # Runs at `close`, at garbage collection, or at exit.
            self._close = weakref.finalize(self, stack.pop_all().close)
        self.name, self.max_prompt_tokens, self.tokenizer, self.gives_likelihoods = known
        if isinstance(generator, (str, Path)):
            self.name = str(generator)

    @classmethod
    def from_spec(
        cls,
        spec: str,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int | Literal["auto"] = "auto",
    ) -> RayGenerator:
        """Make a generator from a string; see the class for other arguments.

        The form is "ray:NAME", or "ray:NAME?replicas=4&num_gpus=1&num_cpus=2" with any of these
        options.

        Raises:
            ValueError: If the name is empty or itself starts with "ray:" or "openai:", or an option
                is unknown or not a number. See the class for other errors.
        """
        name, _, query = spec.removeprefix("ray:").partition("?")
        try:
            given = dict(parse_qsl(query, strict_parsing=True)) if query else {}
            options = check_settings(given, cls, "ray", ("replicas", "num_gpus", "num_cpus"))
        except ValueError as error:
            raise ValueError(
                f"expected generator 'ray:NAME?replicas=4&num_gpus=1&num_cpus=1', got {spec!r}: "
                f"{error}"
            ) from error
        if not name or name.startswith(("ray:", "openai:")):
            raise ValueError(
                f"expected the name, id, or folder of a model after 'ray:', got {spec!r}; for a "
                "server, use OpenAIGenerator with concurrency=N in one process"
            )
        return cls(name, device=device, dtype=dtype, batch_size=batch_size, **options)

    @cached_property
    def fingerprint(self) -> str | None:  # type: ignore[override]
        """Fingerprint of the hosted generator."""
        return self._spread("fingerprints", [[""]])[0]  # type: ignore[no-any-return]

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[Answer]:
        """Answer each prompt greedily; see `Generator.generate`.

        Raises:
            ValueError: If `max_new_tokens` is below 1.
            GeneratorError: If replicas died on a batch more than `retries` times; `prompts` holds
                its texts. Errors of the hosted generator are raised unchanged.
        """
        check_new_tokens(max_new_tokens)
        return self._spread("generate", [prompts], max_new_tokens)

    def generate_from(
        self, prompts: Sequence[str], drafts: Drafts, max_new_tokens: int, decided: Decided = None
    ) -> list[Answer]:
        """Answer each prompt greedily; see `DraftingGenerator.generate_from`.

        `decided` is sent to the replicas and must depend only on its arguments. For each partial
        answer, it is also called here with the arguments for which it returned true in the replica.
        If the hosted generator takes no drafts, this is the same as `generate`.

        Raises:
            ValueError: If the numbers of drafts and prompts differ, or `max_new_tokens` is below 1.
            GeneratorError: If the replicas fail; see `generate`.
        """
        check_pairs("draft", drafts, prompts)
        check_new_tokens(max_new_tokens)
        self._check_open()
        shared = None if decided is None else self._ray.put(decided)
        columns = [prompts, drafts, range(len(prompts))]
        found = self._spread("generate_from", columns, max_new_tokens, shared)
        for i, (_, reason) in enumerate(found):
            if decided is not None and reason is not None and not decided(i, *reason):
                raise GeneratorError(
                    f"{self.name!r}: `decided` was true in a replica but is false here for "
                    f"{reason}: it must depend only on its arguments",
                    prompt=prompts[i],
                )
        return [answer for answer, _ in found]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text; see `Generator.count_tokens`."""
        return self._spread("count_tokens", [texts])

    def log_likelihood(self, prompts: Sequence[str], answers: Sequence[Answer]) -> list[float]:
        """Score given answers; see `Generator.log_likelihood`.

        Raises:
            ValueError: If the numbers of answers and prompts differ.
            GeneratorError: If the replicas fail; see `generate`.
        """
        check_pairs("answer", answers, prompts)
        return self._spread("log_likelihood", [prompts, answers])

    def close(self) -> None:
        """Stop the replicas, and a local cluster with its last generator; may be called twice."""
        self._close()

    def __enter__(self) -> RayGenerator:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, replicas={self.replicas})"

    def _spread(self, method: str, columns: Sequence[Sequence[Any]], *options: Any) -> list[Any]:
        """Call a method of the replicas on batches of texts; return results in text order.

        The columns are the arguments with one item per text, starting with the texts.
        """
        self._check_open()
        texts = columns[0]
        batches = split_by_length([len(text) for text in texts], self.replicas)
        parts = [[[column[i] for i in rows] for column in columns] for rows in batches]
        calls = [lambda host, part=part: host.ask.remote(method, *part, *options) for part in parts]
        found: dict[int, Any] = {}
        try:
            with self._lock:
                for index, values in self._pool.run(calls):
                    found.update(zip(batches[index], values, strict=True))
        except LostCallError as error:
            prompts = parts[error.index][0]
            raise GeneratorError(
                f"a replica of {self.name!r} was lost on {len(prompts)} prompts, the longest "
                f"{excerpt(max(prompts, key=len))!r}: {error}",
                prompts=prompts,
            ) from error
        except NoActorError as error:
            raise GeneratorError(f"no replica of {self.name!r} is left: {error}") from error
        return [found[i] for i in range(len(texts))]

    def _check_open(self) -> None:
        # Otherwise, Ray would start a new cluster itself.
        if not self._close.alive:
            raise GeneratorError(f"{self.name!r} is closed: create a new RayGenerator")
