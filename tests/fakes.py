"""Generators without a model, for tests that count calls or need chosen answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pcrl_gym.generators.base import Answer, Generator


def first_and_last_word(text: str) -> str:
    """Answer that survives losing what stands between the first and the last word."""
    words = text.split()
    return f"{words[0]} {words[-1]}" if words else ""


class CountingGenerator(Generator):
    """Answers by a function of the text and remembers what it was asked.

    A token is a word; `log_likelihood` is minus the share of the answer's words that the prompt
    lacks.

    Attributes:
        generate_calls: Per call of `generate` the prompts.
        likelihood_calls: Per call of `log_likelihood` the prompts.
        counted: All texts that `count_tokens` saw.
    """

    def __init__(
        self,
        answer: Callable[[str], str] = first_and_last_word,
        max_prompt_tokens: int | None = None,
    ) -> None:
        self.name = "counting"
        self.max_prompt_tokens = max_prompt_tokens
        self.answer = answer
        self.generate_calls: list[list[str]] = []
        self.likelihood_calls: list[list[str]] = []
        self.counted: list[str] = []

    @property
    def prompts(self) -> list[str]:
        """All prompts that were answered, in order."""
        return [prompt for call in self.generate_calls for prompt in call]

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[Answer]:
        self.generate_calls.append(list(prompts))
        texts = [" ".join(self.answer(p).split()[:max_new_tokens]) for p in prompts]
        return [Answer(text, tuple(text.encode())) for text in texts]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        self.counted += texts
        return [len(text.split()) for text in texts]

    def log_likelihood(self, prompts: Sequence[str], answers: Sequence[Answer]) -> list[float]:
        self.likelihood_calls.append(list(prompts))
        return [
            -sum(word not in prompt for word in answer.text.split())
            / max(1, len(answer.text.split()))
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
