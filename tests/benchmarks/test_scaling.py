from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.__main__ import main
from benchmarks.scaling.command import Options, run, show
from benchmarks.scaling.fit import FEATURES, Fit, errors, fit, left_out_errors, nonnegative
from benchmarks.scaling.projection import (
    DRAFTED,
    H100,
    Model,
    Run,
    Way,
    driver_seconds,
    gpu_hours,
    replica_seconds,
    speed,
)
from benchmarks.scaling.stages import (
    STAGES,
    Case,
    measure_case,
    network_clock,
    prompts_of_length,
)
from benchmarks.scaling.tables import Replicated, format_all, format_replicated
from imports import ROOT
from pcrl_gym.generators.loading import load_generator

WORDS = ["apple", "fig", "pear", "plum", "kiwi", "seven", "red", "north"]


def case(**changes) -> Case:
    values = {
        "model": "micro",
        "rewards": 8,
        "length": 48,
        "layers": 5,
        "body": 1_000_000,
        "head": 100_000,
        "passes": 4,
        "tokens": 640,
        "wanted": 100,
        "rows": 12,
        "seconds": dict.fromkeys(STAGES, 1.0),
    }
    return Case(**(values | changes))


# ---- fit


@given(
    st.lists(st.floats(0.0, 10.0), min_size=3, max_size=3).filter(lambda costs: max(costs) > 0.01)
)
def test_costs_that_explain_times_are_found(costs: list[float]):
    pieces = np.array([[1, 2, 30], [1, 8, 70], [1, 16, 10], [1, 3, 3], [1, 30, 40]], np.float64)
    found = nonnegative(pieces, pieces @ costs)
    assert (found >= 0).all()
    np.testing.assert_allclose(pieces @ found, pieces @ costs, rtol=1e-6)


def test_no_cost_is_negative():
    # The more of the second, the faster: it is left out.
    pieces = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    costs = nonnegative(pieces, np.array([3.0, 2.0, 1.0]))
    assert costs[1] == 0
    # Least relative error of one constant: sum(1/t) / sum(1/t^2).
    assert costs[0] == pytest.approx((1 / 3 + 1 / 2 + 1) / (1 / 9 + 1 / 4 + 1))


def test_a_fit_has_every_stage_and_its_errors_are_those_of_the_cases():
    truth = Fit({s: dict.fromkeys(own, 1e-3) for s, own in FEATURES.items()})
    cases = [
        case(rewards=8 * n, length=16 * m, passes=n + 3 * m, tokens=100 * n * m, body=n * 10**6)
        for n in (1, 2, 5)
        for m in (3, 5, 6)
    ]
    cases = [dataclasses.replace(c, seconds={s: truth.stage(s, c) for s in STAGES}) for c in cases]
    fitted = fit(cases)
    for one in cases:
        assert fitted.total(one) == pytest.approx(one.total)
    assert errors([1.1, 1.8], [1.0, 2.0]).mean == pytest.approx(0.1)
    with pytest.raises(ValueError, match="nothing to fit"):
        fit([])


def test_a_model_that_is_left_out_is_predicted_from_the_others():
    own = {"generator": 1.0}
    cases = [
        case(model=name, passes=passes, seconds=dict.fromkeys(STAGES, 1.0) | own)
        for name in ("a", "b")
        for passes in (4, 4)
    ]
    assert left_out_errors(cases)["a"].worst == pytest.approx(0.0, abs=1e-9)
    cases = [
        dataclasses.replace(c, seconds=c.seconds | {"generator": 2.0}) if c.model == "b" else c
        for c in cases
    ]
    assert left_out_errors(cases)["a"].mean == pytest.approx(1.0)  # told 2, was 1
    assert left_out_errors(cases[:2]) == {}


def test_arithmetic_counts_two_operations_per_parameter():
    assert case().flops == 2 * (1_000_000 * 640 + 100_000 * 100)
    assert (case().prompts, case().total) == (1, 5.0)


# ---- projection: a GPU with round figures

GPU = dataclasses.replace(
    H100, flops=1e12, bandwidth=1e12, dollars=3.6, flops_share=0.5, bandwidth_share=0.5, launch=1e-3
)
MODEL = Model("m", parameters=1e9, layers=10)
NO_CPU = Fit({stage: dict.fromkeys(own, 0.0) for stage, own in FEATURES.items()})
RUN = Run(updates=10, prompts=4, masks=5, length=70, new_tokens=30)


def test_a_replica_takes_as_long_as_its_arithmetic_or_its_weights_and_the_launches():
    # 2e9 operations per token at 5e11 per second: 4 ms; 2e9 bytes at 5e11: 4 ms per pass.
    whole = Way("whole", drafted=False, passes=29, row_passes=29)
    seconds, most = replica_seconds(GPU, MODEL, whole, RUN, 1, NO_CPU)
    assert seconds == pytest.approx(70 * 4e-3 + 29 * 4e-3 + 30 * 10 * 1e-3)
    assert most == "arithmetic"
    seconds, most = replica_seconds(GPU, MODEL, whole, RUN, 10, NO_CPU)
    assert seconds == pytest.approx(700 * 4e-3 + 29 * 10 * 4e-3 + 0.3)
    # All drafts hold: one pass over prompt and draft.
    drafted = Way("drafted", drafted=True, passes=0, row_passes=0)
    seconds, _ = replica_seconds(GPU, MODEL, drafted, RUN, 10, NO_CPU)
    assert seconds == pytest.approx(1000 * 4e-3 + 10e-3)
    # Few rows go on: each further pass reads the weights.
    few = Way("few", drafted=True, passes=20, row_passes=1)
    seconds, most = replica_seconds(GPU, MODEL, few, RUN, 1, NO_CPU)
    assert seconds == pytest.approx(100 * 4e-3 + 20 * 4e-3 + 21 * 10e-3)


def test_two_gpus_per_replica_share_the_work_at_a_loss():
    drafted = Way("drafted", drafted=True, passes=0, row_passes=0)
    split = dataclasses.replace(MODEL, gpus=2, parallel_share=0.5, layers=0)
    alone = dataclasses.replace(MODEL, layers=0)
    assert replica_seconds(GPU, split, drafted, RUN, 8, NO_CPU)[0] == pytest.approx(
        replica_seconds(GPU, alone, drafted, RUN, 8, NO_CPU)[0]
    )
    assert speed(GPU, split, drafted, RUN, 1, 20, NO_CPU) is None


def test_replicas_share_an_update_and_the_driver_does_not():
    drafted = Way("drafted", drafted=True, passes=0, row_passes=0)
    free = dataclasses.replace(RUN, policy=0.0)
    one = speed(GPU, MODEL, drafted, free, 1, 20, NO_CPU)
    four = speed(GPU, MODEL, drafted, free, 4, 20, NO_CPU)
    assert one is not None
    assert four is not None
    assert one.rewards_per_second == pytest.approx(20 / (2000 * 4e-3 + 10e-3))
    assert four.rewards_per_second == pytest.approx(20 / (500 * 4e-3 + 10e-3))
    assert one.dollars_per_million == pytest.approx(1e-3 / one.rewards_per_second * 1e6)
    # 200 rewards on one GPU.
    assert gpu_hours(free, one) == pytest.approx(200 / one.rewards_per_second / 3600)
    slow = {s: dict(own) for s, own in NO_CPU.seconds.items()}
    slow["loop"]["reward"] = 1.0
    many = speed(GPU, MODEL, drafted, free, 1000, 20, Fit(slow))
    assert many is not None
    assert many.bottleneck == "the driver"
    assert many.rewards_per_second == pytest.approx(20 / (20 + 100 * 4e-3 + 10e-3))
    assert driver_seconds(GPU, drafted, free, Fit(slow), 20) == pytest.approx(20.0)
    asking = dataclasses.replace(drafted, client=0.5)
    assert driver_seconds(GPU, asking, free, NO_CPU, 20) == pytest.approx(10.0)


# ---- measurement


def test_prompts_have_the_length_asked_for_and_differ():
    generator = load_generator("micro", device="cpu")
    prompts = prompts_of_length(generator, WORDS, 60, 6)
    from pcrl_gym.prompts.template import AlpacaTemplate

    sizes = generator.count_tokens([AlpacaTemplate().render(p).text for p in prompts])
    assert all(56 <= size <= 60 for size in sizes)
    assert len({prompt.input for prompt in prompts}) == 6
    with pytest.raises(ValueError, match="no room for a word"):
        prompts_of_length(generator, WORDS, 5, 1)


def test_a_case_counts_its_work_and_the_stages_make_up_the_update():
    generator = load_generator("micro", device="cpu")
    found = measure_case(generator, WORDS, rewards=16, length=48, repeats=2)
    assert (found.model, found.rewards, found.prompts) == ("micro", 16, 2)
    assert (found.layers, found.head) == (5, 160 * 1536)
    # The blocks of GPT-2: 12 width² and 13 width each, and the last norm.
    assert found.body == 5 * (12 * 160**2 + 13 * 160) + 2 * 160
    assert found.rows <= 16 * 30  # each distinct compressed prompt once per pass
    assert found.passes >= 1
    assert found.tokens >= found.rows
    assert set(found.seconds) == set(STAGES)
    assert all(found.seconds[stage] > 0 for stage in STAGES)


def test_the_clock_of_a_network_runs_there_and_back(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr("benchmarks.scaling.stages.time.process_time", lambda: now[0])

    class Slow(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
            now[0] += 3
            return super().forward(x), None

    network = Slow(2, 1)
    network.weight.register_hook(lambda _: now.__setitem__(0, now[0] + 5))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    with network_clock(network) as clock:
        now[0] += 100
        output, _ = network(torch.ones(1, 2))
        now[0] += 100
        output.sum().backward()
        optimizer.step()
        now[0] += 100
    assert clock.seconds == 8


def test_a_run_writes_figures_that_can_be_shown_again(tmp_path: Path, capsys):
    out = tmp_path / "deep" / "scaling.json"
    options = Options(("micro",), rewards=(8, 16), lengths=(48,), replicas=(), repeats=1)
    run(dataclasses.replace(options, out=str(out)))
    printed = capsys.readouterr().out
    told = json.loads(out.read_text())
    assert [c["rewards"] for c in told["cases"]] == [8, 16]
    assert told["provenance"]["threads"] >= 1
    assert told["assumptions"]["gpu"]["name"] == "H100 SXM"
    assert show(out) in printed
    assert main(["scaling", "--figures", str(out)]) == 0
    assert capsys.readouterr().out == show(out)
    assert "| micro" in printed
    assert "Computed: rewards per second" in printed
    with pytest.raises(ValueError, match="not overwritten"):
        dataclasses.replace(options, out=str(out))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "t5-60m"], "causal"),
        (["--models", "llama-7b"], "too large for a CPU"),
        (["--rewards", "12"], "multiples of 8"),
        (["--lengths", "8"], "at least 32"),
    ],
)
def test_wrong_arguments_are_told_before_slow_work(arguments: list[str], message: str, capsys):
    assert main(["scaling", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_files_of_other_commands_are_refused(tmp_path: Path, capsys):
    file = tmp_path / "other.json"
    file.write_text('{"cases": []}')
    assert main(["scaling", "--figures", str(file)]) == 2
    assert "holds no figures of this command" in capsys.readouterr().err


def test_replicas_are_compared_with_this_process():
    table = format_replicated([Replicated("m", 30, {"0": 3.0, "1": 3.75, "2": 2.0})])
    assert table.splitlines()[0].split("|")[3].strip() == "this process, prompts/s"
    cells = [cell.strip() for cell in table.splitlines()[2].split("|")]
    assert cells[1:-1] == ["m", "30", "10.0", "8.0", "15.0", "1.88"]
    assert format_replicated([]) == ""


def test_all_tables_say_whether_they_are_measured_or_computed():
    cases = [case(rewards=8 * n, passes=n, tokens=n * 100) for n in (1, 2, 3)]
    titles = [line for line in format_all(cases, []).splitlines() if line.startswith("#")]
    kinds = [title.split()[1] for title in titles]
    assert kinds == ["Measured:", "Fitted:", "Fitted:", "Computed:", "Computed:"]


def test_the_page_shows_the_committed_figures():
    page = (ROOT / "benchmarks" / "SCALING.md").read_text(encoding="utf-8")
    assert show(ROOT / "benchmarks" / "results" / "scaling-cpu.json").strip() in page


def test_drafts_are_taken_to_fail_as_often_as_was_measured():
    figures = ROOT / "benchmarks" / "results" / "throughput-cpu-micro.json"
    cases = json.loads(figures.read_text(encoding="utf-8"))["cases"]
    (found,) = [c for c in cases if (c["model"], c["masks"]) == ("micro", "random-15")]
    assert round(found["ways"]["d"]["passes_per_row"] - 1, 2) == DRAFTED.row_passes
    page = (ROOT / "benchmarks" / "SCALING.md").read_text(encoding="utf-8")
    assert f"| drafts that fail | {DRAFTED.row_passes} further passes per reward |" in page
