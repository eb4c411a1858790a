"""Command line: `python -m agents COMMAND`; `--help` lists the commands."""

from __future__ import annotations

import sys
from functools import partial

from pcrl_gym.cli_tools import add_commands, make_app, run_app

COMMANDS = {
    "agents.commands:train": "scst --config scst-micro --set lr=1e-4 --out runs/scst",
    "agents.commands:export": "runs/scst runs/compressor",
    "agents.commands:prune_encoder": "google-bert/bert-base-uncased runs/encoder --layers 2",
    "agents.commands:configs": "",
    "agents.commands:demo": "--agents stopwords random:rate=0.3",
}
"""Functions of the commands, with the arguments of an example call."""

_NAME = "python -m agents"
app = make_app(_NAME, "Train agents.", f"{_NAME} train scst --out runs/scst")
add_commands(app, _NAME, COMMANDS)

main = partial(run_app, app)

if __name__ == "__main__":
    sys.exit(main())
