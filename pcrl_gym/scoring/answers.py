"""Answers to original and compressed prompts: each asked for once, and no longer than needed."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pcrl_gym.errors import GeneratorError, PcrlError
from pcrl_gym.generators.base import Answer, DraftingGenerator
from pcrl_gym.prompts.prompt_text import cache_key
from pcrl_gym.scoring.early_stop import similarity_bounds
from pcrl_gym.scoring.rouge import UNICODE_ROUGE_L, Measure

if TYPE_CHECKING:
    from pcrl_gym.generators.base import Generator
    from pcrl_gym.storage.disk_cache import DiskCache

MOST_REMEMBERED = 65_536
"""How many answers to compressed prompts are kept in memory, the latest used ones."""

MOST_ORIGINALS = 16_384
"""The same of answers to original prompts, where the others can be read from disk."""


@dataclass(frozen=True, slots=True)
class Survival:
    """The answer to a compressed prompt, next to the answer to its original.

    Attributes:
        answer: The answer to the compressed prompt, perhaps partial.
        bound: Their similarity; for a partial answer the bound that decided: the least that can
            still come of it if that exceeds the threshold, else the most.
    """

    answer: Answer
    bound: float


class Answers:
    """Asks a generator for answers, never twice for the same.

    A generator that can is given drafts: of an original prompt the expected answer, of a compressed
    one the answer to its original. Then it also stops where `threshold` is decided.

    Args:
        generator: The generator.
        max_new_tokens: Limit of each answer in generator tokens.
        threshold: If all that matters of a similarity is whether it exceeds this number, that
            number; `None`: answers to compressed prompts are complete.
        cache: Where answers to original prompts are kept from run to run; `None`: nowhere.
        measure: The similarity of two answers.

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
    ) -> None:
        self._generator = generator
        self._limit = max_new_tokens
        self._threshold = threshold
        self._measure = measure
        self._cache = cache
        self._scope = ""
        if cache is not None:
            if generator.fingerprint is None:
                raise ValueError(
                    f"expected a generator with a `fingerprint` to keep its answers on disk, got "
                    f"{generator.name!r}: leave `cache` out, or give it to the generator itself"
                )
            self._scope = json.dumps(["answer", generator.fingerprint, max_new_tokens])
        self._originals: OrderedDict[str, Answer] = OrderedDict()
        self._survivals: OrderedDict[tuple[str, str], Survival] = OrderedDict()

    def __call__(
        self, prompts: Sequence[str], expected: Sequence[str], texts: Sequence[str] | None = None
    ) -> tuple[list[Answer], list[Survival]]:
        """Answer original prompts, in full, and compressed ones.

        A generator that takes no drafts is called once, others once for either kind.

        Args:
            prompts: The original prompts.
            expected: Per prompt what its answer may be, "" if nothing is known.
            texts: Per prompt what is left of it; `None`: only the original prompts are answered.

        Returns:
            The answers to the original prompts and, if asked for, to the compressed ones.
        """
        pairs = [] if texts is None else list(zip(texts, prompts, strict=True))
        drafts = dict(zip(prompts, expected, strict=True))
        self._recall(prompts)
        ahead: dict[str, Answer] = {}
        if not isinstance(self._generator, DraftingGenerator):
            # A compressed prompt may be an original one too; known pairs are left out.
            left = [text for text, prompt in pairs if (text, prompt) not in self._survivals]
            new = [t for t in dict.fromkeys([*prompts, *left]) if t not in self._originals]
            ahead = dict(zip(new, self._ask(new, [""] * len(new), None), strict=True))
        new = [prompt for prompt in drafts if prompt not in self._originals]
        self._learn(new, [drafts[prompt] for prompt in new], ahead)
        originals = [self._originals[prompt] for prompt in prompts]
        survivals = self._compressed(pairs, ahead)
        self._forget(prompts)
        return originals, survivals

    def ahead(self, prompts: Sequence[str], expected: Sequence[str]) -> int:
        """Answer original prompts that are not on disk yet, and keeps the answers there alone.

        Without a cache they are asked for all the same: the generator may keep answers itself.

        Args:
            prompts: The original prompts.
            expected: Per prompt what its answer may be, "" if nothing is known.

        Returns:
            How many prompts were answered.
        """
        drafts = dict(zip(prompts, expected, strict=True))
        keys = {prompt: cache_key(prompt) for prompt in drafts}
        known = {} if self._cache is None else self._cache.get(self._scope, list(keys.values()))
        new = [prompt for prompt, key in keys.items() if key not in known]
        self._keep(dict(zip(new, self._ask(new, [drafts[p] for p in new], None), strict=True)))
        return len(new)

    def _recall(self, prompts: Sequence[str]) -> None:
        if self._cache is None:
            return
        new = {cache_key(prompt): prompt for prompt in prompts if prompt not in self._originals}
        for key, (text, ids) in self._cache.get(self._scope, list(new)).items():
            self._originals[new[key]] = Answer(text, tuple(ids))

    def _learn(self, prompts: list[str], drafts: list[str], ahead: dict[str, Answer]) -> None:
        if not prompts:
            return
        asked = [ahead[p] for p in prompts] if ahead else self._ask(prompts, drafts, None)
        answers = dict(zip(prompts, asked, strict=True))
        self._originals |= answers
        self._keep(answers)

    def _keep(self, answers: dict[str, Answer]) -> None:
        if self._cache is not None:
            rows = {cache_key(prompt): [a.text, a.token_ids] for prompt, a in answers.items()}
            self._cache.put(self._scope, rows)

    def _forget(self, latest: Sequence[str]) -> None:
        """Let go of what was not used lately and is on disk."""
        if self._cache is None:
            return
        for prompt in latest:
            self._originals.move_to_end(prompt)
        while len(self._originals) > MOST_ORIGINALS:
            self._originals.popitem(last=False)

    def _compressed(self, pairs: list[tuple[str, str]], ahead: dict[str, Answer]) -> list[Survival]:
        known = {pair: self._known(pair) for pair in dict.fromkeys(pairs)}
        new = [pair for pair, survival in known.items() if survival is None]
        references = [self._originals[prompt] for _, prompt in new]
        decision = Decision([r.text for r in references], self._threshold, self._measure)
        texts = [text for text, _ in new]
        answers = [ahead[t] for t in texts] if ahead else self._ask(texts, references, decision)
        for i, (pair, answer) in enumerate(zip(new, answers, strict=True)):
            known[pair] = self._survivals[pair] = Survival(answer, decision.result(i, answer))
        while len(self._survivals) > MOST_REMEMBERED:
            self._survivals.popitem(last=False)
        return [survival for pair in pairs if (survival := known[pair]) is not None]

    def _known(self, pair: tuple[str, str]) -> Survival | None:
        text, prompt = pair
        if pair in self._survivals:
            self._survivals.move_to_end(pair)
            return self._survivals[pair]
        # Nothing was dropped, or what was left is a prompt of its own.
        if (answer := self._originals.get(text)) is not None:
            return Survival(answer, self._measure(answer.text, self._originals[prompt].text))
        return None

    def _ask(
        self, texts: list[str], drafts: Sequence[Answer | str], decision: Decision | None
    ) -> list[Answer]:
        if not texts:
            return []
        with failures(self._generator, "generate"):
            if isinstance(self._generator, DraftingGenerator):
                decided = decision if decision is not None and decision.possible else None
                answers = self._generator.generate_from(texts, drafts, self._limit, decided)
            else:
                answers = self._generator.generate(texts, self._limit)
        check_count(self._generator, "answers", answers, texts)
        return answers


class Decision:
    """Tells when a threshold on the similarity is decided, and remembers the bound that decided it.

    Args:
        references: The answers to compare with.
        threshold: What the similarity has to exceed; `None`: only complete answers count.
        measure: The similarity.

    Attributes:
        possible: Whether there is a threshold to decide.
        bound: By the index of a reference, the bound that decided it.
    """

    def __init__(
        self,
        references: Sequence[str],
        threshold: float | None,
        measure: Measure = UNICODE_ROUGE_L,
    ) -> None:
        self._references = references
        self._threshold = threshold
        self._measure = measure
        self.possible = threshold is not None
        self.bound: dict[int, float] = {}

    def __call__(self, i: int, text: str, words_left: int) -> bool:
        """Tell whether answer `i`, as far as it goes, decides; see `DraftingGenerator`."""
        if self._threshold is None:
            return False
        low, high = similarity_bounds(text, self._references[i], words_left, self._measure)
        if low > self._threshold:
            self.bound[i] = low
        elif high <= self._threshold:
            self.bound[i] = high
        return i in self.bound

    def result(self, i: int, answer: Answer) -> float:
        """Return the similarity of answer `i`; of a partial one the bound that decided."""
        if answer.partial:
            return self.bound[i]
        return self._measure(answer.text, self._references[i])


@contextmanager
def failures(generator: Generator, what: str) -> Iterator[None]:
    """Turn whatever goes wrong in a generator into a `GeneratorError`."""
    try:
        yield
    except PcrlError:
        raise
    except Exception as error:
        raise GeneratorError(
            f"{generator.name!r} failed in {what}: {type(error).__name__}: {error}"
        ) from error


def check_count(generator: Generator, what: str, got: Sequence[Any], asked: Sequence[Any]) -> None:
    """Check that a generator returned as many things as it was asked for.

    Raises:
        GeneratorError: If it did not.
    """
    if len(got) != len(asked):
        raise GeneratorError(
            f"{generator.name!r} returned {len(got)} {what} for {len(asked)} prompts"
        )
