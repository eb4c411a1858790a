"""`ls`: names that options take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

Kind = Literal["suites", "agents", "rewards", "generators", "splits"]

_GENERATORS = {
    "micro": "the package's own, causal",
    "micro-seq2seq": "the package's own, encoder-decoder",
    "ID or FOLDER": "a Hugging Face model, causal or encoder-decoder",
    "ray:NAME?replicas=4": "one of these on a Ray cluster",
    "openai:MODEL@BASE_URL": "a model behind an OpenAI-compatible server",
}


def ls(what: Kind, /, *, dataset: str = "micro") -> None:
    """List what there is, by the names that options take.

    Args:
        what: Kind of the names.
        dataset: Dataset whose splits are listed.
    """
    for name, about in _names(what, dataset):
        print(f"{name:24} {about}")


def _names(what: Kind, dataset: str) -> Iterable[tuple[str, str]]:
    if what == "suites":
        return _suites()
    if what == "generators":
        return _GENERATORS.items()
    if what == "splits":
        from pcrl_gym.named_datasets import dataset_splits, load_prompts

        sizes = {split: len(load_prompts(dataset, split)) for split in dataset_splits(dataset)}
        return [(split, f"{size} prompts") for split, size in sizes.items()]
    if what == "rewards":
        from pcrl_gym.scoring import rewards

        kinds = ("Threshold", "Linear", "Band", "Likelihood")
        classes = [getattr(rewards, f"{kind}Reward") for kind in kinds]
        return [(cls.name, _first_line(cls)) for cls in classes]
    from agents.base import AGENTS, agent_class

    own = [(name, _first_line(agent_class(name))) for name in AGENTS]
    return [*own, ("module:Class", "one of your own")]


def _suites() -> Iterator[tuple[str, str]]:
    from benchmarks.suites import SUITES

    for name, suite in SUITES.items():
        data = f"{suite.dataset or 'your dataset'}, {suite.generator or 'your generator'}"
        size = f"{suite.seeds} seeds" + (f", {suite.limit} prompts a split" if suite.limit else "")
        yield name, f"version {suite.version}: {data}; {suite.unit}s, {size}"


def _first_line(documented: type) -> str:
    return (documented.__doc__ or "").strip().partition("\n")[0]
