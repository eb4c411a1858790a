"""Whether held-out prompts are made of texts, and have answers, that training knew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from pcrl_gym.prompts.prompt import Prompt

RUN = 6  # words
RARE = 20  # training prompts: what more of them have is an instruction's wording, not a text


class Overlap(NamedTuple):
    """What training knew of a held-out prompt."""

    text: bool  # a training prompt shares a rare run of words with it
    answer: bool  # one of those has the same answer, too: the prompt is contaminated


def overlaps(train: Sequence[Prompt], held_out: Sequence[Prompt]) -> list[Overlap]:
    """Estimate per held-out prompt what training knew of it, whatever it asked about it.

    Datasets made of templates often hold one text under several: a model that has learned the
    answer under one can give it under another without reading what is asked.

    Prompts share a text if they share a run of six words that at most 20 training prompts have (a
    prompt of fewer words is one run). That errs both ways: by a rare wording in common, and by a
    text told in other words. Answers are the same if they are equal but for white space around
    them. The n-gram test is that of Brown et al., "Language Models are Few-Shot Learners" (2020),
    appendix C, https://arxiv.org/abs/2005.14165, with shorter runs, for shorter prompts.

    Example:
        >>> asked = ["News: ants march on Paris once more. Topic?", "Title for: bees rest"]
        >>> held_out = [Prompt(id=text, instruction=text, output="ants") for text in asked]
        >>> text = "Is it about ants? ants march on Paris once more."
        >>> overlaps([Prompt(id="0", instruction=text, output="ants")], held_out)
        [Overlap(text=True, answer=True), Overlap(text=False, answer=False)]
    """
    wanted = set[str]().union(*map(_runs, held_out))
    answers: dict[str, list[str]] = defaultdict(list)  # of the training prompts with a run
    for prompt in train:
        for run in _runs(prompt) & wanted:
            answers[run].append(prompt.output.strip())
    known = []
    for prompt in held_out:
        shared = [own for run in _runs(prompt) if 0 < len(own := answers.get(run, [])) <= RARE]
        same = any(prompt.output.strip() in own for own in shared)
        known.append(Overlap(bool(shared), same))
    return known


def _runs(prompt: Prompt) -> set[str]:
    words = f"{prompt.instruction} {prompt.input}".split()
    return {" ".join(words[i : i + RUN]) for i in range(max(1, len(words) - RUN + 1))}
