"""Scores of an answer against the gold answer, in full and cut to the gold's length."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks.ifeval import CHECK, check_installed
from pcrl_gym.errors import DatasetError
from pcrl_gym.scoring.checks import passes
from pcrl_gym.scoring.rouge import ROUGE_L, UNICODE_ROUGE_L, rouge_n_f1

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import PreTrainedTokenizerFast

    from pcrl_gym.prompts.prompt import Prompt


class GoldFigures(NamedTuple):
    """ROUGE F1 against the gold answer, each in [0, 1]."""

    rouge_1: float
    rouge_2: float
    rouge_l: float


def against_gold(answer: str, gold: str) -> GoldFigures:
    """Return ROUGE-1, ROUGE-2, and ROUGE-L F1, without stemming.

    Equal texts score 1.0 in all three, as a correct one-word answer would have a ROUGE-2 of 0.
    Source: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004),
    https://aclanthology.org/W04-1013.

    Example:
        >>> against_gold("fig", "fig")
        GoldFigures(rouge_1=1.0, rouge_2=1.0, rouge_l=1.0)
        >>> against_gold("pear fig", "fig pear")
        GoldFigures(rouge_1=1.0, rouge_2=0.0, rouge_l=0.5)
    """
    if answer == gold:
        return GoldFigures(1.0, 1.0, 1.0)
    rouge_1, rouge_2 = (rouge_n_f1(answer, gold, n) for n in (1, 2))
    return GoldFigures(rouge_1, rouge_2, ROUGE_L(answer, gold))


def gold_score(prompt: Prompt, answer: str) -> float | None:
    """Return the correctness of an answer, in [0, 1]; None without a gold answer.

    It is 1 or 0 by the prompt's `check`, see `pcrl_gym.scoring.checks`, or without one, the ROUGE-L
    F1 of words in any script against the gold answer.
    """
    if not prompt.output:
        return None
    if prompt.check and not prompt.check.startswith(CHECK):
        return float(passes(prompt.check, answer, prompt.output))
    return UNICODE_ROUGE_L(answer, prompt.output)


def check_checks(prompts: Iterable[Prompt]) -> None:
    """Check that the checks of prompts can be run, before any prompt is answered.

    Raises:
        DatasetError: If a check is unknown, or does not fit the gold answer.
        MissingExtraError: If `if-verifiable` is needed and not installed.
    """
    for prompt in prompts:
        try:
            if prompt.check.startswith(CHECK):
                check_installed(prompt)
            elif prompt.check:
                passes(prompt.check, "", prompt.output)
        except ValueError as error:
            raise DatasetError(
                f"prompt {prompt.id!r}: {error}; fix its check, or rename the column `check` if it "
                "has another meaning"
            ) from error


class AnswerCut:
    """Cuts answers to the gold answer's length in generator tokens, as PCRL did.

    A tuned generator stops by itself, while others continue, which lowers their precision.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        from pcrl_gym.episodes.tokenizers import TextEncoder

        self._encoder = TextEncoder(tokenizer)

    def __call__(self, answer: str, gold: str) -> int:
        """Return the character length of the answer cut to the number of tokens in `gold`.

        Both texts are tokenized without special tokens. If a cut falls inside a character, the
        character is kept.
        """
        of_answer, of_gold = self._encoder.encodings([answer, gold])
        tokens = len(of_gold.ids)
        if len(of_answer.ids) <= tokens:
            return len(answer)
        return int(of_answer.offsets[tokens - 1][1]) if tokens else 0
