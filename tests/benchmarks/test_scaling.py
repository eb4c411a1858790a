from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import scaling
from benchmarks.scaling import FEATURES, STAGES, fit, frame, relative_errors, run, speed
from imports import ROOT
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.prompts.template import AlpacaTemplate

WORDS = ["apple", "fig", "pear", "plum", "kiwi", "seven", "red", "north"]
FREE = {stage: dict.fromkeys(own, 0.0) for stage, own in FEATURES.items()}


def case(**changes: Any) -> dict[str, Any]:
    counts = {"layers": 5, "body": 1_000_000, "head": 100_000, "passes": 4, "tokens": 640}
    counts |= {"model": "micro", "rewards": 8, "length": 48, "wanted": 100, "rows": 12}
    return counts | {"seconds": dict.fromkeys(STAGES, 1.0)} | changes


@given(st.lists(st.floats(0.01, 10.0), min_size=3, max_size=3))
def test_costs_that_explain_times_are_found(costs: list[float]) -> None:
    layer, operation, reward = costs
    cases = [case(passes=p, tokens=t, rewards=r) for p, t, r in [(1, 9, 8), (7, 2, 16), (3, 8, 40)]]
    for one in cases:
        flops = 2.0 * (one["body"] * one["tokens"] + one["head"] * one["wanted"])
        time = layer * 5 * one["passes"] + 1e-9 * operation * flops + reward * one["rewards"]
        one["seconds"] = one["seconds"] | {"generator": time}
    found = fit(frame(cases))["generator"]
    expected = {"layer and pass": layer, "operation": 1e-9 * operation, "reward": reward}
    assert found == pytest.approx(expected, rel=1e-6)


def test_no_cost_is_negative() -> None:
    # The more prompts, the faster: a constant alone. Least relative error: sum(1/t) / sum(1/t^2).
    seconds = {8: 3.0, 16: 2.0, 24: 1.0}
    cases = [
        case(rewards=n, seconds=dict.fromkeys(STAGES, 1.0) | {"policy": s})
        for n, s in seconds.items()
    ]
    found = fit(frame(cases))["policy"]
    assert found["unit of a prompt"] == 0.0
    assert found["update"] == pytest.approx((1 / 3 + 1 / 2 + 1) / (1 / 9 + 1 / 4 + 1))


def test_a_model_that_is_left_out_is_predicted_from_the_others() -> None:
    slow = dict.fromkeys(STAGES, 1.0) | {"generator": 2.0}
    cases = [case(model="a"), case(model="a"), case(model="b", seconds=slow)]
    errors = relative_errors(frame(cases))
    assert errors["generator, a from the others"].tolist() == pytest.approx([1.0, 1.0])
    assert "generator, a from the others" not in relative_errors(frame(cases[:2]))


@pytest.fixture
def round_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = {"flops": 1e12, "bandwidth": 1e12, "flops_share": 0.5, "bandwidth_share": 0.5}
    monkeypatch.setattr(scaling, "GPU", scaling.GPU | gpu | {"launch": 1e-3, "dollars": 3.6})
    own = {"updates": 10, "prompts": 4, "length": 70, "new_tokens": 30, "policy": 0.0}
    monkeypatch.setattr(scaling, "RUN", scaling.RUN | own)


MODEL = {"name": "m", "parameters": 1e9, "layers": 10, "gpus": 1, "parallel_share": 1.0}
HELD = {"drafted": True, "passes": 0, "row_passes": 0, "client": 0.0}
WHOLE = {"drafted": False, "passes": 29, "row_passes": 29, "client": 0.0}


@pytest.mark.usefixtures("round_figures")
def test_a_replica_takes_as_long_as_its_arithmetic_or_its_weights_and_the_launches() -> None:
    # 2e9 operations per token at 5e11 per second: 4 ms; 2e9 bytes at 5e11: 4 ms per pass.
    rate, bottleneck = speed(MODEL, WHOLE, 1, 10, FREE)
    assert rate == pytest.approx(10 / (700 * 4e-3 + 29 * 10 * 4e-3 + 30 * 10 * 1e-3))
    assert bottleneck == "generator: arithmetic"
    # All drafts hold: one pass over prompt and draft. Few rows go on: each reads the weights.
    assert speed(MODEL, HELD, 1, 10, FREE)[0] == pytest.approx(10 / (1000 * 4e-3 + 10e-3))
    few = HELD | {"passes": 20, "row_passes": 1}
    assert speed(MODEL, few, 1, 1, FREE)[0] == pytest.approx(1 / (0.4 + 20 * 4e-3 + 21 * 10e-3))


@pytest.mark.usefixtures("round_figures")
def test_replicas_share_an_update_and_the_driver_does_not() -> None:
    four = speed(MODEL, HELD, 4, 20, FREE)[0]
    assert four == pytest.approx(20 / (500 * 4e-3 + 10e-3))
    split = MODEL | {"gpus": 2, "parallel_share": 0.5}
    assert speed(split, HELD, 8, 20, FREE)[0] == pytest.approx(four)
    slow = FREE | {"loop": {"update": 0.0, "reward": 1.0}}
    rate, bottleneck = speed(MODEL, HELD, 1000, 20, slow)
    assert (rate, bottleneck) == (pytest.approx(20 / (20 + 100 * 4e-3 + 10e-3)), "the driver")
    asking = HELD | {"client": 0.5}
    assert speed(MODEL, asking, 1000, 20, FREE)[0] == pytest.approx(20 / (10 + 0.4 + 10e-3))


def test_prompts_have_the_length_asked_for_and_differ() -> None:
    generator = load_generator("micro", device="cpu")
    prompts = scaling.prompts_of_length(generator, WORDS, 60, 6)
    sizes = generator.count_tokens([AlpacaTemplate().render(p).text for p in prompts])
    assert all(56 <= size <= 60 for size in sizes)
    assert len({prompt.input for prompt in prompts}) == 6


def test_a_run_writes_figures_that_can_be_shown_again(tmp_path: Path, capsys) -> None:
    out = tmp_path / "deep" / "scaling.json"
    run(models=("micro",), rewards=(8, 16), lengths=(48,), repeats=2, out=str(out))
    printed = capsys.readouterr().out
    stored = json.loads(out.read_text())
    first, second = stored["cases"]
    assert (first["rewards"], second["rewards"]) == (8, 16)
    # The blocks of GPT-2: 12 width² and 13 width each, and the last norm.
    assert first["body"] == 5 * (12 * 160**2 + 13 * 160) + 2 * 160
    assert (first["layers"], first["head"]) == (5, 160 * 1536)
    assert second["passes"] >= 1
    assert second["tokens"] >= second["rows"]
    assert set(second["seconds"]) == set(STAGES)
    assert stored["provenance"]["threads"] >= 1
    run(figures=str(out))
    assert capsys.readouterr().out == printed
    with pytest.raises(ValueError, match="not overwritten"):
        run(out=str(out))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": ["t5-60m"]}, "causal"),
        ({"models": ["llama-7b"]}, "too large for a CPU"),
        ({"rewards": [12]}, "multiples of 8"),
        ({"lengths": [8]}, "at least 32"),
        ({"figures": str(ROOT / "benchmarks/results/latency-cpu-micro.json")}, "no figures"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(**arguments)


def test_the_page_shows_what_the_committed_figures_give(capsys) -> None:
    run(figures=str(ROOT / "benchmarks/results/scaling-cpu.json"))
    page = (ROOT / "benchmarks/SCALING.md").read_text(encoding="utf-8")
    for table in capsys.readouterr().out.split("\n\n### "):
        assert table.removeprefix("### ").strip() in page


def test_the_page_shows_the_measured_stages_of_smollm2(capsys) -> None:
    run(figures=str(ROOT / "benchmarks/results/scaling-cpu-smollm2.json"))
    measured = capsys.readouterr().out.split("\n\n### ")[0]
    page = (ROOT / "benchmarks/SCALING.md").read_text(encoding="utf-8")
    assert measured.partition("\n\n")[2] in page.partition("### Measured: SmolLM2")[2]


def test_drafts_are_taken_to_fail_as_often_as_was_measured() -> None:
    figures = ROOT / "benchmarks/results/throughput-cpu-micro.json"
    cases = json.loads(figures.read_text(encoding="utf-8"))["cases"]
    (found,) = [c for c in cases if (c["model"], c["masks"]) == ("micro", "random-15")]
    assert round(found["ways"]["d"]["passes_per_row"] - 1, 2) == scaling.DRAFTED["row_passes"]
    page = (ROOT / "benchmarks/SCALING.md").read_text(encoding="utf-8")
    assert (
        f"| drafts that fail | {scaling.DRAFTED['row_passes']} further passes per reward |" in page
    )


def test_all_tables_say_whether_they_are_measured_or_computed() -> None:
    cases = [case(rewards=8 * n, passes=n, tokens=n * 100) for n in (1, 2, 3)]
    titles = [line for line in scaling.tables(frame(cases)).splitlines() if line.startswith("#")]
    kinds = [title.split()[1] for title in titles]
    assert kinds == ["Measured:", "Fitted:", "Fitted:", "Computed:", "Computed:"]
