"""Generators that die, for tests on a Ray cluster: actors import them by this name."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from fakes import CountingGenerator
from pcrl_gym.errors import GeneratorError
from pcrl_gym.generators.base import Answer, DraftingGenerator


def die_if_any(texts: Sequence[str], fatal: str, diary: Path, deaths: int) -> None:
    """Kills this process if a text is fatal, as long as there were fewer deaths than that."""
    died = len(diary.read_text()) if diary.exists() else 0
    if died < deaths and any(fatal in text for text in texts):
        with diary.open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)


class MortalFake(CountingGenerator):
    """A counting generator of which a word is the death; it refuses another one."""

    def __init__(self, diary: Path, deaths: int) -> None:
        super().__init__()
        self.diary = diary
        self.deaths = deaths
        self.fingerprint = "mortal"

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[Answer]:
        die_if_any(prompts, "fatal", self.diary, self.deaths)
        if any("refused" in prompt for prompt in prompts):
            raise GeneratorError("it refuses", prompt="refused")
        if any("broken" in prompt for prompt in prompts):
            raise KeyError("broken")
        if any("pid" in prompt for prompt in prompts):
            return [Answer(str(os.getpid())) for _ in prompts]
        return super().generate(prompts, max_new_tokens)


class MortalDrafter(DraftingGenerator):
    """A drafting generator that dies once, of a prompt with a word in it."""

    def __init__(self, inner: DraftingGenerator, fatal: str, diary: Path) -> None:
        self.inner = inner
        self.fatal = fatal
        self.diary = diary
        self.name = inner.name
        self.max_prompt_tokens = inner.max_prompt_tokens
        self.tokenizer = inner.tokenizer

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[Answer]:
        return self.inner.generate(prompts, max_new_tokens)

    def generate_from(
        self,
        prompts: Sequence[str],
        drafts: Sequence[Answer | str],
        max_new_tokens: int,
        decided: Callable[[int, str, int], bool] | None = None,
    ) -> list[Answer]:
        answers = self.inner.generate_from(prompts, drafts, max_new_tokens, decided)
        if decided is not None:  # once compressed prompts are answered, all but delivered
            die_if_any(prompts, self.fatal, self.diary, 1)
        return answers

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self.inner.count_tokens(texts)

    def log_likelihood(self, prompts: Sequence[str], answers: Sequence[Answer]) -> list[float]:
        return self.inner.log_likelihood(prompts, answers)
