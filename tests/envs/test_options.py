"""The options of a task: one dataclass, whose keyword arguments type checkers know."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest

from pcrl_gym import make_task
from pcrl_gym.envs.options import TaskArguments, TaskOptions


def test_type_checkers_know_the_very_options():
    fields = {field.name: field.type for field in dataclasses.fields(TaskOptions)}
    arguments = {name: t.__forward_arg__ for name, t in TaskArguments.__annotations__.items()}
    assert arguments == fields
    assert list(arguments) == list(fields)
    assert not TaskArguments.__required_keys__
    assert typing.get_type_hints(TaskArguments) == typing.get_type_hints(TaskOptions)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("unit", "letter", "unit"),
        ("template", "alpacca", "alpacca"),
        ("reward", "treshold", "unknown reward 'treshold'"),
        ("max_steps", 0, "expected max_steps to be an integer >= 1, got 0"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_loaded(name: str, value: Any, message: str):
    with pytest.raises(ValueError, match=message):
        TaskOptions(**{name: value})
    with pytest.raises(ValueError, match=message):
        make_task(dataset="/nowhere.json", generator="/nowhere", **{name: value})


def test_unknown_options_are_refused_with_similar_names():
    with pytest.raises(ValueError, match="has no setting 'max_unit'; did you mean max_units"):
        make_task(max_unit=3)  # type: ignore[call-arg]
