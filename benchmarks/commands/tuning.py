"""`finetune` and `answers`: a generator before anything is compressed."""

from __future__ import annotations

from typing import Any

from benchmarks.commands.common import DEVICE, GENERATOR, NEW_TOKENS, SPLITS, TEMPLATE
from benchmarks.finetune.shapes import SHAPES
from pcrl_gym.command_line import add_command, positive


def add_tuning(commands: Any) -> None:
    """Add the commands to the subparsers of `argparse`."""
    tune = add_command(
        commands,
        "finetune",
        _finetune,
        TEMPLATE,
        SPLITS,
        NEW_TOKENS,
        resumable=True,
        help="tune a generator on prompts with answers, or resume a folder of the same settings",
        description="Tune a causal or an encoder-decoder model to answer prompts as pcrl_gym lays "
        "them out, and evaluate it on held-out splits. The folder OUT/model is what --generator "
        "takes. Several GPUs: accelerate launch -m benchmarks finetune ...",
    )
    start = tune.add_mutually_exclusive_group(required=True)
    start.add_argument("--model", help="Hugging Face id or folder to start from")
    start.add_argument(
        "--from-config",
        metavar="NAME",
        help=f"begin with random weights and a tokenizer trained on the data: {', '.join(SHAPES)}",
    )
    tune.add_argument("--data", required=True, help="name, file, folder or Hugging Face id")
    tune.add_argument("--out", required=True, help="folder of the run")
    tune.add_argument("--minutes", type=float, help="training time")
    tune.add_argument(
        "--epochs", type=float, help="passes over the data (default 3 without other budgets)"
    )
    tune.add_argument("--steps", type=positive, help="optimizer steps")
    tune.add_argument(
        "--lr",
        type=float,
        help="highest learning rate (default 5e-5, encoder-decoder 1e-4, LoRA 2e-4, config 1e-3)",
    )
    for flag, what in (
        ("--batch-tokens", "padded tokens a batch (default 4096, or the config's)"),
        ("--accumulate", "batches per optimizer step (default 1)"),
        ("--max-tokens", "longest row (default: the model's context, or 512)"),
        ("--evaluate-limit", "prompts per split (default: all)"),
    ):
        tune.add_argument(flag, type=positive, metavar="N", help=what)
    tune.add_argument("--bf16", choices=("auto", "yes", "no"), help="default auto")
    tune.add_argument("--lora", type=int, metavar="RANK", help="train adapters alone")
    tune.add_argument("--seed", type=int, help="default 0")
    tune.add_argument("--checkpoint-minutes", type=float, help="default 5")
    answers = add_command(
        commands,
        "answers",
        _answers,
        GENERATOR,
        TEMPLATE,
        NEW_TOKENS,
        DEVICE,
        resumable=True,
        help="answer the original prompts of a split once, into a file",
        description="Answer all original prompts of a split, by default with micro's generator, "
        "into the file that `cache=` of gym.make and task.cache of a training take. Resumable.",
    )
    answers.add_argument("--dataset", help="name, file, folder or id (default micro)")
    answers.add_argument("--split", help="split (default train)")
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
