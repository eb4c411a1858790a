"""Configuration of a training run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Literal

from annotated_types import Gt

from pcrl_gym.envs.options import TaskOptions
from pcrl_gym.generators.loading import tokenizer_name
from pcrl_gym.spec_strings import check_fields

SECTIONS = ("agent", "task", "run")

# As in pydantic, whose import would delay help texts.
PositiveInt = Annotated[int, Gt(0)]
PositiveFloat = Annotated[float, Gt(0)]


@dataclass(frozen=True)
class TaskConfig(TaskOptions):
    """Training task: `pcrl_gym.envs.options.TaskOptions`, with names instead of objects.

    There are three differences: there is no `max_steps`; `early_stopping` is on, but only in
    training, as evaluations use whole answers; and `tokenizer` holds the resolved name, which is
    the generator's own tokenizer if null is given. Defaults of the other fields are those of
    `TaskOptions`.

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
    """Budget, checkpoints, evaluations, and loggers of a run.

    Attributes:
        updates: Budget in updates. With several budgets, the run ends when the first is used up.
        episodes: Budget in scored masks.
        minutes: Budget in minutes of training, excluding loading, evaluating, and saving.
        checkpoint_every: Updates between checkpoints, the most that an interruption loses.
        evaluate_every: Updates between evaluations; there is also one at the end.
        evaluate_split: Split to evaluate on; null disables evaluations and the best agent.
        evaluate_limit: Maximum prompts per evaluation, spread evenly over the split; null uses all.
        evaluate_max_new_tokens: Maximum answer length in evaluations; null uses that of the task.
        loggers: Destinations of metrics: "jsonl" (always), "tensorboard", "wandb", "trackio".

    Raises:
        ValueError: If there is no budget, or a number or logger is invalid.
    """

    updates: PositiveInt | None = None
    episodes: PositiveInt | None = None
    minutes: PositiveFloat | None = None
    checkpoint_every: PositiveInt = 50
    evaluate_every: PositiveInt = 50
    evaluate_split: str | None = "validation_seen"
    evaluate_limit: PositiveInt | None = 128
    evaluate_max_new_tokens: PositiveInt | None = None
    loggers: tuple[Literal["jsonl", "tensorboard", "wandb", "trackio"], ...] = (
        "jsonl", "tensorboard",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_fields(self, "run")
        if self.updates is None and self.episodes is None and self.minutes is None:
            raise ValueError("a run needs a budget: set run.episodes, run.updates, or run.minutes")

    def __str__(self) -> str:
        """Return the budget in words.

        Example:
            >>> str(BudgetConfig(episodes=32_768, minutes=5))
            '32768 episodes or 5 minutes'
        """
        limits = ((name, getattr(self, name)) for name in ("updates", "episodes", "minutes"))
        return " or ".join(f"{value:.16g} {name}" for name, value in limits if value is not None)


@dataclass(frozen=True)
class RunConfig:
    """Configuration of a whole run."""

    name: str  # of the agent, or `module:Class`
    seed: int  # for all random draws
    agent: Any  # its settings: an instance of its `config_class`, or arguments by name
    task: TaskConfig  # what to learn
    run: BudgetConfig  # how long, and what to store

    def to_mapping(self) -> dict[str, Any]:
        """Return the configuration with all defaults filled in, as in a YAML file."""
        sections = {name: _to_mapping(getattr(self, name)) for name in SECTIONS}
        return {"name": self.name, "seed": self.seed, **sections}


def _to_mapping(section: Any) -> dict[str, Any]:
    values = dict(section) if isinstance(section, Mapping) else asdict(section)
    unset = {one.name for one in fields(section) if not one.init} if is_dataclass(section) else ()
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if k not in unset}


def differences(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    where: tuple[str, str] = ("in the folder", "now"),
) -> str:
    """Return the keys of two nested mappings whose values differ, one line each.

    `where` gives the text after the values of each mapping.

    Example:
        >>> differences({"agent": {"lr": 0.1}, "seed": 1}, {"agent": {"lr": 0.2}, "seed": 1})
        '  agent.lr: 0.1 in the folder, 0.2 now'
    """
    stored, given = dict(_flatten(before)), dict(_flatten(now))
    return "\n".join(
        f"  {key}: {stored.get(key)!r} {where[0]}, {given.get(key)!r} {where[1]}"
        for key in sorted(stored.keys() | given.keys())
        if stored.get(key) != given.get(key)
    )


def _flatten(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
