"""Which held-out prompts training has told the answer to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from pcrl_gym.prompt import Prompt

RUN = 6  # words
RARE = 20  # training prompts: what more of them have is an instruction's wording, not a text


def contaminated(train: Sequence[Prompt], held_out: Sequence[Prompt]) -> list[bool]:
    """Whether a training prompt has the same answer and the same text, whatever it asks.

    Datasets made of templates often hold one text under several: a model that has learned the
    answer under one can give it under another without reading what is asked. Same text means a run
    of six words in common (all words, if a prompt has fewer) that at most 20 training prompts have.
    Upper and lower case differ. The n-gram test is that of Brown et al., "Language Models are
    Few-Shot Learners" (2020), appendix C, https://arxiv.org/abs/2005.14165, with shorter runs, for
    shorter prompts.

    Args:
        train: Training prompts.
        held_out: Prompts to judge.

    Returns:
        One per held-out prompt.

    Example:
        >>> asked = ["News: ants march on Paris once more. Topic?", "Title for: bees rest"]
        >>> held_out = [Prompt(id=text, instruction=text, output="ants") for text in asked]
        >>> text = "Is it about ants? ants march on Paris once more."
        >>> contaminated([Prompt(id="0", instruction=text, output="ants")], held_out)
        [True, False]
    """
    wanted = set[str]().union(*(_runs(prompt) for prompt in held_out))
    prompts: Counter[str] = Counter()
    answers: dict[str, set[str]] = defaultdict(set)
    for prompt in train:
        for run in _runs(prompt) & wanted:
            prompts[run] += 1
            answers[run].add(prompt.output.strip())
    return [
        any(
            prompts[run] <= RARE and prompt.output.strip() in answers.get(run, ())
            for run in _runs(prompt)
        )
        for prompt in held_out
    ]


def _runs(prompt: Prompt) -> set[str]:
    words = f"{prompt.instruction} {prompt.input}".split()
    return {" ".join(words[i : i + RUN]) for i in range(max(1, len(words) - RUN + 1))}
