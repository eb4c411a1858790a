from __future__ import annotations

from bench_fixtures import SETTINGS, frame, record
from benchmarks.analyses.families import analyse, run
from benchmarks.records import ORACLE, RunFolder

A, B = ("sort/2", "sort/3", "name"), (0.1, 0.3, 0.9)


def records(agent: str, change: float = 0.0):
    return [
        record(agent=agent, prompt_id=source, source=source, reward=reward + change)
        for source, reward in zip(A, B, strict=True)
    ]


def test_each_family_has_its_own_means() -> None:
    found = analyse(frame([*records("a"), *records("b", 0.5)]), SETTINGS).tables["seen"].frame()
    assert found["family"].tolist() == ["sort", "sort", "name", "name"]  # the largest first
    assert found["agent"].tolist() == ["b", "a", "b", "a"]
    assert found["n"].tolist() == [2, 2, 1, 1]
    assert found["reward"].round(6).tolist() == [0.7, 0.2, 1.4, 0.9]
    assert found["95% interval"].tolist()[1:3] == ["0.100 to 0.300", "1.400 to 1.400"]


def test_agents_that_query_the_generator_are_marked() -> None:
    settings = SETTINGS | {"agents": {"a": f"a{ORACLE}", "b": "b"}}
    both = frame([*records("a"), *records("b")])
    found = analyse(both, settings)
    assert "Agents marked *" in found.note
    assert "marked" not in analyse(both, SETTINGS).note
    assert set(found.tables["seen"].frame()["agent"]) == {"a *", "b"}


def test_only_what_was_measured_is_shown() -> None:
    bare = [record(likelihood_loss=None, gold_score=None, original_gold_score=None)]
    full = [record(likelihood_loss=0.25, gold_score=1.0, original_gold_score=2.0)]
    columns = [analyse(frame(own), SETTINGS).tables["seen"].frame() for own in (bare, full)]
    assert not {"loss", "gold quality"} & set(columns[0])
    assert columns[1].loc[0, ["loss", "gold quality"]].tolist() == [0.25, 0.5]


def test_the_analysis_of_a_folder(tmp_path) -> None:
    folder = RunFolder.open(tmp_path, SETTINGS)
    with folder.write_part("a", "seen", 0) as write:
        for one in records("a"):
            write(one)
    shown = run(tmp_path, agents=["a"])
    assert list(shown.tables) == ["seen"]
    assert "| sort" in (tmp_path / "analyses" / "families.md").read_text(encoding="utf-8")
