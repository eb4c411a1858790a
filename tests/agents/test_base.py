"""Agents are found by name, and the shared mask functions keep their promises."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agents import AGENTS, Agent, agent_class, make_agent
from agents.base import Rewriter, drop_highest, keep_masks, optional
from benchmarks.roster import find_agents


@pytest.mark.parametrize("name", AGENTS)
def test_every_name_leads_to_an_agent_of_that_name(name: str) -> None:
    cls = agent_class(name)
    assert cls.name == name
    assert isinstance(cls(), (Agent, Rewriter))


RATED = [name for name in AGENTS if "rate" in inspect.signature(agent_class(name)).parameters]


@pytest.mark.parametrize("name", RATED)
def test_an_agent_knows_its_rate(name: str) -> None:
    """Records and rate-quality curves read it."""
    assert optional(make_agent(name, seed=0, rate=0.25), "rate") == 0.25


class Mine:
    name = "mine"

    def __init__(self, seed: int = 0, knob: float = 1.0) -> None:
        self.seed, self.knob = seed, knob

    def act(self, observations, infos):
        return observations["attention_mask"]


def test_own_class_by_module_and_name_gets_its_settings() -> None:
    agent = make_agent(f"{__name__}:Mine", seed=5, knob=2.0)
    assert (agent.name, agent.seed, agent.knob) == ("mine", 5, 2.0)


def test_seed_is_dropped_for_agents_that_need_none() -> None:
    assert make_agent("keep_all", seed=5).name == "keep_all"


@pytest.mark.parametrize(
    ("spec", "kwargs", "message"),
    [
        ("pp0", {}, r"unknown agent 'pp0'; did you mean ppo\?"),
        ("nobody", {}, "unknown agent 'nobody'; known: random, keep_all, .*module:Class"),
        ("no_such_module_here:Agent", {}, "no module 'no_such_module_here'"),
        ("agents.base:Nothing", {}, "has no class 'Nothing'"),
        ("agents.base:Path", {}, "with a method 'act'"),
        ("random", {"probability": 0.5}, "no setting 'probability'; did you mean drop_probability"),
        ("keep_all:rate=0.5", {}, "keep_all has no setting 'rate'; it has no settings"),
        ("random:rate=high", {}, r"random\.rate: expected a valid number, .* got 'high'"),
        (
            "perplexity:segment_units=1.5",
            {},
            r"segment_units: expected a valid integer, .* got 1\.5",
        ),
        ("scst:lr=fast", {}, r"scst\.lr: expected a valid number, .* got 'fast'"),
        ("scst:sample=4", {}, "scst has no setting 'sample'; did you mean samples"),
    ],
)
def test_what_cannot_be_built_is_said(spec: str, kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_agent(spec, **kwargs)


def test_a_missing_import_inside_an_agents_module_is_not_hidden(tmp_path, monkeypatch) -> None:
    (tmp_path / "needs_something.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        agent_class("needs_something:Agent")


def test_importing_agents_loads_no_torch() -> None:
    code = (
        "import sys, agents; sys.exit('torch' in sys.modules or 'stable_baselines3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


masks = hnp.arrays(np.int8, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.integers(0, 1))


@given(masks, st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_drop_highest_drops_exactly_the_share_and_only_what_is_droppable(
    droppable: np.ndarray, rate: float, seed: int
) -> None:
    scores = np.random.default_rng(seed).normal(size=droppable.shape)
    drop = drop_highest(scores, droppable, rate)
    assert not (drop & (droppable == 0)).any()
    np.testing.assert_array_equal(drop.sum(1), np.floor(rate * droppable.sum(1) + 1e-9))
    for row, chosen, allowed in zip(scores, drop, droppable.astype(bool), strict=True):
        rest = row[allowed & ~chosen]
        if chosen.any() and rest.size:
            assert row[chosen].min() >= rest.max()


def test_rate_of_decimal_fractions_is_not_rounded_down_by_floating_point() -> None:
    droppable = np.ones((1, 100), dtype=np.int8)
    scores = np.arange(100.0)[None]
    for percent in range(101):
        assert drop_highest(scores, droppable, percent / 100).sum() == percent


def test_keep_masks_never_drop_protected_units_and_leave_padding_zero() -> None:
    observations = {"attention_mask": np.array([[1, 1, 0]]), "droppable": np.array([[0, 1, 0]])}
    masks = keep_masks(observations, np.ones((1, 3), dtype=bool))
    np.testing.assert_array_equal(masks, [[1, 0, 0]])
    assert masks.dtype == np.int8


def test_settings_follow_the_name() -> None:
    assert make_agent("random:rate=0.2", seed=1).rate == 0.2
    assert make_agent("random:rate=0.2", rate=0.3).rate == 0.3
    assert make_agent(f"{__name__}:Mine:knob=3", seed=2).knob == 3.0
    with pytest.raises(ValueError, match="no setting 'rates'; did you mean rate"):
        make_agent("truncation:rates=0.2")


def test_a_row_is_named_after_the_settings() -> None:
    specs = ["random", "random:rate=0.2", "self_information:model=/a/gpt2-mini/model"]
    entries = find_agents([*specs, "perplexity", f"{__name__}:Mine:knob=3"])
    assert [entry.name for entry in entries] == [
        "random", "random-rate0.2", "self_information-gpt2-mini-model", "perplexity",
        "mine-knob3",
    ]  # fmt: skip
    assert [entry.ranks_by for entry in entries] == [None, None, "/a/gpt2-mini/model", "", None]
    with pytest.raises(ValueError, match="rate must be a share"):
        find_agents(["random:rate=2"])
