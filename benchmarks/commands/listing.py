"""`ls`: names that options take."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Literal

Kind = Literal["suites", "agents", "rewards", "generators", "splits"]


def ls(what: Kind, /, *, dataset: str = "micro") -> None:
    """List what there is, by the names that options take.

    Args:
        what: Kind of the names.
        dataset: Dataset whose splits are listed.
    """
    lists = {
        "suites": _suites, "agents": _agents, "rewards": _rewards, "generators": _GENERATORS.items,
        "splits": partial(_splits, dataset),
    }  # fmt: skip
    for name, about in lists[what]():
        print(f"{name:24} {about}")


_GENERATORS = {
    "micro": "the package's own, causal",
    "micro-seq2seq": "the package's own, encoder-decoder",
    "ID or FOLDER": "a Hugging Face model, causal or encoder-decoder",
    "ray:NAME?replicas=4": "one of these on a Ray cluster",
    "openai:MODEL@BASE_URL": "a model behind an OpenAI-compatible server",
}


def _suites() -> Iterator[tuple[str, str]]:
    from benchmarks.suites import SUITES

    for name, suite in SUITES.items():
        data = f"{suite.dataset or 'your dataset'}, {suite.generator or 'your generator'}"
        size = f"{suite.seeds} seeds" + (f", {suite.limit} prompts a split" if suite.limit else "")
        yield name, f"version {suite.version}: {data}; {suite.unit}s, {size}"


def _agents() -> Iterator[tuple[str, str]]:
    from agents.base import AGENTS, agent_class

    for name in AGENTS:
        yield name, _first_line(agent_class(name))
    yield "module:Class", "one of your own"


def _rewards() -> Iterator[tuple[str, str]]:
    from pcrl_gym.scoring import rewards

    for kind in ("Threshold", "Linear", "Band", "Likelihood"):
        cls = getattr(rewards, f"{kind}Reward")
        yield cls.name, _first_line(cls)


def _splits(dataset: str) -> Iterator[tuple[str, str]]:
    from pcrl_gym.named_datasets import dataset_splits, load_prompts

    for split in dataset_splits(dataset):
        yield split, f"{len(load_prompts(dataset, split))} prompts"


def _first_line(documented: type) -> str:
    return (documented.__doc__ or "").strip().partition("\n")[0]
