"""Command line: `python -m agents train AGENT ...`, `export RUN FOLDER`, `configs` and `demo`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from pcrl_gym.command_line import ListAction, add_command, make_parser, parse
from pcrl_gym.demo import command as demo

_EXAMPLES = """\
  python -m agents configs
  python -m agents train scst --config scst-micro --set run.minutes=9 --out runs/a
  python -m agents export runs/a runs/compressor
  python -m agents demo --agents stopwords random:rate=0.3
"""

_EXAMPLE = """\
example:
  python -m agents train scst --config scst-micro --set lr=1e-4 run.minutes=9 --seed 1 --out runs/a

Interrupted, even by kill -9, the same command resumes from the newest checkpoint. RUN/last and
RUN/best are the trained agents; RUN/metrics.jsonl and RUN/learning_curve.png show how it went.
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
    return options.handler(options)


def _configs() -> None:
    from agents.runs.config_file import CONFIGS, config_names

    for name in config_names():
        first = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
        print(f"{name:16} {first.lstrip('# ')}")


def _train(
    agent: str,
    out: str,
    config: str | None = None,
    set: Sequence[str] = (),
    seed: int | None = None,
    loggers: Sequence[str] | None = None,
    dtype: str | None = None,
    quiet: bool = False,
) -> None:
    # Imported late: help must not wait for torch.
    from agents.runs.config_file import load_config

    settings = list(set)
    if loggers is not None:
        settings.append(f"run.loggers=[{', '.join(loggers)}]")
    if dtype is not None:
        settings.append(f"task.dtype={dtype}")
    checked = load_config(agent, config, settings, seed)

    from agents.runs.run import train

    print(f"Written to {train(checked, out, progress=not quiet).path}")


def _export(run: str, folder: str, half: bool = False, **options: Any) -> None:
    import torch

    from agents.runs.export import export

    export(run, folder, dtype=torch.float16 if half else None, **options)
    print(f"Written to {folder}: pcrl-gym compress --model {folder}")


def _demo(agents: Sequence[str] | None = None, **options: Any) -> None:
    from agents.demo import demo_agents

    demo.run(argparse.Namespace(**options), lambda generator: demo_agents(agents, generator))


def _parser() -> argparse.ArgumentParser:
    parser, commands = make_parser("python -m agents", "Train agents.", _EXAMPLES)
    add_command(
        commands, "configs", _configs, help="list the configurations that come with the project"
    )
    export = add_command(
        commands,
        "export",
        _export,
        help="write the policy of a run as a compressor",
        description="Write the policy of a run as a folder for pcrl_gym.Compressor.",
    )
    export.add_argument("run", help="folder of the run")
    export.add_argument("folder", help="folder of the compressor")
    export.add_argument("--which", choices=("best", "last"), help="default: best")
    export.add_argument("--license", help="of the weights, for the model card")
    export.add_argument("--language", help="of the prompts, for the model card")
    export.add_argument(
        "--overwrite", action="store_true", help="replace a compressor that is in the folder"
    )
    export.add_argument("--half", action="store_true", help="store half-precision weights")
    page = add_command(
        commands,
        "demo",
        _demo,
        argument_default=None,
        help=f"{demo.HELP}, with the agents of this package",
        description=f"{demo.ABOUT} `pcrl-gym demo` does the same with policies alone.",
    )
    page.add_argument(
        "--agents",
        action=ListAction,
        metavar="NAME",
        help="agents besides the policies, names or module:Class, also with settings: "
        "stopwords random:rate=0.3 (default: some that need no training)",
    )
    demo.add_arguments(page)
    train = add_command(
        commands,
        "train",
        _train,
        resumable=True,
        help="train an agent, or resume a run that was interrupted",
        description="Train an agent in a folder of its own.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument(
        "agent",
        help="one that learns: ppo, scst:samples=4 or module:Class",
    )
    train.add_argument("--config", help="YAML file, or a name that `configs` lists")
    train.add_argument(
        "--set",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        help="change single settings: lr=1e-4 run.minutes=30 task.generator=micro-seq2seq",
    )
    train.add_argument("--seed", type=int, help="seed of everything that is drawn (default 0)")
    train.add_argument("--out", required=True, metavar="RUN", help="folder of the run")
    train.add_argument(
        "--loggers",
        action=ListAction,
        metavar="NAME",
        help="jsonl tensorboard (default), wandb, trackio; the figures always go to jsonl",
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
