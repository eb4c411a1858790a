"""Command line: `python -m agents train AGENT ...`, `export RUN FOLDER`, `configs` and `demo`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pcrl_gym.command_line import attempt, make_parser, parse
from pcrl_gym.demo import command as demo

_EXAMPLES = """\
  python -m agents configs
  python -m agents train scst --config scst-micro --set run.minutes=9 --out runs/a
  python -m agents export runs/a runs/compressor
  python -m agents demo --agents random,stopwords
"""

_EXAMPLE = """\
example:
  python -m agents train scst --config scst-micro --set lr=1e-4 run.minutes=9 --seed 1 --out runs/a

Interrupted, even by kill -9, the same command resumes from the newest checkpoint. RUN/last and
RUN/best are the trained agents; RUN/metrics.jsonl and RUN/learning_curve.png tell how it went.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows `python -m agents`; None for the process's own.

    Returns:
        Exit status: 0 done; 1 the training failed (no finite figures, generator, disk); 2 wrong
        use: arguments, configuration, prompts, models or folders that cannot be used, extras not
        installed; 130 interrupted. Arguments that cannot be parsed raise `SystemExit(2)`.
    """
    options = parse(_parser(), arguments)
    work = {"configs": _configs, "export": _export, "demo": _demo, "train": _train}[options.command]
    return attempt(lambda: work(options), resumable=options.command == "train")


def _configs(options: argparse.Namespace) -> None:
    from agents.runs.config_file import CONFIGS, config_names

    for name in config_names():
        first = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
        print(f"{name:16} {first.lstrip('# ')}")


def _train(options: argparse.Namespace) -> None:
    # Imported late: help must not wait for torch.
    from agents.runs.config_file import load_config

    settings = list(options.set)
    if options.loggers is not None:
        settings.append(f"run.loggers=[{options.loggers}]")
    if options.dtype is not None:
        settings.append(f"task.dtype={options.dtype}")
    config = load_config(options.agent, options.config, settings, options.seed)

    from agents.runs.run import train

    folder = train(config, options.out, progress=not options.quiet)
    print(f"Written to {folder.path}")


def _export(options: argparse.Namespace) -> None:
    import torch

    from agents.runs.export import export

    export(
        options.run,
        options.folder,
        which=options.which,
        license=options.license,
        language=options.language,
        dtype=torch.float16 if options.half else None,
        overwrite=options.overwrite,
    )
    print(f"Written to {options.folder}: pcrl-gym compress --model {options.folder}")


def _demo(options: argparse.Namespace) -> None:
    from agents.demo import demo_agents

    specs = [spec.strip() for spec in options.agents.split(",")] if options.agents else None
    demo.run(options, lambda generator: demo_agents(specs, generator))


def _parser() -> argparse.ArgumentParser:
    parser, commands = make_parser("python -m agents", "Train agents.", _EXAMPLES)
    commands.add_parser("configs", help="list the configurations that come with the project")
    export = commands.add_parser(
        "export",
        help="write the policy of a run as a compressor",
        description="Write the policy of a run as a folder for pcrl_gym.Compressor.",
    )
    export.add_argument("run", help="folder of the run")
    export.add_argument("folder", help="folder of the compressor")
    export.add_argument("--which", choices=("best", "last"), default="best", help="default: best")
    export.add_argument("--license", default="", help="of the weights, for the model card")
    export.add_argument("--language", default="", help="of the prompts, for the model card")
    export.add_argument(
        "--overwrite", action="store_true", help="replace a compressor that is in the folder"
    )
    export.add_argument("--half", action="store_true", help="store half-precision weights")
    page = commands.add_parser(
        "demo",
        help=f"{demo.HELP}, with the agents of this package",
        description=f"{demo.ABOUT} `pcrl-gym demo` does the same with policies alone.",
    )
    page.add_argument(
        "--agents",
        metavar="NAMES",
        help="agents besides the policies, names or module:Class with commas between them "
        "(default: some that need no training)",
    )
    demo.add_arguments(page)
    train = commands.add_parser(
        "train",
        help="train an agent, or resume a run that was interrupted",
        description="Train an agent in a folder of its own.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument("agent", help="name of an agent that learns (ppo, scst), or module:Class")
    train.add_argument("--config", help="YAML file, or a name that `configs` lists")
    train.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="change single settings: lr=1e-4 run.minutes=30 task.generator=micro-seq2seq",
    )
    train.add_argument("--seed", type=int, help="seed of everything that is drawn (default 0)")
    train.add_argument("--out", required=True, metavar="RUN", help="folder of the run")
    train.add_argument(
        "--loggers",
        metavar="NAMES",
        help="jsonl,tensorboard (default), wandb, trackio; the figures always go to jsonl",
    )
    train.add_argument(
        "--dtype",
        metavar="TYPE",
        help="the generator's weights: auto (default), float32, bfloat16 or float16",
    )
    train.add_argument("--quiet", action="store_true", help="no progress bar, no evaluation lines")
    return parser


if __name__ == "__main__":
    sys.exit(main())
