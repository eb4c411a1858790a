"""Answers to all original prompts of a split, kept on disk before anything is trained."""

from __future__ import annotations

from pcrl_gym.envs.task import Task
from pcrl_gym.progress import progress_bar

_BATCH = 512  # prompts that are answered and stored together; the generator splits them further


def answer_split(task: Task) -> int:
    """Answer every original prompt that the task's cache does not hold yet; return how many.

    What has been stored stays, whatever ends the program. Memory does not grow with the prompts.
    """
    answered = 0
    with progress_bar(total=len(task.episodes), desc="answers", unit="prompt") as bar:
        for start in range(0, len(task.episodes), _BATCH):
            episodes = task.episodes[start : start + _BATCH]
            answered += task.scorer.answer_ahead(episodes)
            bar.update(len(episodes))
            bar.set_postfix(answered=answered, refresh=False)
    return answered
