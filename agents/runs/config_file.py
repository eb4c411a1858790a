"""Builds a checked configuration from a YAML file, `--set`, and a seed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.base import agent_class, is_trainable, optional, parse_agent
from agents.runs.config import BudgetConfig, RunConfig, TaskConfig
from pcrl_gym.errors import MissingExtraError, did_you_mean
from pcrl_gym.spec_strings import check_settings, check_value

CONFIGS = Path(__file__).parents[1] / "configs"


def load_config(
    name: str,
    file: str | Path | None = None,
    settings: Sequence[str] = (),
    seed: int | None = None,
) -> RunConfig:
    """Load a configuration and check all its keys and values.

    Args:
        name: Name of the agent, or `module:Class`, optionally with settings as in
            "scst:samples=4", which override the file.
        file: YAML file with the sections agent, task and run, or the name of one in
            `agents/configs`; None uses all defaults. The default budget is the agent's
            `default_episodes`, see `agents.base.optional`.
        settings: `key=value` each, which override both. The key is dotted (`run.updates`), or bare
            if only one section has it (`lr`); the value is YAML.
        seed: Seed; None uses the file's, else 0.

    Raises:
        ValueError: If the agent is not trainable, the file cannot be read, or a key or value is
            invalid; the message names the key and similar ones.
    """
    name, own = parse_agent(name)
    cls = agent_class(name)
    if not is_trainable(cls):
        raise ValueError(f"agent {name!r} does not learn: it is not an agents.base.TrainableAgent")
    kinds = {"agent": optional(cls, "config_class") or cls, "task": TaskConfig, "run": BudgetConfig}
    known = [
        f"{section}.{key}"
        for section, kind in kinds.items()
        for key in inspect.signature(kind).parameters
        if kind is not cls or key not in ("seed", "device")
    ]
    pairs: list[tuple[str, Any]] = []
    if file is not None:
        path = _find_config(file)
        stored = _read(path)
        if (other := stored.pop("name", name)) != name:
            raise ValueError(f"{path} is for the agent {other!r}, not for {name!r}")
        stored_seed = check_value(stored.pop("seed", 0), int, f"{path}: seed")
        seed = stored_seed if seed is None else seed
        for key, values in stored.items():
            if key not in kinds or not isinstance(values, Mapping | None):
                raise ValueError(
                    f"{path}: expected the sections {', '.join(kinds)} with keys below them, got "
                    f"{key!r}{did_you_mean(str(key), [*kinds, *known])}"
                )
            pairs += [(f"{key}.{inner}", value) for inner, value in (values or {}).items()]
    pairs += [(f"agent.{key}", value) for key, value in own.items()]
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"--set: expected key=value, got {setting!r}")
        pairs.append((key.strip(), _parse(text, f"--set {setting}")))
    given: dict[str, dict[str, Any]] = {section: {} for section in kinds}
    for key, value in pairs:
        section, _, inner = _full_key(key, known).partition(".")
        given[section][inner] = value
    if all(given["run"].get(limit) is None for limit in ("updates", "episodes", "minutes")):
        given["run"]["episodes"] = optional(cls, "default_episodes")
    checked = {
        section: check_settings(given[section], kind, section) for section, kind in kinds.items()
    }
    built = {s: kind(**checked[s]) for s, kind in kinds.items() if kind is not cls}
    return RunConfig(name=name, seed=seed or 0, **(checked | built))


def _find_config(file: str | Path) -> Path:
    """Return the path of a YAML file, given by path or by name in `agents/configs`."""
    for path in (Path(file), CONFIGS / f"{file}.yaml"):
        if path.is_file():
            return path
    names = ", ".join(config_names())
    raise ValueError(f"there is no file or configuration {str(file)!r}; configurations: {names}")


def config_names() -> list[str]:
    """Return the names of the configurations that come with the project."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def _read(path: Path) -> dict[str, Any]:
    try:
        stored = _parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(stored, dict):
        raise ValueError(f"{path}: expected the sections agent, task and run, got {stored!r}")
    return stored


def _parse(text: str, place: str) -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise MissingExtraError("configurations need: pip install -e '.[agents]'") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{place}: invalid YAML: {error}") from error


def _full_key(key: str, known: Sequence[str]) -> str:
    """Return the dotted form of a known key that may be bare."""
    found = [full for full in known if key in (full, full.partition(".")[2])]
    if len(found) > 1:
        raise ValueError(f"the key {key!r} is ambiguous: write {' or '.join(found)}")
    if not found:
        raise ValueError(f"unknown key {key!r}{did_you_mean(key, known)}")
    return found[0]
