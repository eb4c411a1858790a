"""Prompts, generator, environment, and evaluation of a run, built from its configuration."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from gymnasium.vector import VectorEnv

from agents.base import Agent
from agents.learning import Figures
from agents.runs.evaluation import mean_scores
from pcrl_gym.errors import DatasetError
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.datasets import dataset_checksum, pick_evenly

if TYPE_CHECKING:
    from agents.runs.config import RunConfig
    from pcrl_gym.prompts.prompt import Prompt


@dataclass(frozen=True)
class Material:
    """Training environments and evaluation of a run."""

    make_env: Callable[[int], VectorEnv]  # by number of environments, over the training prompts
    evaluate: Callable[[Agent], Figures] | None  # on the evaluation prompts
    # Distinguishes these prompts and this generator from others of the same name.
    identity: Mapping[str, Any]


def load_material(config: RunConfig, **objects: Any) -> Material:
    """Load prompts and generator; environment and evaluation share the generator.

    `objects` are task options as in `pcrl_gym.make_task` that replace configured ones: a loaded
    `generator`, training prompts as `dataset`, ...
    """
    from pcrl_gym.envs.task import make_task
    from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv
    from pcrl_gym.generators.loading import load_generator
    from pcrl_gym.prompts.template import ChatTemplate, make_template

    task, split = config.task, config.run.evaluate_split
    prompts = objects.get("dataset") or load_prompts(task.dataset, task.split, task.columns)
    held_out: Sequence[Prompt] = ()
    if split is not None:
        held_out = _load_held_out(config, split)
        _warn_of_shared(prompts, held_out, split)
    running = {key: getattr(task, key) for key in ("device", "dtype", "batch_size", "cache")}
    generator = load_generator(objects.get("generator", task.generator), **running)
    template = make_template(task.template, generator.tokenizer)
    options = {
        **dataclasses.asdict(task),
        "cache": task.cache if generator.fingerprint else None,
        **objects,
        "generator": generator,
        "template": template,
        "columns": None,  # prompts are already loaded
    }

    def make_env(num_envs: int) -> VectorEnv:
        return PromptCompressionVectorEnv(num_envs, **(options | {"dataset": prompts}))

    evaluation = None
    if split is not None:
        longest = config.run.evaluate_max_new_tokens or task.max_new_tokens
        whole = {"dataset": held_out, "split": split, "early_stopping": False}
        evaluation_task = make_task(**(options | whole | {"max_new_tokens": longest}))
        evaluation = partial(mean_scores, task=evaluation_task)

    identity: dict[str, Any] = {
        "prompts": dataset_checksum(prompts),
        "evaluation_prompts": dataset_checksum(held_out),
        "generator": generator.fingerprint or generator.name,
        "generator_name": generator.name,
    }
    if isinstance(template, ChatTemplate):
        identity["template_frame"] = list(template.frame)
    return Material(make_env, evaluation, identity)


def _load_held_out(config: RunConfig, split: str) -> list[Prompt]:
    try:
        prompts = load_prompts(config.task.dataset, split, config.task.columns)
    except (DatasetError, ValueError) as error:
        raise type(error)(
            f"no prompts to evaluate on: {error}. Choose another split with run.evaluate_split, or "
            "disable evaluations with run.evaluate_split=null"
        ) from error
    return [prompts[index] for index in pick_evenly(len(prompts), config.run.evaluate_limit)]


def _warn_of_shared(prompts: Sequence[Prompt], held_out: Sequence[Prompt], split: str) -> None:
    trained = {(prompt.instruction, prompt.input) for prompt in prompts}
    if shared := sum((prompt.instruction, prompt.input) in trained for prompt in held_out):
        what = f"{shared} of the {len(held_out)} evaluation prompts ({split})"
        print(f"warning: {what} are also used for training", file=sys.stderr)
