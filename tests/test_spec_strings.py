"""Names with settings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcrl_gym.spec_strings import check_settings, format_spec, parse_spec

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("chat", ("chat", {})),
        ("chat:a=1", ("chat", {"a": 1})),
        ("chat:a=true,b=False, c = null", ("chat", {"a": True, "b": False, "c": None})),
        ("chat:a=You are terse.,b=0.5", ("chat", {"a": "You are terse.", "b": 0.5})),
        ('chat:a="x, \\"y\\"=z",b=2', ("chat", {"a": 'x, "y"=z', "b": 2})),
        ('chat:a=[1, {"b": "c,d"}],e=http://f:8', ("chat", {"a": [1, {"b": "c,d"}], "e": "http://f:8"})),
        ('chat:a="true",b=NaN,c=', ("chat", {"a": "true", "b": "NaN", "c": ""})),
    ],
)  # fmt: skip
def test_parse(spec: str, expected: tuple[str, dict[str, Any]]) -> None:
    assert parse_spec(spec) == expected


@pytest.mark.parametrize(
    "spec",
    ["chat:", "chat:a", "chat:a=1,", "chat:=1", "chat:a=1,a=2", 'chat:a="x', 'chat:a="x"y',
     "chat:a=[1"],
)  # fmt: skip
def test_wrong_settings_are_refused(spec: str) -> None:
    with pytest.raises(ValueError, match=r"key=value|JSON|comma"):
        parse_spec(spec)


@given(st.dictionaries(st.sampled_from(["system", "date", "x_1"]), json_values))
def test_what_is_written_is_read(settings: dict[str, Any]) -> None:
    assert parse_spec(format_spec("chat", settings)) == ("chat", settings)


def test_one_way_to_write() -> None:
    assert (
        format_spec("a", {"c": 1, "b": "x"}) == format_spec("a", {"b": "x", "c": 1}) == "a:b=x,c=1"
    )
    with pytest.raises(ValueError, match="b must be a JSON value"):
        format_spec("a", {"b": object()})


class Target:
    def __init__(self, rate: float = 0.5, model: str | None = None, *, steps: int = 1) -> None:
        pass


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rates": 1}, r"it has no setting 'rates'; did you mean rate"),
        ({"foo": 1}, "it has no setting 'foo'; known: rate, model, steps"),
        ({"rate": "x"}, r"it\.rate: expected a valid number, .* got 'x'"),
        ({"rate": True}, r"it\.rate: expected a valid number, got True"),
        ({"steps": 1.5}, r"it\.steps: expected a valid integer, .* got 1\.5"),
        ({"model": 3}, r"it\.model: expected a valid string, got 3; put it in quotes"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_settings(settings, Target, "it")


def test_settings_are_converted_to_what_is_asked_for() -> None:
    checked = check_settings({"rate": "1e-4", "model": None, "steps": 2.0}, Target, "it")
    assert checked == {"rate": 1e-4, "model": None, "steps": 2}
    with pytest.raises(ValueError, match=r"known: rate$"):
        check_settings({"steps": 2}, Target, "it", allowed=["rate"])

    def open_ended(system: str = "", **variables: Any) -> None:
        pass

    assert check_settings({"any": [1]}, open_ended, "it") == {"any": [1]}
