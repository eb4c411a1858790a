"""The reward of a rewritten prompt, as a verl reward function.

In verl's configuration, for rows whose `extra_info` has the `index` of a prompt in the split:

    custom_reward_function.path=examples/clients/verl_reward.py
    custom_reward_function.name=compute_score
    +custom_reward_function.reward_kwargs.dataset=instruct
    +custom_reward_function.reward_kwargs.generator=smollm2

Run `python examples/clients/verl_reward.py` to see one reward; it needs `pip install pcrl-gym`.
"""

from __future__ import annotations

import functools
from typing import Any

from pcrl_gym import make_task

load_task = functools.cache(make_task)


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: dict[str, Any],
    **options: Any,
) -> float:
    """Return the reward of a response as the compressed prompt; `options` are those of the task."""
    task = load_task(**options)
    episodes = [task.episodes[extra_info["index"]]]
    return float(task.scorer.score_texts(episodes, [solution_str.strip()]).reward[0])


if __name__ == "__main__":
    prompt = load_task().episodes[0].body_text
    print(repr(prompt), compute_score("micro", prompt[len(prompt) // 3 :], None, {"index": 0}))
