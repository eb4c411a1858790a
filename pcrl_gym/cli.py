"""Command line `pcrl-gym`, with the commands `compress`, `calibrate`, `audit`, and `demo`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise

from pcrl_gym.cli_tools import add_commands, make_app, run_app

_COMMANDS = {
    "pcrl_gym.compressor.commands.compress:compress": "--rate 0.3 prompts.txt > shorter.txt",
    "pcrl_gym.compressor.commands.calibrate:calibrate": "prompts.jsonl --generator gpt2 --out safe",
    "pcrl_gym.audit.command:audit": "micro --rate 0.2 --html audit.html",
    "pcrl_gym.demo.command:demo": "--model micro runs/compressor",
}
_TEXTS = ("--force-keep", "--keep")

app = make_app("pcrl-gym", "Learned prompt compression.", "pcrl-gym compress --show prompts.txt")
add_commands(app, "pcrl-gym", _COMMANDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Arguments after `pcrl-gym`. If None, those of the process.

    Returns:
        Exit status: 0 on success, even if the reader of the output closed it early; 1 if a line of
        the input cannot be read or compressed, the demo failed, or an audit found too many flips; 2
        for wrong arguments, missing files, unknown models, or missing extras; 130 if interrupted.
    """
    words = sys.argv[1:] if arguments is None else arguments
    # A hyphen stands for the default file, and would be parsed as an option.
    kept = [word for before, word in pairwise(["", *words]) if word != "-" or before in _TEXTS]
    return run_app(app, kept)


if __name__ == "__main__":
    sys.exit(main())
