"""Commands of `python -m agents`, whose implementations are imported when called."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from agents.runs.config import TaskConfig
from pcrl_gym.cli_tools import Names, flags_of, resumable
from pcrl_gym.demo.command import DEFAULTS, Flags, serve_demo
from pcrl_gym.envs.options import TaskOptions

_TASK = Group("Task", help="Same as `--set task.KEY=VALUE`; by default from the configuration.")
TaskFlags = flags_of(TaskConfig, TaskOptions.__doc__)


@resumable()
def train(
    agent: str,
    /,
    *,
    out: str,
    config: str | None = None,
    set: tuple[str, ...] = (),
    seed: int | None = None,
    loggers: Names = (),
    quiet: bool = False,
    dry_run: bool = False,
    task: Annotated[TaskFlags | None, Parameter(name="*", group=_TASK)] = None,
) -> str:
    """Train an agent, or resume an interrupted training run.

    Each training run has its own folder. After an interruption, even by kill -9, the same command
    resumes from the latest checkpoint. OUT/last and OUT/best are the trained agents;
    OUT/metrics.jsonl and OUT/learning_curve.png show the progress.

    Args:
        agent: A trainable agent: `ppo`, `scst:samples=4` or `module:Class`.
        out: Folder of the training run.
        config: YAML file, or a name listed by `python -m agents configs`.
        set: Individual settings, KEY=VALUE: `lr=1e-4 run.minutes=30 task.generator=micro-seq2seq`.
        seed: Random seed; by default the configuration's, else 0.
        loggers: `jsonl`, `tensorboard`, `wandb`, `trackio`; by default the configuration's, else
            the first two. Metrics always go to jsonl.
        quiet: Hide the progress bar and evaluation results.
        dry_run: Only measure the speed and distribution of rewards, and estimate how long the
            budget takes; nothing is written.
        task: The task to learn.
    """
    # Imported late so that help does not wait for torch.
    from agents.runs.config_file import load_config

    settings = [
        f"task.{key}={json.dumps(v, ensure_ascii=False)}" for key, v in (task or {}).items()
    ]
    if loggers:
        settings.append(f"run.loggers={json.dumps(loggers)}")
    checked = load_config(agent, config, [*set, *settings], seed)

    if dry_run:
        from agents.runs.dry_run import dry_run as measure

        return measure(checked)
    from agents.runs.run import train

    return f"Written to {train(checked, out, progress=not quiet).path}\n"


def export(
    run: str,
    folder: str,
    /,
    *,
    which: Literal["best", "last"] = "best",
    license: str = "",
    language: str = "",
    drop_rate: Annotated[float | None, Parameter(validator=Number(gte=0, lte=1))] = None,
    overwrite: bool = False,
    half: bool = False,
    onnx: bool = False,
) -> None:
    """Export the policy of a training run as a folder for pcrl_gym.Compressor.

    Args:
        run: Folder of the training run.
        folder: Folder of the compressor.
        which: The agent with the best evaluation, or the last one.
        license: License of the weights, for the model card.
        language: Language of the prompts, for the model card.
        drop_rate: Share of the training prompts' units to drop on average in calls that do not
            specify a rate; by default the rate learned from the reward.
        overwrite: Replace an existing compressor in the folder.
        half: Store half-precision weights.
        onnx: Also write network.onnx and network.int8.onnx, which let the compressor run without
            torch.
    """
    import torch

    from agents.runs.export import export

    dtype = torch.float16 if half else None
    card = {"license": license, "language": language}
    export(
        run,
        folder,
        which=which,
        drop_rate=drop_rate,
        dtype=dtype,
        onnx=onnx,
        overwrite=overwrite,
        **card,
    )
    print(f"Written to {folder}. To use it: pcrl-gym compress --model {folder}")


def prune_encoder(
    source: str,
    folder: str,
    /,
    *,
    layers: int,
    dataset: str = "instruct",
    split: str = "train",
    min_count: int = 2,
) -> None:
    """Write a smaller text encoder for a policy: the first layers, and the tokens of a dataset.

    Args:
        source: Hugging Face ID or folder of an encoder with a WordPiece tokenizer, such as BERT.
        folder: New folder, to pass to training as `encoder` and `--tokenizer`.
        layers: Number of layers to keep.
        dataset: Dataset whose tokens are kept; as for training.
        split: Split of the dataset.
        min_count: Minimum number of occurrences of a kept token.
    """
    from agents.pruned_encoder import prune_encoder
    from pcrl_gym.named_datasets import load_prompts

    texts = [f"{p.instruction} {p.input}" for p in load_prompts(dataset, split)]
    prune_encoder(source, folder, texts, layers=layers, min_count=min_count)
    print(f"Written to {folder}. To use it: --set encoder={folder} --tokenizer {folder}")


def configs() -> None:
    """List the configurations that come with the project."""
    from agents.runs.config_file import CONFIGS, config_names

    for name in config_names():
        first = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
        print(f"{name:16} {first.lstrip('# ')}")


def demo(*, agents: Names | None = None, options: Flags = DEFAULTS) -> None:
    """Serve the page of `pcrl-gym demo` with the agents of this package in addition to policies.

    Args:
        agents: Agents in addition to the policies, also with settings or as module:Class:
            `stopwords random:rate=0.3`; by default some that need no training.
        options: Contents and address of the page.
    """
    from agents.demo import demo_agents

    serve_demo(options, lambda generator: demo_agents(agents, generator))
