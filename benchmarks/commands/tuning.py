"""`finetune` and `answers`: a generator before anything is compressed."""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.commands.common import TEMPLATES, attempt, names, positive, template
from benchmarks.finetune.shapes import SHAPES


def add_tuning(commands: Any) -> None:
    """Add the commands to the subparsers of `argparse`."""
    tune = commands.add_parser(
        "finetune",
        help="tune a generator on prompts with answers, or resume a folder of the same settings",
        description="Tune a causal or an encoder-decoder model to answer prompts as pcrl_gym lays "
        "them out, and evaluate it. The folder OUT/model is what --generator takes. Several GPUs: "
        "accelerate launch -m benchmarks finetune ...",
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
    tune.add_argument(
        "--template", type=template, default="alpaca", help=f"{TEMPLATES} (default alpaca)"
    )
    tune.add_argument("--minutes", type=float, help="training time")
    tune.add_argument(
        "--epochs", type=float, help="passes over the data (default 3 without others)"
    )
    tune.add_argument("--steps", type=positive, help="optimizer steps")
    tune.add_argument(
        "--lr",
        type=float,
        help="highest learning rate (default 5e-5, encoder-decoder 1e-4, LoRA 2e-4, config 1e-3)",
    )
    tune.add_argument(
        "--batch-tokens",
        type=positive,
        help="padded tokens a batch (default 4096, or the config's)",
    )
    tune.add_argument(
        "--accumulate", type=positive, default=1, help="batches per optimizer step (default 1)"
    )
    tune.add_argument(
        "--max-tokens", type=positive, help="longest row (default: the model's context, or 512)"
    )
    tune.add_argument("--bf16", choices=("auto", "yes", "no"), default="auto")
    tune.add_argument("--lora", type=int, default=0, metavar="RANK", help="train adapters alone")
    tune.add_argument("--seed", type=int, default=0)
    tune.add_argument("--checkpoint-minutes", type=float, default=5.0, help="default 5")
    tune.add_argument(
        "--split", type=names, dest="splits", help="held-out splits to evaluate (default: all)"
    )
    tune.add_argument("--evaluate-limit", type=positive, help="prompts per split (default: all)")
    tune.add_argument("--max-new-tokens", type=positive, default=30, help="default 30")
    tune.set_defaults(handler=_finetune)
    answers = commands.add_parser(
        "answers",
        help="answer the original prompts of a split once, into a file",
        description="Answer all original prompts of a split into the file that `cache=` of "
        "gym.make and task.cache of a training take. Goes on where it was interrupted.",
    )
    answers.add_argument("--dataset", default="micro", help="name, file, folder or id (micro)")
    answers.add_argument("--split", default="train", help="split (default train)")
    answers.add_argument(
        "--generator", default="micro", help="micro, model id or folder, ... (micro)"
    )
    answers.add_argument("--cache", required=True, help="file; what it holds is not asked again")
    answers.add_argument(
        "--template", type=template, default="alpaca", help=f"{TEMPLATES} (default alpaca)"
    )
    answers.add_argument("--max-new-tokens", type=positive, default=30, help="default 30")
    answers.add_argument("--device", default="auto", help="device of the generator (default auto)")
    answers.set_defaults(handler=lambda options: attempt(lambda: _answers(options), resumable=True))


def _finetune(options: argparse.Namespace) -> int:
    given = {k: v for k, v in vars(options).items() if k not in ("command", "handler")}
    if given["splits"] is not None:
        given["splits"] = tuple(given["splits"])

    def tune() -> None:
        from benchmarks.finetune.options import Options

        wanted = Options(**given)
        from benchmarks.finetune.run import run  # wrong options must not wait for it

        run(wanted)

    return attempt(tune, resumable=True)


def _answers(options: argparse.Namespace) -> None:
    from benchmarks.answers import answer_split
    from pcrl_gym.envs.task import make_task

    given = {k: v for k, v in vars(options).items() if k not in ("command", "handler")}
    task = make_task(**given)
    answered = answer_split(task)
    print(
        f"{len(task.episodes)} prompts: {answered} answered now, "
        f"{len(task.episodes) - answered} were in {options.cache} or equal to another; "
        f"{len(task.skipped_prompts)} left out, too long for {task.scorer.generator.name}"
    )
