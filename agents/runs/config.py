"""What a training run is asked to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from pcrl_gym.envs.options import TaskOptions
from pcrl_gym.generators.loading import tokenizer_name

SECTIONS = ("agent", "task", "run")
LOGGERS = ("jsonl", "tensorboard", "wandb", "trackio")


@dataclass(frozen=True)
class TaskConfig(TaskOptions):
    """What is learned: `pcrl_gym.envs.options.TaskOptions`, with names in place of objects.

    Three things differ. There is no `max_steps`; `early_stopping` is on, in training alone, as
    evaluations see whole answers; and `tokenizer` is stored as it was chosen: where it is null,
    the generator's own. Defaults of the other fields are those of `TaskOptions`.

    Raises:
        ValueError: If an option is out of range or unknown; the message begins with "task".
    """

    dataset: str
    generator: str
    tokenizer: str | None
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    reward: str
    template: str
    force_keep: tuple[str, ...]
    cache: str | None
    max_steps: int = field(default=TaskOptions.max_steps, init=False)
    early_stopping: bool = True

    def __post_init__(self) -> None:
        if self.tokenizer is None:
            object.__setattr__(self, "tokenizer", tokenizer_name(self.generator))
        try:
            super().__post_init__()
        except ValueError as error:
            raise ValueError(f"task: {error}") from error


@dataclass(frozen=True)
class BudgetConfig:
    """How long a run lasts and what it stores on the way.

    Attributes:
        updates: Budget in updates. Of several budgets the first one that is used up ends the run.
        episodes: Budget in scored masks.
        minutes: Budget in minutes of training; loading, evaluating and storing do not count.
        checkpoint_every: Updates between checkpoints, the most that an interruption costs.
        evaluate_every: Updates between evaluations; there is one at the end besides.
        evaluate_split: Split to evaluate on; null: no evaluation, and no best agent.
        evaluate_limit: Most prompts per evaluation, spread evenly over the split; null: all.
        evaluate_max_new_tokens: Longest answer in evaluations; null: that of the task.
        loggers: Where figures go: "jsonl" (always), "tensorboard", "wandb", "trackio".

    Raises:
        ValueError: If there is no budget, or a number or logger is not as described.
    """

    updates: int | None = None
    episodes: int | None = None
    minutes: float | None = None
    checkpoint_every: int = 50
    evaluate_every: int = 50
    evaluate_split: str | None = "validation_seen"
    evaluate_limit: int | None = 128
    evaluate_max_new_tokens: int | None = None
    loggers: tuple[str, ...] = ("jsonl", "tensorboard")

    def __post_init__(self) -> None:
        if self.updates is None and self.episodes is None and self.minutes is None:
            raise ValueError(
                "a run needs a budget: give run.updates, run.episodes or run.minutes, in the file "
                "or like --set updates=500"
            )
        for name in (
            "updates", "episodes", "minutes", "checkpoint_every", "evaluate_every",
            "evaluate_limit", "evaluate_max_new_tokens",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"run.{name}: expected a number above 0, got {value!r}")
        if unknown := [logger for logger in self.loggers if logger not in LOGGERS]:
            raise ValueError(
                f"run.loggers: there is no logger {', '.join(map(repr, unknown))}; there are: "
                f"{', '.join(LOGGERS)}"
            )


@dataclass(frozen=True)
class RunConfig:
    """A whole run.

    Attributes:
        name: Name of the agent, or `module:Class`.
        seed: Seed of all that is drawn.
        agent: Settings of the agent, an instance of its `config_class`.
        task: What is learned.
        run: For how long, and what is stored.
    """

    name: str
    seed: int
    agent: Any
    task: TaskConfig
    run: BudgetConfig

    def to_mapping(self) -> dict[str, Any]:
        """Return the configuration with all defaults filled in, as a YAML file holds it."""
        sections: dict[str, dict[str, Any]] = {}
        for name in SECTIONS:
            section = getattr(self, name)
            stored = {field.name for field in fields(section) if field.init}
            values = {k: v for k, v in asdict(section).items() if k in stored}
            sections[name] = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
        return {"name": self.name, "seed": self.seed, **sections}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the keys of two nested mappings whose values differ, one line each.

    Example:
        >>> differences({"agent": {"lr": 0.1}, "seed": 1}, {"agent": {"lr": 0.2}, "seed": 1})
        ['agent.lr: 0.1 in the folder, 0.2 now']
    """
    stored, given = dict(_flatten(before)), dict(_flatten(now))
    return [
        f"{key}: {stored.get(key)!r} in the folder, {given.get(key)!r} now"
        for key in sorted(stored.keys() | given.keys())
        if stored.get(key) != given.get(key)
    ]


def _flatten(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
