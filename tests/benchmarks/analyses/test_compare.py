from __future__ import annotations

from pathlib import Path

import pytest

from bench_fixtures import SETTINGS, frame, record
from benchmarks.analyses.analysis import Analysis
from benchmarks.analyses.compare import compare_agents, run, verdicts
from benchmarks.records import RunFolder
from pcrl_gym.errors import RunFolderError


def records(**rewards: tuple[float, ...]):
    return [
        record(agent=agent, prompt_id=f"p{place}", reward=reward)
        for agent, own in rewards.items()
        for place, reward in enumerate(own)
    ]


def folder(path: Path, **rewards: tuple[float, ...]) -> Path:
    opened = RunFolder.open(path, SETTINGS | {"agents": dict.fromkeys(rewards, "module:A")})
    for agent in rewards:
        with opened.write_part(agent, "seen", 0) as write:
            for one in records(**{agent: rewards[agent]}):
                write(one)
    return path


def lines(analysis: Analysis) -> list[str]:
    return analysis.note.partition("\n\n")[0].splitlines()


def test_pairs_by_hand():
    own = frame(records(a=(1.0, 1.0, 0.5, 0.5), b=(0.5, 0.5, 0.5, 0.5)))
    (row,) = compare_agents(own).tables["seen"].rows
    assert row[:4] == ("a", "b", 4, 0.25)
    assert row[5] == 0.75
    assert float(row[6]) == 0.5  # of 4 signs of two differences, 2 are as far from 0
    assert row[7] == "yes"
    assert "small n" in row[8]
    (swapped,) = compare_agents(own, ["b", "a"]).tables["seen"].rows
    assert swapped[:4] == ("b", "a", 4, -0.25)


def test_pairs_need_two_agents_on_the_same_prompts():
    with pytest.raises(ValueError, match="at least two agents"):
        compare_agents(frame([record()]))
    other = [record(), record(agent="b", prompt_id="p1")]
    with pytest.raises(RunFolderError, match="different prompts of seen"):
        compare_agents(frame(other))


def test_verdicts_come_best_first():
    # Eight differences of one sign: 2 of 2^8 signs are as far from 0, p = 0.0078.
    own = records(
        mine=(0.25, 0.75) * 4, scst=(0.5,) * 8, good=(1.0, 0.75) * 4, bad=(0.0,) * 8, few=(0.5,) * 8
    )
    good, few, mine, bad = lines(verdicts(frame(own), "scst"))
    assert good.startswith("good, seen: +0.375 (95% 0.")
    assert good.endswith("P(better) 1.00, p 0.0078: better than scst")
    assert few == (
        "few, seen: +0.000 (95% 0.000 to 0.000), P(better) 0.50, p 1: no difference seen"
    )
    assert mine.startswith("mine, seen: +0.000")
    assert bad == (
        "bad, seen: -0.500 (95% -0.500 to -0.500), P(better) 0.00, p 0.0078: worse than scst"
    )
    with pytest.raises(ValueError, match="nobody cannot be compared"):
        verdicts(frame(own), "nobody")


def test_a_difference_needs_a_small_p_value_too():
    # The interval leaves out 0, but of 2^4 signs two are as far from it: p = 0.125.
    (line,) = lines(verdicts(frame(records(a=(1.0,) * 4, b=(0.5,) * 4)), "b"))
    assert line.endswith("(95% 0.500 to 0.500), P(better) 1.00, p 0.12: no difference seen")


def test_any_number_of_the_records_can_be_compared(tmp_path: Path):
    opened = RunFolder.open(tmp_path, SETTINGS | {"agents": dict.fromkeys("ab", "module:A")})
    for agent, losses in {"a": (0.25,) * 8, "b": (0.75,) * 8}.items():
        with opened.write_part(agent, "seen", 0) as write:
            for place, loss in enumerate((*losses, None)):
                write(record(agent=agent, prompt_id=f"p{place}", likelihood_loss=loss))
    (row,) = run(tmp_path, figure="likelihood_loss").tables["seen"].rows
    assert row[:4] == ("a", "b", 8, -0.5)
    analysis = run(tmp_path, figure="likelihood_loss", against="b")
    assert lines(analysis)[0].endswith("P(higher) 0.00, p 0.0078: lower than b")
    assert "Difference of the mean likelihood loss" in analysis.note
    assert not (tmp_path / "analyses").exists()
    with pytest.raises(ValueError, match="no record has the figure 'gold_score'; available: "):
        run(tmp_path, figure="gold_score")
    with opened.write_part("c", "seen", 0) as write:
        write(record(agent="c"))
    with pytest.raises(ValueError, match="records of c have no likelihood_loss: name others"):
        run(tmp_path, figure="likelihood_loss")


def test_folders_are_compared_and_the_first_holds_its_pairs(tmp_path: Path):
    mine = folder(tmp_path / "mine", a=(1.0, 1.0), b=(0.5, 0.5))
    theirs = folder(tmp_path / "theirs", b=(0.0, 0.0), c=(0.25, 0.25))
    joined = lines(run(mine, others=[theirs], against="c"))
    assert [line.split(",")[0] for line in joined] == ["a", "b", "b (theirs)"]
    assert not (mine / "analyses").exists()
    some = lines(run(mine, agents=["a", "b (theirs)"], others=[theirs], against="c"))
    assert [line.split(",")[0] for line in some] == ["a", "b (theirs)"]
    assert run(mine, agents=["b", "a"]).tables
    assert not (mine / "analyses").exists()
    (pair,) = run(mine).tables["seen"].rows
    assert pair[:2] == ("a", "b")
    assert (mine / "analyses" / "compare.md").is_file()
    with pytest.raises(ValueError, match="no results for the agents x, only for a, b"):
        run(mine, agents=["a", "x"])
