"""The original comes back from what was kept and what was dropped."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from pcrl_gym.compressor.undo import restore, with_marker
from texts import cut_text


@given(cut_text())
def test_undo_is_exact(parts):
    text, kept, dropped = parts
    left = "".join(text[a:b] for a, b in kept)
    pieces = [(a, text[a:b]) for a, b in dropped]
    assert restore(left, pieces) == text
    assert restore(left, json.loads(json.dumps(pieces))) == text


@given(cut_text())
def test_a_marker_stands_for_each_dropped_range(parts):
    text, kept, dropped = parts
    marked = with_marker(text, dropped, "\0")
    assert marked.replace("\0", "") == "".join(text[a:b] for a, b in kept)
    assert marked.count("\0") == len(dropped)


@pytest.mark.parametrize(
    "dropped", [[(1, "a"), (0, "b")], [(0, "ab"), (1, "c")], [(9, "a")], [(0, "a"), (7, "b")]]
)
def test_pieces_that_do_not_fit_are_refused(dropped: list[tuple[int, str]]):
    with pytest.raises(ValueError, match="cannot restore a part at"):
        restore("fig", dropped)
