"""Command line: `python -m benchmarks COMMAND`; `--help` lists the commands."""

from __future__ import annotations

import sys
from functools import partial

from cyclopts import App, Group

from agents.__main__ import COMMANDS as AGENTS_COMMANDS
from pcrl_gym.cli_tools import add_commands, command_name, make_app, run_app

_NAME = "python -m benchmarks"
_RUN = "benchmarks.commands.run:run"
_TRAIN = "agents.commands:train"
_SERVER = "--model Qwen/Qwen3-0.6B --base-url http://localhost:8000/v1"
# By function, the arguments of the command's example.
_FIRST = {
    _RUN: "--suite micro --agents keep_all scst --out runs/mine",
    _TRAIN: AGENTS_COMMANDS[_TRAIN],
    "benchmarks.commands.tables:table": "runs/mine --with standings",
    "benchmarks.analyses.compare:run": "runs/mine --with standings --against scst",
    "benchmarks.commands.tables:report": "runs/mine",
    "benchmarks.commands.tables:validate": "runs/mine",
    "benchmarks.commands.tables:ls": "suites",
}
_FURTHER = {
    "benchmarks.commands.tables:merge": "runs/1 runs/2 --out runs/both",
    "benchmarks.commands.tuning:answers": "--split validation_seen --cache runs/answers.db",
    "benchmarks.commands.tuning:finetune": "--model gpt2 --data alpaca_plus --out runs/gpt2",
}
_ANALYSE = {
    "benchmarks.analyses.rates:run": "runs/mine --agents random scst --rates 0.3 0.6",
    "benchmarks.analyses.certificate:run": "runs/mine --risk 0.1",
    "benchmarks.analyses.audit:run": "runs/mine --agents stopwords random:rate=0.2",
    "benchmarks.analyses.arena:run": "runs/mine",
    "benchmarks.analyses.transfer:run": "runs/a runs/b --agents scst --out runs/transfer",
    "benchmarks.analyses.dropped:run": "runs/mine --agents random stopwords",
    "benchmarks.analyses.families:run": "runs/mine --agents random stopwords",
    "benchmarks.analyses.judge:run": f"runs/mine {_SERVER} --limit 100",
    "benchmarks.analyses.timing:run": "runs/mine",
    "benchmarks.commands.tables:records": "runs/mine --agents keep_all",
}
_SPEED = {
    "benchmarks.speed.throughput:run": "--models micro --out runs/throughput.json",
    "benchmarks.speed.latency:run": "--policy runs/compressor --generator gpt2",
    "benchmarks.speed.backends:run": "--policy micro --out runs/backends.json",
    "benchmarks.speed.concurrency:run": f"{_SERVER} --levels 1 8",
    "benchmarks.speed.precision:run": "--generator smollm2 --prompts 200",
    "benchmarks.speed.on_gpu:run": "runs/gpu",
    "benchmarks.scaling:run": "--figures benchmarks/results/scaling-cpu.json",
}

_FLAGS = {
    "splits": "split",
    "others": "with",
    "price_per_million_input": "price-input",
    "price_per_million_output": "price-output",
}

app = make_app(_NAME, "Benchmark agents.", f"{_NAME} run {_FIRST[_RUN]}", _FLAGS)
_further = Group("Further commands", sort_key=1)
add_commands(app, _NAME, _FIRST)
add_commands(app, _NAME, _FURTHER, _further)
for _name, _about, _commands in (
    ("analyse", "Analyze result folders.", _ANALYSE),
    ("speed", "Measure the cost of answering and compressing.", _SPEED),
):
    _parts = [command_name(path) for path in _commands]
    _example = f"Example: `{_NAME} {_name} {_parts[0]} {next(iter(_commands.values()))}`"
    _part = App(_name, _about, help_epilogue=_example, group=_further, synonym=_parts)
    _part.sort_key = len(list(app))
    app.command(_part)
    add_commands(_part, f"{_NAME} {_name}", _commands)


main = partial(run_app, app)

if __name__ == "__main__":
    sys.exit(main())
