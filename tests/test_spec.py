"""Names with settings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcrl_gym.spec import format_spec, parse_spec

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
