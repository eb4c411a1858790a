"""Command line: `python -m agents train AGENT ...`, `export RUN FOLDER`, `configs` and `demo`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from pcrl_gym.cli_tools import add_command, add_options, make_parser, parse
from pcrl_gym.demo import command as demo

_EXAMPLES = """\
  python -m agents configs
  python -m agents train scst --config scst-micro --set lr=1e-4 run.minutes=9 --out runs/a
  python -m agents export runs/a runs/compressor
  python -m agents demo --agents stopwords random:rate=0.3
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows `python -m agents`; None for the process's own.

    Returns:
        Exit status, see `pcrl_gym.cli_tools`. Arguments of wrong form raise `SystemExit(2)`.
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
    purpose = "list the configurations that come with the project"
    add_command(commands, "configs", _configs, purpose)
    purpose = "write the policy of a run as a compressor, a folder for pcrl_gym.Compressor"
    export = add_command(commands, "export", _export, purpose)
    export.add_argument("run", help="folder of the run")
    export.add_argument("folder", help="folder of the compressor")
    export.add_argument("--which", choices=("best", "last"), help="default: best")
    card = {"license": "of the weights, for the card", "language": "of the prompts, for the card"}
    add_options(export, **card)
    export.add_argument(
        "--overwrite", action="store_true", help="replace a compressor that is in the folder"
    )
    export.add_argument("--half", action="store_true", help="store half-precision weights")
    page = add_command(
        commands,
        "demo",
        _demo,
        f"{demo.HELP}, with the agents of this package",
        argument_default=None,
        description=f"{demo.ABOUT} `pcrl-gym demo` does the same with policies alone.",
    )
    agents = "agents besides the policies, also with settings or as module:Class: stopwords "
    agents += "random:rate=0.3 (default: some that need no training)"
    add_options(page, str, many=True, agents=agents)
    demo.add_arguments(page)
    train = add_command(
        commands,
        "train",
        _train,
        "train an agent, or resume a run that was interrupted",
        resumable=True,
        description="Train an agent in a folder of its own. Interrupted, even by kill -9, the same "
        "command resumes from the newest checkpoint. RUN/last and RUN/best are the trained agents; "
        "RUN/metrics.jsonl and RUN/learning_curve.png show how it went.",
    )
    train.add_argument("agent", help="one that learns: ppo, scst:samples=4 or module:Class")
    train.add_argument(
        "--set",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        help="change single settings: lr=1e-4 run.minutes=30 task.generator=micro-seq2seq",
    )
    add_options(train, int, seed="seed of everything that is drawn (default 0)")
    train.add_argument("--out", required=True, metavar="RUN", help="folder of the run")
    add_options(
        train,
        config="YAML file, or a name that `configs` lists",
        dtype="the generator's weights: auto (default), float32, bfloat16 or float16",
    )
    loggers = "jsonl tensorboard (default), wandb, trackio; the figures always go to jsonl"
    add_options(train, str, many=True, loggers=loggers)
    train.add_argument("--quiet", action="store_true", help="no progress bar, no evaluation lines")
    return parser


if __name__ == "__main__":
    sys.exit(main())
