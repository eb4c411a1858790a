from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

import models
from agents.runs.folder import TrainingFolder
from bench_agents import Learner
from bench_fixtures import frame, make_generator, record
from benchmarks.analyses import rates, timing, transfer
from benchmarks.analyses.analysis import Analysis, Series, Table, read_analyses, write_analysis
from benchmarks.records import RunFolder
from benchmarks.roster import find_agents
from benchmarks.runner import Benchmark
from benchmarks.suites import Suite, suite_of
from benchmarks.training import from_run
from pcrl_gym.errors import RunFolderError


class RatedLearner(Learner):
    """A learner that can be told a rate, and drops that share from the end."""

    name = "rated"

    def __init__(self, seed: int = 0, rate: float | None = None) -> None:
        super().__init__(seed)
        self.rate = rate

    def act(self, observations, infos):
        if self.rate is None:
            return super().act(observations, infos)
        keep = observations["attention_mask"].copy()
        for row, droppable in enumerate(observations["droppable"]):
            places = droppable.nonzero()[0]
            count = int(self.rate * len(places) + 1e-9)
            keep[row, places[len(places) - count :]] = 0
        return keep

    @classmethod
    def load(cls, folder: Path, rate: float | None = None) -> RatedLearner:
        agent = super().load(folder)
        agent.rate = rate
        return agent


@pytest.fixture
def shared_generator(monkeypatch: pytest.MonkeyPatch):
    """Stand in for every generator that is loaded by name."""
    for module in ("pcrl_gym.envs.task", "pcrl_gym.generators.loading"):
        monkeypatch.setattr(f"{module}.load_generator", lambda *args, **kwargs: make_generator())


RATED = f"{__name__}:RatedLearner"


def run(suite: Suite, out: Path, agents: list[str]) -> None:
    Benchmark(
        dataclasses.replace(suite, limit=6),
        find_agents(agents),
        out,
        train_minutes=None,
        train_episodes=2,
        generator=make_generator(),
    ).run()


ANALYSIS = Analysis(
    name="toy",
    title="Toy",
    note="Nothing.",
    tables={"t": Table(("agent", "x", "y"), (("a", 0.25, None), ("b", 3, 1.0)))},
    series=(Series("a", ((0.1, 1.0), (0.2, 0.5))),),
)


def test_analyses_are_read_as_they_were_written(tmp_path: Path):
    write_analysis(tmp_path, ANALYSIS, lambda figure, _: figure.subplots())
    assert read_analyses(tmp_path) == [ANALYSIS]
    text = (tmp_path / "analyses" / "toy.md").read_text()
    assert "| a     | 0.250 |       |" in text
    assert "| b     |     3 | 1.000 |" in text
    assert (tmp_path / "analyses" / "toy.png").read_bytes().startswith(b"\x89PNG")
    assert read_analyses(tmp_path / "nowhere") == []


def test_on_a_terminal_tables_fit_100_columns_and_notes_stand_below(
    monkeypatch: pytest.MonkeyPatch, capsys
):
    names, notes = ("a" * 40, "b" * 40), ("one seed: the interval is coarse" * 3, "")
    rows = tuple((*names, 0.25 * place, notes[place % 2]) for place in range(4))
    table = Table(("a", "b", "a - b", "note"), rows)
    analysis = Analysis("toy", "Toy", "Nothing.", {"seen": table})
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    analysis.show()
    text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    shown, _, below = text.partition("1: one seed")
    assert max(map(len, shown.splitlines())) <= 100
    ends = [line.split()[-2:] for line in shown.splitlines() if "0." in line]
    assert ends == [["0.000", "1"], ["b" * 40, "0.250"], ["0.500", "1"], ["b" * 40, "0.750"]]
    assert below.count("coarse") == 3


def test_areas_by_hand():
    assert rates.area([(0.1, 1.0), (0.2, 1.0), (0.9, 1.0)]) == pytest.approx(1.0)
    assert rates.area([(0.5, 1.0)]) is None


def test_agents_may_have_rates_of_their_own(tmp_path: Path):
    asked = [("a", 0.1), ("b", 0.2), ("a", 0.3)]
    records = [
        record(agent=f"{agent}-rate{rate:g}", requested_rate=rate, similarity=rate)
        for agent, rate in asked
    ]
    analysis = rates.analyse(frame(records))
    assert [row[:2] for row in analysis.tables["seen"].rows] == [("a", 0.1), ("a", 0.3), ("b", 0.2)]
    write_analysis(tmp_path, analysis, rates.draw)
    assert read_analyses(tmp_path) == [analysis]


def test_curves_come_from_the_records_of_each_rate():
    records = [
        record(agent=f"{agent}-rate{rate:g}", requested_rate=rate, similarity=similarity, **where)
        for agent, own in {"x-rate": (0.9, 0.7), "random": (0.5, 0.1)}.items()
        for rate, similarity in zip((0.2, 0.4), own, strict=True)
        for where in ({}, {"split": "more"})
        if agent == "random" or not where
    ]
    analysis = rates.analyse(frame(records))
    areas, seen, more = analysis.tables.values()
    assert [(*row[:3], row[5]) for row in areas.rows] == [
        ("seen", "random", pytest.approx(0.3), 0.0),
        ("seen", "x-rate", pytest.approx(0.8), pytest.approx(0.5)),
        ("more", "random", pytest.approx(0.3), 0.0),
    ]
    assert seen.rows[0] == ("random", 0.2, 0.5, 0.5, 0.5, 0.0, 0.5)
    assert (len(seen.rows), len(more.rows)) == (4, 2)
    alone = rates.analyse(frame(records[:1]))
    assert alone.tables[rates.AREAS].rows == (("seen", "x-rate", None, None, None, None),)
    with pytest.raises(ValueError, match=r"records of mine-rate0\.3 lack the rate"):
        rates.analyse(frame([*records, record(agent="mine-rate0.3")]))


def test_curves_of_free_text_are_of_likelihood_loss_and_gold_quality(tmp_path: Path):
    records = [
        record(
            agent=f"{agent}-rate{rate:g}",
            prompt_id=str(i),
            requested_rate=rate,
            likelihood_loss=loss + i,
            gold_score=gold,
            original_gold_score=0.5,
        )
        for agent, loss, gold in (("random", 1.0, 0.2), ("x", 0.25, 0.4))
        for rate in (0.2, 0.4)
        for i in range(2)
    ]
    analysis = rates.analyse(frame(records))
    areas = analysis.tables[rates.AREAS]
    assert areas.columns[2:4] == (rates.LOSS, "gold quality")
    assert areas.columns[-1] == "likelihood loss - random's"
    figures = [[row[1], *(round(row[i], 9) for i in (2, 3, -1))] for row in areas.rows]
    assert figures == [["random", 1.5, 0.4, 0.0], ["x", 0.75, 0.8, -0.75]]
    write_analysis(tmp_path, analysis, rates.draw)
    assert read_analyses(tmp_path) == [analysis]


@pytest.mark.usefixtures("shared_generator")
def test_rates_use_the_agents_that_the_run_trained(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Learner, "trained", [])
    out = tmp_path / "out"
    run(suite, out, [RATED])
    trained = list(Learner.trained)
    analysis = rates.run(out, agents=["random", RATED], rates=[0, 0.5])
    assert Learner.trained == trained
    assert read_analyses(out) == [analysis]
    rows = analysis.tables["validation_seen"].rows
    achieved = {(row[0], row[1]): row[2] for row in rows}
    assert achieved["rated", 0.0] == achieved["random", 0.0] == 0.0
    assert achieved["rated", 0.5] == pytest.approx(0.5, abs=0.1)
    assert {row[4] for row in rows if row[1] == 0.0} == {1.0}
    resumed = rates.run(out, agents=["random", RATED], rates=[0, 0.5])  # nothing is evaluated twice
    assert resumed == analysis


def test_agents_without_a_rate_have_no_curve(suite: Suite, tmp_path: Path):
    run(suite, tmp_path / "out", ["keep_all"])
    with pytest.raises(ValueError, match="must take a rate; remove keep_all"):
        rates.run(tmp_path / "out", agents=["keep_all"])
    for wrong in ([2.0], []):
        with pytest.raises(ValueError, match="shares from 0 to 1"):
            rates.run(tmp_path / "out", agents=["random"], rates=wrong)


@pytest.mark.usefixtures("shared_generator")
def test_transfer_evaluates_every_run_with_every_generator(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Learner, "trained", [])
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        run(dataclasses.replace(suite, generator="micro"), folder, [RATED])
    trained = list(Learner.trained)
    analysis = transfer.run(folders, agents=[RATED], out=tmp_path / "matrix")
    assert Learner.trained == trained
    assert read_analyses(tmp_path / "matrix") == [analysis]
    table = analysis.tables["rated, validation_seen"]
    assert table.columns == ("trained in", "one", "two")
    assert [row[0] for row in table.rows] == ["one", "two"]
    # Both runs trained the same agents against the same generator.
    assert len({cell for row in table.rows for cell in row[1:]}) == 1
    other = tmp_path / "elsewhere" / "one"  # of the same name, with other weights
    run(dataclasses.replace(suite, generator="micro"), other, [RATED])
    (other / "training" / "rated-seed0" / "last" / "knows").write_text("0 3")
    note = other / "training" / "rated-seed0.json"
    digest = TrainingFolder(other / "training" / "rated-seed0").digest()
    note.write_text(json.dumps(json.loads(note.read_text()) | {"sha256": digest}))
    with pytest.raises(RunFolderError, match=r"agents\.rated-one: .* policies "):
        transfer.run([other, folders[1]], agents=[RATED], out=tmp_path / "matrix")
    with pytest.raises(ValueError, match="nothing to transfer"):
        transfer.run(folders, agents=["keep_all"], out=tmp_path / "x")
    with pytest.raises(ValueError, match=r"names must be unique, got .*one, .*one"):
        transfer.run([folders[0]] * 2, agents=[RATED], out=tmp_path / "x")


def test_policies_that_a_run_did_not_evaluate_leave_gaps(tmp_path: Path):
    rows = {
        "x": [
            {"split": "seen", "agent": f"a-{label}", "reward": reward}
            for label, reward in (("x", 0.5), ("y", 0.25))
        ],
        "y": [],
    }
    analysis = transfer.analyse(rows, ["a"])
    assert analysis.tables == {
        "a, seen": Table(("trained in", "x", "y"), (("x", 0.5, None), ("y", 0.25, None)))
    }
    write_analysis(tmp_path, analysis, transfer.draw)


def test_missing_trained_agents_are_told(suite: Suite, tmp_path: Path):
    run(suite, tmp_path / "out", ["keep_all"])
    (entry,) = find_agents([RATED])
    with pytest.raises(RunFolderError, match=r"contains no rated of seed 0: .*--agents rated, or"):
        from_run(entry, RunFolder(tmp_path / "out"), 1)
    run(suite, tmp_path / "out", [RATED])
    (tmp_path / "out" / "training" / "rated-seed1.json").unlink()
    with pytest.raises(RunFolderError, match="contains no rated of seed 1"):
        from_run(entry, RunFolder(tmp_path / "out"), 2)


def test_policies_do_not_move_between_tokenizers(tmp_path: Path, suite: Suite):
    for name in sorted(models.TOKENIZERS)[:2]:
        model = str(tmp_path / "models" / name)
        models.TOKENIZERS[name]().save_pretrained(model)
        run(dataclasses.replace(suite, generator=model, tokenizer=model), tmp_path / name, [RATED])
    folders = [tmp_path / name for name in sorted(models.TOKENIZERS)[:2]]
    with pytest.raises(ValueError, match=r"tokenizers of the policies, .*, differ"):
        transfer.run(folders, agents=[RATED], out=tmp_path / "out", device="cpu")


def test_net_time_saved_by_hand():
    records = [
        record(agent=agent, seed=seed, prompt_id=f"p{place}", prompt="x" * 12, **changes)
        for agent, changes in {
            "a": {"compressed_prompt": "x" * 4, "compress_ms": 3.0},
            "b": {"compressed_prompt": "x" * 11, "compress_ms": 3.0},
        }.items()
        for seed in (0, 1)
        for place in range(4)
    ]
    measured = []

    def measure(texts):
        measured.append(len(texts))
        return float(len(texts[0]))  # a millisecond per character

    table = timing.analyse(frame(records), measure, prompts=2).tables["seen"]
    assert table.rows == (
        ("a", 2, 3.0, 12.0, 4.0, 5.0, 5.0 / 12.0),
        ("b", 2, 3.0, 12.0, 11.0, -2.0, -2.0 / 12.0),
    )
    assert measured == [2, 2, 2]  # the original prompts once for both


@pytest.mark.usefixtures("shared_generator")
def test_timing_measures_every_agent(suite: Suite, tmp_path: Path):
    run(suite, tmp_path / "out", ["keep_all", "random"])
    analysis = timing.run(tmp_path / "out", prompts=3)
    assert read_analyses(tmp_path / "out") == [analysis]
    assert {row[0] for row in analysis.tables["validation_seen"].rows} == {"keep_all", "random"}


def test_a_folder_tells_its_suite(suite: Suite, tmp_path: Path):
    run(suite, tmp_path / "out", ["keep_all"])
    again = suite_of(RunFolder(tmp_path / "out").settings)
    assert dataclasses.replace(again, checksums={}) == dataclasses.replace(suite, limit=6)
    assert set(again.checksums) == set(suite.splits)
