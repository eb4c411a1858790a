"""Export of a training run as a compressor without agent, environment, or generator."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from agents.base import agent_class, check_share
from agents.network_agent import NetworkAgent
from agents.runs.folder import TrainingFolder
from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.compressor.domain import domain_limit, prompt_text
from pcrl_gym.compressor.folder import check_replaceable, stored_template
from pcrl_gym.compressor.model_card import PolicyCard
from pcrl_gym.envs.task import Task
from pcrl_gym.episodes.tokenizers import TextEncoder, load_tokenizer
from pcrl_gym.errors import RunFolderError
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import ChatTemplate, make_template

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv
    from torch import nn

    from pcrl_gym.compressor.network import KeepNetwork
    from pcrl_gym.prompts.template import Template

SHIFT_PROMPTS = 500
"""Minimum training prompts used to set the drop rate of an export, if there are that many."""

FIGURES = ("reward", "compression_ratio", "drop_rate", "similarity", "survived")


def export(
    run: str | Path,
    folder: str | Path,
    *,
    which: str = "best",
    drop_rate: float | None = None,
    results: tuple[Mapping[str, Any], ...] = (),
    limits: str = "",
    license: str = "",
    language: str = "",
    dtype: torch.dtype | None = None,
    onnx: bool = False,
    overwrite: bool = False,
) -> Compressor:
    """Write the policy of a training run, "best" or "last", as a folder for `Compressor`.

    With a `drop_rate`, calls without a rate drop that share of the training prompts' units on
    average, where the policy decides how many units of each prompt; otherwise they drop what the
    policy learned from the reward. For `dtype`, `onnx` and `overwrite`, see
    `Compressor.save_pretrained`. The other arguments are for the model card: rows of `results` (by
    default the evaluation of the run), `limits` of the policy, `license` as named by the Hub, and
    `language` code of the prompts.

    Raises:
        ValueError: If the drop rate is not in 0 to 1, or the training prompts it needs can no
            longer be read.

    Warns:
        UserWarning: If the training prompts can no longer be read, so that the compressor cannot
            detect out-of-domain texts (`Compression.in_domain` is None).
    """
    if drop_rate is not None:
        check_share("drop_rate", drop_rate)
    check_replaceable(Path(folder), overwrite)
    source = TrainingFolder(run)
    config = source.stored_config()
    task: Mapping[str, Any] = config["task"]
    path = source.path / which
    if not path.is_dir():
        other = "last" if which == "best" else "best"
        raise RunFolderError(f"{run} contains no agent {which!r}; try --which {other}")
    cls = agent_class(config["name"])
    if not issubclass(cls, NetworkAgent):
        raise ValueError(f"{config['name']} has no policy network, so there is nothing to export")
    agent: Any = cls.load(path, device="cpu")
    progress = source.progress(which)
    card = PolicyCard(
        dataset=f"{task['dataset']}, split {task['split']}",
        generator=task["generator"],
        reward=task["reward"],
        agent=f"{config['name']}, seed {config['seed']}",
        results=results or _evaluation(source, which, config["run"]),
        limits=limits,
        details={
            "Updates": progress["updates"],
            "Masks scored": progress["episodes"],
            "Minutes of training": f"{progress['seconds'] / 60:.1f}",
        },
        license=license,
        language=language,
    )
    prompts = _training_prompts(task, needed=drop_rate is not None)
    compressor = Compressor(
        agent.network,
        task["tokenizer"],
        template=_template(source, task),
        unit=task["unit"],
        max_units=task["max_units"],
        force_keep=task["force_keep"],
        keep_digits=task["keep_digits"],
        whole_words=agent.config.whole_words,
        max_tokens_per_word=_max_tokens_per_word(prompts, task["tokenizer"]),
        card=card,
        device="cpu",
    )
    if drop_rate is not None:
        _set_drop_rate(compressor, agent.network, prompts, drop_rate)
    compressor.save_pretrained(folder, dtype, onnx=onnx, overwrite=overwrite)
    return compressor


def check_exportable(env: VectorEnv) -> None:
    """Check before training whether the trained policy can become a compressor.

    An environment without episodes (another game) is not checked.
    """
    task = getattr(env.unwrapped, "task", None)
    if not isinstance(task, Task):
        return
    builder = task.episodes.builder
    stored_template(builder.template)
    units = len(builder([Prompt("template", "")])[0])
    if units >= task.max_units:
        raise ValueError(
            f"the template {builder.template.name!r} alone has {units} units of the policy's "
            f"tokenizer, but the policy reads only max_units={task.max_units}: raise max_units"
        )


def _set_drop_rate(
    compressor: Compressor, network: KeepNetwork, prompts: Sequence[Prompt], drop_rate: float
) -> None:
    """Shift all keep logits so that this share of the units has logits not above 0."""
    chosen = prompts[:: max(1, len(prompts) // SHIFT_PROMPTS)]
    texts = {"instruction": [p.instruction for p in chosen], "input": [p.input for p in chosen]}
    done = compressor(**texts)
    logits = np.concatenate([one.keep_logits[np.array(one.droppable)] for one in done])
    bias = cast("nn.Linear", network.keep_head[-1]).bias
    with torch.no_grad():
        bias[1] -= float(np.quantile(logits, drop_rate))


def _training_prompts(task: Mapping[str, Any], *, needed: bool) -> list[Prompt]:
    """Return the training prompts; empty if they cannot be read and are not needed."""
    try:
        return load_prompts(task["dataset"], task["split"], task.get("columns"))
    except (ValueError, OSError, ImportError) as error:
        if needed:
            raise ValueError(
                f"drop_rate needs the training prompts, which cannot be read: {error}"
            ) from error
        warnings.warn(
            f"the training prompts cannot be read ({error}): the compressor will not detect "
            "out-of-domain texts",
            stacklevel=3,
        )
        return []


def _max_tokens_per_word(prompts: Sequence[Prompt], tokenizer: str) -> float | None:
    if not prompts:
        return None
    texts = [prompt_text(prompt.instruction, prompt.input) for prompt in prompts]
    return domain_limit(texts, TextEncoder(load_tokenizer(tokenizer)))


def _template(run: TrainingFolder, task: Mapping[str, Any]) -> Template:
    """Return the template of a run; a chat template is as rendered during training."""
    frame = run.identity().get("template_frame")
    if frame is None:
        return make_template(task["template"])
    return ChatTemplate.from_frame(frame, task["template"])


def _evaluation(
    run: TrainingFolder, which: str, asked: Mapping[str, Any]
) -> tuple[Mapping[str, Any], ...]:
    """Return the evaluation of the stored agent as a row; empty if there is none."""
    figures = run.progress(which)
    if which != "best":
        rows = [row for row in run.rows() if row["kind"] == "evaluation"]
        figures = next((r for r in reversed(rows) if r["updates"] == figures["updates"]), {})
    figures = {key: round(figures[key], 3) for key in FIGURES if figures.get(key) is not None}
    if not figures:
        return ()
    limit = asked.get("evaluate_limit")
    prompts = "all" if limit is None else f"at most {limit}"
    return ({"split": asked["evaluate_split"], "prompts": prompts, **figures},)
