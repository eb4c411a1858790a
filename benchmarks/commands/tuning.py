"""`finetune` and `answers`: a generator before anything is compressed."""

from __future__ import annotations

from typing import Any

from benchmarks.commands import common
from benchmarks.finetune.shapes import SHAPES
from pcrl_gym.cli_tools import add_command, add_options, positive


def add_tuning(commands: Any) -> None:
    """Add the commands to the subparsers of `argparse`."""
    tune = add_command(
        commands,
        "finetune",
        _finetune,
        "tune a generator on prompts with answers, or resume a folder of the same settings",
        *(common.OUT, common.TEMPLATE, common.SPLITS, common.NEW_TOKENS),
        resumable=True,
        description="Tune a causal or an encoder-decoder model to answer prompts as pcrl_gym lays "
        "them out, and evaluate it on held-out splits. The folder OUT/model is what --generator "
        "takes. Several GPUs: accelerate launch -m benchmarks finetune ...",
    )
    start = tune.add_mutually_exclusive_group(required=True)
    shapes = f"begin with random weights and a tokenizer of the data: {', '.join(SHAPES)}"
    add_options(start, model="Hugging Face id or folder to start from", from_config=shapes)
    tune.add_argument("--data", required=True, help="name, file, folder or Hugging Face id")
    add_options(
        tune,
        float,
        minutes="training time",
        epochs="passes over the data (default 3 without other budgets)",
        lr="highest learning rate (default 5e-5, encoder-decoder 1e-4, LoRA 2e-4, config 1e-3)",
    )
    add_options(
        tune,
        positive,
        steps="optimizer steps",
        batch_tokens="padded tokens a batch (default 4096, or the config's)",
        checkpoint_steps="steps between checkpoints (default 500)",
        accumulate="batches per optimizer step (default 1)",
        max_tokens="longest row (default: the model's context, or 512)",
        evaluate_limit="prompts per split (default: all)",
    )
    add_options(tune, int, lora="rank of adapters, which alone are trained", seed="default 0")
    tune.add_argument("--bf16", choices=("auto", "yes", "no"), help="default auto")
    answers = add_command(
        commands,
        "answers",
        _answers,
        "answer the original prompts of a split once, into a file",
        *(common.DATASET, common.GENERATOR, common.TEMPLATE, common.NEW_TOKENS, common.DEVICE),
        resumable=True,
        description="Answer all original prompts of a split, by default micro's with its "
        "generator, into the file that `cache=` of gym.make and task.cache of a training take. "
        "Resumable.",
    )
    add_options(answers, split="split (default train)")
    answers.add_argument("--cache", required=True, help="file; what it holds is not asked again")


def _finetune(**options: Any) -> None:
    from benchmarks.finetune.options import Options

    wanted = Options(**options)
    from benchmarks.finetune.run import run  # wrong options must not wait for it

    run(wanted)


def _answers(cache: str, **options: Any) -> None:
    from benchmarks.answers import answer_split
    from pcrl_gym.envs.task import make_task

    task = make_task(cache=cache, **options)
    answered, count = answer_split(task), len(task.episodes)
    print(
        f"{count} prompts: {answered} answered now, {count - answered} were in {cache} or equal to "
        f"another; {len(task.skipped_prompts)} left out, too long for {task.scorer.generator.name}"
    )
