"""`finetune` and `answers`: preparation of a generator."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from agents.runs.config import TaskConfig
from benchmarks.finetune.options import Options
from pcrl_gym.cli_tools import flags_of, resumable
from pcrl_gym.envs.options import TaskOptions

_BATCH = 512  # prompts answered and stored together; the generator splits them further
TaskFlags = flags_of(TaskConfig, TaskOptions.__doc__, without=("cache", "early_stopping"))


@resumable()
def finetune(*, options: Annotated[Options, Parameter(name="*")]) -> None:
    """Tune a generator on prompts with answers, or resume a folder with the same settings.

    A causal or encoder-decoder model is tuned to answer prompts in the templates of pcrl_gym, and
    evaluated on held-out splits. OUT/model can be passed to `--generator`. Several GPUs:
    `accelerate launch -m benchmarks finetune ...`
    """
    from benchmarks.finetune.run import run  # imported late so that wrong options fail fast

    run(options)


@resumable()
def answers(*, cache: str, task: Annotated[TaskFlags | None, Parameter(name="*")] = None) -> None:
    """Answer the original prompts of a split once, into a file.

    The file can be passed to `cache=` of gym.make and to `--cache` of `train` and `run`. The
    command is resumable. By default, micro's prompts are answered with its generator.

    Args:
        cache: The file; prompts answered there are skipped.
        task: Prompts to answer.
    """
    from pcrl_gym.envs.task import make_task
    from pcrl_gym.progress import progress_bar

    made = make_task(cache=cache, **(task or {}))
    answered, count = 0, len(made.episodes)
    with progress_bar(total=count, desc="answers", unit="prompt") as bar:
        for start in range(0, count, _BATCH):  # stored answers are kept
            episodes = made.episodes[start : start + _BATCH]
            answered += made.scorer.answer_ahead(episodes)
            bar.update(len(episodes))
            bar.set_postfix(answered=answered, refresh=False)
    print(
        f"{count} prompts: {answered} answered now, {count - answered} already in {cache} or "
        f"duplicates; {len(made.skipped_prompts)} left out as too long for "
        f"{made.scorer.generator.name}"
    )
