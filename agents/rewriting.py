"""A language model that is asked to say it shorter: the baseline of those that rewrite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agents.base import check_share
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import make_template

if TYPE_CHECKING:
    from pcrl_gym.envs.task import Task
    from pcrl_gym.generators.base import Generator

REQUEST = (
    "Rewrite the prompt below in at most {budget} tokens, so that a language model gives the same "
    "answer to it. Keep names, numbers, negations and formats. Do not answer it. Write the new "
    "prompt and nothing else.\n\nPrompt: {text}"
)


def token_budget(count: int, rate: float) -> int:
    """Return how many of `count` tokens a request leaves, at least 1."""
    return max(1, math.ceil((1 - rate) * count))


class RewritingAgent:
    """Asks a language model for a shorter prompt; see `Scorer.score_texts` for how it is scored.

    Tokens are the model's own. What it writes may be longer than asked for, up to the length of the
    longest budget of a batch; where it writes nothing, the original is sent.

    Args:
        rate: Share of the tokens that it is asked to save, 0 to 1.
        model: What rewrites, as `load_generator` takes it, such as "openai:MODEL@BASE_URL"; None:
            the run's generator. A model with a chat template here is asked inside it.
        device: Where `model` runs: "auto" (a GPU if there is one), or a torch device.

    Raises:
        ValueError: If the rate is not in 0 to 1; from `attach`, if the model cannot be loaded.
    """

    name = "rewriting"

    def __init__(self, rate: float = 0.25, model: str | None = None, device: str = "auto") -> None:
        self.rate = check_share("rate", rate)
        self.model = model
        self.device = device
        self._generator: Generator | None = None

    def attach(self, task: Task) -> None:
        """Load the model, or take the task's generator."""
        if self.model is None:
            self._generator = task.scorer.generator
        elif self._generator is None:
            self._generator = load_generator(self.model, device=self.device)

    def rewrite(self, texts: Sequence[str]) -> list[str | None]:
        """Return what the model writes; None where that is nothing.

        Raises:
            RuntimeError: If no task was attached.
            GeneratorError: If the model fails.
        """
        generator = self._generator
        if generator is None:
            raise RuntimeError("rewriting queries a language model: call attach(task) first")
        counts = generator.count_tokens(list(texts))
        budgets = [token_budget(count, self.rate) for count in counts]
        requests = [
            REQUEST.format(budget=budget, text=text)
            for budget, text in zip(budgets, texts, strict=True)
        ]
        if isinstance(generator, HFGenerator) and generator.tokenizer.chat_template:
            template = make_template("chat", generator.tokenizer)
            requests = [template.render(Prompt("", request)).text for request in requests]
        answers = generator.generate(requests, max(budgets, default=1))
        return [answer.text.strip() or None for answer in answers]
