"""`ls`: names that options take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from benchmarks.suites import Suite

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
    from agents.base import AGENTS, agent_class
    from benchmarks.suites import SUITES
    from pcrl_gym.named_datasets import dataset_splits, load_prompts
    from pcrl_gym.scoring import rewards

    names: dict[str, str | None] = {}
    if what == "suites":
        names = {name: _about(suite) for name, suite in SUITES.items()}
    elif what == "generators":
        names |= _GENERATORS
    elif what == "splits":
        sizes = {split: len(load_prompts(dataset, split)) for split in dataset_splits(dataset)}
        names = {split: f"{size} prompts" for split, size in sizes.items()}
    elif what == "rewards":
        kinds = ("Threshold", "Linear", "Band", "Likelihood")
        classes = [getattr(rewards, f"{kind}Reward") for kind in kinds]
        names = {cls.name: cls.__doc__ for cls in classes}
    else:
        names = {name: agent_class(name).__doc__ for name in AGENTS}
        names["module:Class"] = "one of your own"
    for name, about in names.items():
        print(f"{name:24}", (about or "").partition("\n")[0])


def _about(suite: Suite) -> str:
    data = f"{suite.dataset or 'your dataset'}, {suite.generator or 'your generator'}"
    size = f"{suite.seeds} seeds" + (f", {suite.limit} prompts a split" if suite.limit else "")
    return f"version {suite.version}: {data}; {suite.unit}s, {size}"
