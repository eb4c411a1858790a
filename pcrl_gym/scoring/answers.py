"""Answers to original and compressed prompts, each generated once and only as far as needed."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pcrl_gym.errors import GeneratorError, PcrlError
from pcrl_gym.generators.base import Answer, DraftingGenerator
from pcrl_gym.prompts.prompt_text import cache_key
from pcrl_gym.scoring.early_stop import EarlyStop
from pcrl_gym.scoring.rouge import UNICODE_ROUGE_L, Measure

if TYPE_CHECKING:
    from pcrl_gym.generators.base import Generator
    from pcrl_gym.storage.disk_cache import DiskCache

MAX_COMPRESSED_ANSWERS = 65_536
"""Maximum number of answers to compressed prompts in memory (least recently used evicted first)."""

MAX_ORIGINAL_ANSWERS = 16_384
"""The same for answers to original prompts; applies only if there is a disk cache."""


@dataclass(frozen=True, slots=True)
class ComparedAnswer:
    """The answer to a compressed prompt, compared with the answer to its original.

    Attributes:
        answer: The answer to the compressed prompt, possibly partial.
        similarity: Similarity of the two answers. For a partial answer, the bound that decided: the
            lower bound if it exceeds the threshold, else the upper bound.
        log_likelihood: Log-likelihood of the original answer given the compressed prompt, if it was
            computed while answering.
    """

    answer: Answer
    similarity: float
    log_likelihood: float | None = None


class Answers:
    """Generates answers of at most `max_new_tokens` tokens and never requests the same one twice.

    A `DraftingGenerator` gets drafts: the expected answer for an original prompt, and the answer to
    the original for a compressed prompt. It also stops as soon as it is decided whether the
    similarity by `measure` exceeds `threshold`; if `threshold` is `None`, answers to compressed
    prompts are always completed. If `cache` is given, answers to original prompts persist across
    runs. If `scored` is set, a `DraftingGenerator` scores the original answers in the same passes.

    Raises:
        ValueError: If there is a cache but the generator has no `fingerprint`.
    """

    def __init__(
        self,
        generator: Generator,
        max_new_tokens: int,
        threshold: float | None = None,
        cache: DiskCache | None = None,
        measure: Measure = UNICODE_ROUGE_L,
        scored: bool = False,
    ) -> None:
        self._generator = generator
        self._scored = scored
        self._max_new_tokens = max_new_tokens
        self._threshold = threshold
        self._measure = measure
        self._cache = cache
        self._scope = ""
        if cache is not None:
            if generator.fingerprint is None:
                raise ValueError(
                    f"expected a generator with a `fingerprint` to cache its answers on disk, got "
                    f"{generator.name!r}: leave out `cache`, or pass it to the generator itself"
                )
            self._scope = json.dumps(["answer", generator.fingerprint, max_new_tokens])
        self._originals: OrderedDict[str, Answer] = OrderedDict()
        self._compared: OrderedDict[tuple[str, str], ComparedAnswer] = OrderedDict()

    def __call__(
        self, prompts: Sequence[str], expected: Sequence[str], texts: Sequence[str] | None = None
    ) -> tuple[list[Answer], list[ComparedAnswer]]:
        """Answer original prompts in full, and their compressed texts if given.

        `expected` holds a guess of each original answer, or "" if unknown. A generator that takes
        no drafts is called once; others are called once for each kind of prompt.
        """
        drafts = dict(zip(prompts, expected, strict=True))
        pairs = [] if texts is None else list(zip(texts, prompts, strict=True))
        self._originals |= self._cached([p for p in drafts if p not in self._originals])
        answered: dict[str, Answer] = {}
        if not isinstance(self._generator, DraftingGenerator):
            # A compressed prompt may also be an original one; known pairs are left out.
            left = [text for text, prompt in pairs if (text, prompt) not in self._compared]
            new = [t for t in dict.fromkeys([*prompts, *left]) if t not in self._originals]
            answered = self._ask(new)
        if new := [prompt for prompt in drafts if prompt not in self._originals]:
            found = {p: answered[p] for p in new} if answered else self._ask(new, drafts)
            self._originals |= found
            self._write(found)
        originals = [self._originals[prompt] for prompt in prompts]
        compared = self._compare(pairs, answered)
        if self._cache is not None:
            for prompt in prompts:
                self._originals.move_to_end(prompt)
            _trim(self._originals, MAX_ORIGINAL_ANSWERS)
        return originals, compared

    def cache_originals(self, prompts: Sequence[str], expected: Sequence[str]) -> int:
        """Answer original prompts that are not on disk yet and return how many there were.

        The answers are kept only on disk. Prompts are answered even without a cache, because the
        generator may cache answers itself.
        """
        drafts = dict(zip(prompts, expected, strict=True))
        cached = self._cached(list(drafts))
        new = [prompt for prompt in drafts if prompt not in cached]
        self._write(self._ask(new, drafts))
        return len(new)

    def _cached(self, prompts: list[str]) -> dict[str, Answer]:
        """Return the answers found on disk."""
        if self._cache is None:
            return {}
        by_key = {cache_key(prompt): prompt for prompt in prompts}
        rows = self._cache.get(self._scope, list(by_key))
        return {by_key[key]: Answer(text, tuple(ids)) for key, (text, ids) in rows.items()}

    def _write(self, answers: Mapping[str, Answer]) -> None:
        if self._cache is not None:
            rows = {cache_key(prompt): [a.text, a.token_ids] for prompt, a in answers.items()}
            self._cache.put(self._scope, rows)

    def _compare(
        self, pairs: list[tuple[str, str]], answered: Mapping[str, Answer]
    ) -> list[ComparedAnswer]:
        """Return the answers to compressed prompts; pairs are (compressed, original)."""
        known = {pair: found for pair in dict.fromkeys(pairs) if (found := self._known(*pair))}
        new = [pair for pair in dict.fromkeys(pairs) if pair not in known]
        references = [self._originals[prompt] for _, prompt in new]
        stop = EarlyStop([r.text for r in references], self._threshold, self._measure)
        texts, scores = [text for text, _ in new], [None] * len(new)
        if answered:
            answers = [answered[text] for text in texts]
        else:
            decided = None if self._threshold is None else stop
            answers, scores = self._generate_compared(texts, references, decided)
        for i, (pair, answer, score) in enumerate(zip(new, answers, scores, strict=True)):
            found = ComparedAnswer(answer, stop.similarity(i, answer), score)
            known[pair] = self._compared[pair] = found
        _trim(self._compared, MAX_COMPRESSED_ANSWERS)
        return [known[pair] for pair in pairs]

    def _known(self, text: str, prompt: str) -> ComparedAnswer | None:
        if (text, prompt) in self._compared:
            self._compared.move_to_end((text, prompt))
            return self._compared[text, prompt]
        # Nothing was dropped, or the remaining text is itself an original prompt.
        if (answer := self._originals.get(text)) is not None:
            return ComparedAnswer(answer, self._measure(answer.text, self._originals[prompt].text))
        return None

    def _ask(
        self, prompts: list[str], drafts: Mapping[str, str] | None = None
    ) -> dict[str, Answer]:
        """Return complete answers by prompt."""
        texts = ["" if drafts is None else drafts[prompt] for prompt in prompts]
        return dict(zip(prompts, self._generate(prompts, texts, None), strict=True))

    def _generate_compared(
        self, texts: list[str], references: Sequence[Answer], stop: EarlyStop | None
    ) -> tuple[list[Answer], list[Any]]:
        """Return the answers, and for each reference its score or None."""
        scores: list[Any] = [None] * len(texts)
        # Generators that take drafts need not derive from the class that defines this method.
        ask = getattr(self._generator, "generate_and_score", None)
        if not (self._scored and texts and ask):
            return self._generate(texts, references, stop), scores
        with generator_errors(self._generator, "generate_and_score"):
            answers, scores = ask(texts, references, self._max_new_tokens, stop)
        for what, got in (("answers", answers), ("log-likelihoods", scores)):
            check_count(self._generator, what, got, texts)
        return answers, scores

    def _generate(
        self, texts: list[str], drafts: Sequence[Answer | str], stop: EarlyStop | None
    ) -> list[Answer]:
        if not texts:
            return []
        with generator_errors(self._generator, "generate"):
            if isinstance(self._generator, DraftingGenerator):
                answers = self._generator.generate_from(texts, drafts, self._max_new_tokens, stop)
            else:
                answers = self._generator.generate(texts, self._max_new_tokens)
        check_count(self._generator, "answers", answers, texts)
        return answers


def _trim(latest: OrderedDict[Any, Any], limit: int) -> None:
    """Evict the least recently used entries until `limit` are left."""
    while len(latest) > limit:
        latest.popitem(last=False)


@contextmanager
def generator_errors(generator: Generator, what: str) -> Iterator[None]:
    """Convert any exception of a generator to a `GeneratorError`."""
    try:
        yield
    except PcrlError:
        raise
    except Exception as error:
        raise GeneratorError(
            f"{generator.name!r} failed in {what}: {type(error).__name__}: {error}"
        ) from error


def check_count(generator: Generator, what: str, got: Sequence[Any], asked: Sequence[Any]) -> None:
    """Check that a generator returned one item per prompt.

    Raises:
        GeneratorError: If the counts differ.
    """
    if len(got) != len(asked):
        raise GeneratorError(
            f"{generator.name!r} returned {len(got)} {what} for {len(asked)} prompts"
        )
