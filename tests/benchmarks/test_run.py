from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.base import agent_class, optional
from agents.runs.evaluation import AgentError
from agents.runs.folder import TrainingFolder
from agents.runs.run import TrainingError
from agents.scst_training import SCSTLearner
from bench_agents import Forgetful, Learner, Small
from bench_fixtures import PROMPTS_PER_SPLIT, make_generator, untimed
from benchmarks.__main__ import main
from benchmarks.records import RunFolder
from benchmarks.roster import CHECKPOINT_EVERY, find_agents
from benchmarks.runner import Benchmark
from benchmarks.suites import SUITES, Suite, suite_of
from fakes import CountingGenerator
from imports import ROOT
from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv
from pcrl_gym.errors import RunFolderError, TrainingDivergedError


def run(
    suite: Suite,
    agents: str,
    out: Path,
    generator: CountingGenerator | None = None,
    **budget: Any,
):
    generator = generator or make_generator()
    budget = budget or {"train_minutes": 0.5}
    return Benchmark(
        suite, find_agents(agents.split(",")), out, generator=generator, **budget
    ).run()


def training(out: Path, name: str) -> TrainingFolder:
    return TrainingFolder(out / "training" / name)


def updates_of(folder: TrainingFolder) -> list[dict[str, Any]]:
    """Figures of the updates, without seconds."""
    return [{k: v for k, v in r.items() if k not in ("kind", "seconds")} for r in folder.rows()]


def test_every_agent_split_and_seed_gets_its_records(suite: Suite, tmp_path: Path):
    out = tmp_path / "out"
    rows = run(suite, "random,keep_all,bench_agents:DropLast", out)
    by_agent = {(r["agent"], r["split"]): r for r in rows}
    assert len(by_agent) == 6
    assert by_agent["random", "validation_seen"]["seeds"] == 2
    assert by_agent["keep_all", "validation_seen"]["seeds"] == 1  # without chance: once
    assert by_agent["keep_all", "validation_seen"]["n"] == PROMPTS_PER_SPLIT
    assert by_agent["keep_all", "validation_seen"]["similarity"] == 1.0
    assert by_agent["keep_all", "validation_seen"]["compression_ratio"] == 0.0
    assert by_agent["DropLast", "validation_unseen"]["generator"] == "counting"
    assert json.loads((out / "summary.json").read_text()) == json.loads(json.dumps(rows))
    assert (out / "leaderboard.md").read_text().count("###") == 2

    records = list(RunFolder(out).records())
    assert len(records) == 2 * PROMPTS_PER_SPLIT * (2 + 1 + 1)
    for record in records:
        kept = list(record.prompt)
        for start, end in record.dropped:
            kept[start:end] = [""] * (end - start)
        assert "".join(kept) == record.compressed_prompt
        assert (record.gold_rouge_l is None) == (record.gold == "")
    assert any(record.dropped for record in records)


def test_provenance_tells_code_data_and_settings(suite: Suite, tmp_path: Path):
    run(suite, "keep_all", tmp_path / "out")
    run(suite, "truncation", tmp_path / "out")
    told = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert [one["agents"] for one in told["runs"]] == [["keep_all"], ["truncation"]]
    assert set(told["runs"][0]["git"]) == {"commit", "dirty"}
    assert told["runs"][0]["libraries"]["numpy"]
    assert set(told["runs"][0]["checksums"]) == set(suite.splits)
    assert told["settings"]["agents"] == {"keep_all": "keep_all", "truncation": "truncation"}


def test_other_code_in_one_folder_is_told(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    def warned(commit: str, dirty: bool) -> bool:
        code = {"commit": commit, "dirty": dirty}
        monkeypatch.setattr("benchmarks.provenance.git_state", lambda: code)
        run(dataclasses.replace(suite, limit=2), "keep_all", tmp_path / "out")
        return "may contain results of different code" in capsys.readouterr().err

    assert not warned("a" * 40, False)
    assert not warned("a" * 40, False)
    assert warned("b" * 40, False)
    assert warned("b" * 40, True)
    assert warned("b" * 40, True)


def test_stages_are_told(suite: Suite, tmp_path: Path, capsys):
    run(dataclasses.replace(suite, limit=2), "keep_all", tmp_path / "out")
    told = capsys.readouterr().err
    assert told.index("Reading") < told.index("Loading generator counting")


def test_equal_answers_in_any_script_get_full_gold_score(suite: Suite, tmp_path: Path):
    for split in suite.splits:
        line = json.dumps({"instruction": "say it", "input": "", "output": "\u732b"})
        (Path(suite.dataset) / f"{split}.jsonl").write_text(line + "\n")
    generator = make_generator()
    generator.answer = lambda text: "\u732b"
    rows = run(suite, "keep_all", tmp_path / "out", generator)
    assert [row["gold_rouge_l"] for row in rows] == [1.0, 1.0]


def test_finished_parts_are_not_evaluated_again(suite: Suite, tmp_path: Path):
    out = tmp_path / "out"
    run(suite, "random,keep_all", out)
    whole = untimed(out)
    (out / "records" / "random" / "validation_seen-seed1.parquet").unlink()
    stamps = {file: file.stat().st_mtime_ns for file in out.glob("records/*/*.parquet")}
    run(suite, "random,keep_all", out)
    assert untimed(out) == whole
    assert all(file.stat().st_mtime_ns == stamp for file, stamp in stamps.items())
    idle = make_generator()
    run(suite, "random,keep_all", out, idle)
    assert idle.generate_calls == []


def test_interrupted_run_goes_on_and_equals_an_unbroken_one(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    agents = "bench_agents:Forgetful"
    run(suite, agents, tmp_path / "whole")
    out = tmp_path / "broken"
    # Two calls per part: this stops in the middle of the second part.
    monkeypatch.setattr(Forgetful, "calls_left", 3)
    with pytest.raises(KeyboardInterrupt):
        run(suite, agents, out)
    parts = [file.name for file in out.glob("records/*/*.parquet")]
    assert parts == ["validation_seen-seed0.parquet"]
    monkeypatch.setattr(Forgetful, "calls_left", None)
    run(suite, agents, out)
    assert untimed(out) == untimed(tmp_path / "whole")


def test_agents_are_trained_once_and_loaded_on_resume(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Learner, "trained", [])
    out = tmp_path / "out"
    run(suite, "bench_agents:Learner", out)
    assert Learner.trained == [(0, 30.0), (1, 30.0)]
    (row,) = updates_of(training(out, "learner-seed1"))
    assert set(row) == {"updates", "reward"}
    (out / "records" / "learner" / "validation_unseen-seed1.parquet").unlink()
    run(suite, "bench_agents:Learner", out)
    assert len(Learner.trained) == 2


def test_agents_trained_on_other_data_are_not_mixed(suite: Suite, tmp_path: Path):
    out = tmp_path / "out"
    run(suite, "keep_all", out)
    run(suite, "bench_agents:Learner", out)
    train = Path(suite.dataset) / "train.jsonl"
    train.write_text(train.read_text().replace("Please", "Now"))
    with pytest.raises(RunFolderError, match=r"agents\.learner: "):
        run(suite, "bench_agents:Learner", out)
    run(suite, "keep_all", out)


def test_agent_without_an_update_gets_no_row(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Learner, "train", lambda self, make_env, **budget: [])
    with pytest.raises(TrainingError, match=r"learner, seed 0: the budget of 0\.5 minutes ran out"):
        run(suite, "keep_all,bench_agents:Learner", tmp_path / "out")
    assert not list((tmp_path / "out").glob("training/*.json"))
    assert {r.agent for r in RunFolder(tmp_path / "out").records()} == {"keep_all"}


def before_update(monkeypatch: pytest.MonkeyPatch, call: Callable[[int], None]) -> None:
    """Have a function called with the number of updates done, before each of them."""
    original = SCSTLearner.update

    def update(self: SCSTLearner, used: float):
        call(self.updates)
        return original(self, used)

    monkeypatch.setattr(SCSTLearner, "update", update)


def agent_files(out: Path) -> dict[str, bytes]:
    """Trained agents, without figures, which hold seconds."""
    return {
        str(file.relative_to(out)): file.read_bytes()
        for file in [*out.glob("training/*/last/*"), *out.glob("training/*.json")]
        if file.name != "progress.json"
    }


def test_a_training_that_was_cut_off_ends_as_an_unbroken_one(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    updates, stopped_after = 2 * CHECKPOINT_EVERY + 2, CHECKPOINT_EVERY + 3
    agents, budget = "bench_agents:Small", {"train_episodes": 8 * updates}
    run(suite, agents, tmp_path / "whole", **budget)
    out = tmp_path / "broken"
    done: list[int] = []

    def stop(number: int) -> None:
        done.append(number)
        if number == stopped_after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        before_update(patch, stop)
        with pytest.raises(KeyboardInterrupt):
            run(suite, agents, out, **budget)
    assert done == list(range(stopped_after + 1))
    assert not list(out.glob("training/*.json"))
    done.clear()
    with monkeypatch.context() as patch:
        before_update(patch, done.append)
        run(suite, agents, out, **budget)
    # Seed 0 goes on from its checkpoint, seed 1 begins.
    assert done == [*range(CHECKPOINT_EVERY, updates), *range(updates)]
    assert f"resuming after update {CHECKPOINT_EVERY}" in capsys.readouterr().err
    assert agent_files(out) == agent_files(tmp_path / "whole")
    assert untimed(out) == untimed(tmp_path / "whole")


def test_a_training_run_gives_the_agent_that_train_gives(suite: Suite, tmp_path: Path):
    out = tmp_path / "out"
    run(suite, "bench_agents:Small", out, train_episodes=40)

    def make_env(num_envs: int) -> PromptCompressionVectorEnv:
        return PromptCompressionVectorEnv(
            num_envs,
            dataset=suite.dataset,
            generator=make_generator(),
            max_units=suite.max_units,
        )

    agent = Small(seed=1)
    history = agent.train(make_env, episodes=40, progress=False)
    agent.save(tmp_path / "alone")
    stored = training(out, "small-seed1")
    for file in (tmp_path / "alone").iterdir():
        assert (stored.weights / file.name).read_bytes() == file.read_bytes()
    told = updates_of(stored)
    assert len(told) == 5
    assert told == [{k: v for k, v in row.items() if k != "seconds"} for row in history]
    config = stored.stored_config()
    assert (config["seed"], config["agent"]["samples"]) == (1, 2)
    assert config["task"]["dataset"] == suite.dataset
    assert (config["task"]["split"], config["task"]["max_units"]) == ("train", 48)
    assert config["task"]["tokenizer"] == "counting"
    assert stored.identity()["generator_name"] == "counting"
    assert stored.curve.is_file()
    assert not stored.best.exists()  # no split that is evaluated chooses the agent


def test_an_episode_is_enough_for_an_update(suite: Suite, tmp_path: Path):
    run(suite, "bench_agents:Small", tmp_path / "out", train_episodes=1)
    assert [row["episodes"] for row in training(tmp_path / "out", "small-seed0").rows()] == [8]


def test_a_training_that_was_cut_off_is_not_continued_with_other_settings(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(number: int) -> None:
        if number > CHECKPOINT_EVERY:
            raise KeyboardInterrupt

    before_update(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        run(suite, "bench_agents:Small", tmp_path / "out", train_episodes=800)
    # What does not decide it may differ: the run goes on.
    with pytest.raises(KeyboardInterrupt):
        run(suite, "bench_agents:Small", tmp_path / "out", train_episodes=800, device="cpu")
    monkeypatch.setattr(Small, "defaults", Small.defaults | {"lr": 0.5})
    with pytest.raises(ValueError, match=r"agent\.lr: 0\.001 in the folder, 0\.5 now"):
        run(suite, "bench_agents:Small", tmp_path / "out", train_episodes=800)


def test_divergence_names_the_agent_and_keeps_the_checkpoint(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def diverge(number: int) -> None:
        if number == CHECKPOINT_EVERY:
            raise TrainingDivergedError("loss: no longer a finite number.")

    before_update(monkeypatch, diverge)
    with pytest.raises(TrainingError, match=r"small, seed 0: training diverged in update 6.*lr=0"):
        run(suite, "keep_all,bench_agents:Small", tmp_path / "out", train_episodes=800)
    assert {r.agent for r in RunFolder(tmp_path / "out").records()} == {"keep_all"}


def test_weights_that_changed_since_are_refused(suite: Suite, tmp_path: Path):
    out = tmp_path / "out"
    run(suite, "bench_agents:Learner", out)
    note = json.loads((out / "training" / "learner-seed0.json").read_text())
    assert note["training"] == "training/learner-seed0"
    (training(out, "learner-seed0").last / "knows").write_text("0 3")
    run(suite, "bench_agents:Learner", out)  # there is nothing left to evaluate
    (out / "records" / "learner" / "validation_unseen-seed0.parquet").unlink()
    with pytest.raises(RunFolderError, match=r"no longer those of .* Restore them"):
        run(suite, "bench_agents:Learner", out)
    shutil.rmtree(out / "training" / "learner-seed0")
    with pytest.raises(RunFolderError, match=r"training/learner-seed0 are gone"):
        run(suite, "bench_agents:Learner", out)


def test_episodes_are_the_budget_by_default(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given: list[dict[str, Any]] = []

    def train(self: Learner, make_env: Any, **budget: Any) -> list[dict[str, float]]:
        given.append(budget)
        self.knows = 1
        return [{"reward": 0.0}]

    monkeypatch.setattr(Learner, "train", train)
    entries = find_agents(["bench_agents:Learner"])
    Benchmark(suite, entries, tmp_path / "out", generator=make_generator()).run()
    assert given == [{"episodes": 16384, "seconds": None, "progress": True}] * 2
    assert RunFolder(tmp_path / "out").settings["agents"]["learner"].endswith(", 16384 episodes")


def test_default_episodes_are_those_of_the_standings():
    standings = json.loads((ROOT / "benchmarks/leaderboard/micro/settings.json").read_text())
    for agent in ("ppo", "scst"):
        episodes = optional(agent_class(agent), "default_episodes")
        assert standings["agents"][agent].endswith(f", {episodes} episodes")


def test_an_agent_of_another_budget_is_another_agent(suite: Suite, tmp_path: Path):
    out = tmp_path / "out"
    run(suite, "bench_agents:Learner", out, train_episodes=10)
    with pytest.raises(RunFolderError, match=r"agents.learner: .* 10 episodes. in .* 20 episodes"):
        run(suite, "bench_agents:Learner", out, train_episodes=20)
    with pytest.raises(RunFolderError, match=r"10 episodes or 3 minutes. now"):
        run(suite, "bench_agents:Learner", out, train_episodes=10, train_minutes=3)
    run(suite, "keep_all", out, train_episodes=20)  # nothing of it is trained


def test_training_needs_a_split_of_its_own(suite: Suite, tmp_path: Path):
    (Path(suite.dataset) / "train.jsonl").unlink()
    with pytest.raises(ValueError, match="learner must be trained"):
        run(suite, "bench_agents:Learner", tmp_path / "out")
    single = dataclasses.replace(suite, dataset=f"{suite.dataset}/validation_seen.jsonl")
    single = dataclasses.replace(single, splits=("validation_seen",))
    with pytest.raises(ValueError, match="evaluation prompts"):
        run(single, "bench_agents:Learner", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_evaluated_prompts_in_train_are_counted(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    data = Path(suite.dataset)
    shared = "".join((data / "validation_seen.jsonl").read_text().splitlines(True)[:3])
    (data / "train.jsonl").write_text((data / "train.jsonl").read_text() + shared)
    run(suite, "bench_agents:Learner", tmp_path / "out")
    assert (
        "warning: 3 of 70 prompts of validation_seen are also in train" in capsys.readouterr().err
    )
    monkeypatch.setitem(SUITES, suite.id, suite)
    with pytest.raises(ValueError, match="3 of the 70 evaluation prompts of validation_seen"):
        run(suite, "bench_agents:Learner", tmp_path / "frozen")


def test_mixed_settings_are_refused_before_the_generator_works(suite: Suite, tmp_path: Path):
    out = tmp_path / "out"
    run(suite, "keep_all", out)
    idle = make_generator()
    with pytest.raises(RunFolderError, match=r"max_new_tokens: 30 in the folder, 5 now"):
        run(dataclasses.replace(suite, max_new_tokens=5), "keep_all", out, idle)
    data = Path(suite.dataset) / "validation_seen.jsonl"
    data.write_text(data.read_text().replace("Please", "Now"))
    with pytest.raises(RunFolderError, match="checksums"):
        run(suite, "keep_all", out, idle)
    assert idle.counted == []


def test_limit_takes_prompts_from_the_whole_split(suite: Suite, tmp_path: Path):
    (row, _) = run(dataclasses.replace(suite, limit=7), "keep_all", tmp_path / "out")
    assert row["n"] == 7
    prompts = [r.prompt for r in RunFolder(tmp_path / "out").records() if r.split == row["split"]]
    assert prompts[0].splitlines()[0].endswith("validation_seen 0")
    assert prompts[-1].splitlines()[0].endswith("validation_seen 60")


def test_rewards_that_ask_for_no_answers_still_get_a_similarity(suite: Suite, tmp_path: Path):
    suite = dataclasses.replace(suite, reward="likelihood", limit=3)
    rows = run(suite, "bench_agents:DropLast", tmp_path / "out")
    assert 0.0 <= rows[0]["similarity"] <= 1.0
    assert all(r.log_likelihood is not None for r in RunFolder(tmp_path / "out").records())


def test_an_oracle_is_given_each_task_and_stays_marked(suite: Suite, tmp_path: Path, capsys):
    out = tmp_path / "out"
    rows = run(dataclasses.replace(suite, limit=3), "bench_agents:Oracle,keep_all", out)
    assert {row["agent"]: row["oracle"] for row in rows} == {"oracle": True, "keep_all": False}
    assert (out / "leaderboard.md").read_text().count("| oracle *") == 2
    assert main(["table", str(out)]) == 0
    assert capsys.readouterr().out.count("\noracle *") == 2


def test_progress_is_a_line_per_part_with_the_total(suite: Suite, tmp_path: Path, capsys):
    run(suite, "keep_all", tmp_path / "out")
    capsys.readouterr()
    run(suite, "keep_all,random", tmp_path / "out")
    shown = [line for line in capsys.readouterr().err.splitlines() if "prompt/s" in line]
    n = PROMPTS_PER_SPLIT
    # What an earlier run finished does not count.
    expected = [("", 0)] + [
        (f"random, {split}, seed {seed}: ", part * n)
        for part, (seed, split) in enumerate(itertools.product((0, 1), suite.splits))
    ]
    expected.append((expected[-1][0], 4 * n))
    assert len(shown) == len(expected)
    for line, (name, done) in zip(shown, expected, strict=True):
        assert line.startswith(name)
        assert f" {done}/{4 * n} [" in line
        assert "\r" not in line
    run(suite, "keep_all,random", tmp_path / "out")
    assert "prompt/s" not in capsys.readouterr().err


def test_search_earns_more_than_keeping_all(suite: Suite, tmp_path: Path):
    rows = run(dataclasses.replace(suite, limit=2, seeds=1), "search", tmp_path / "out")
    # It takes a seed, but one is enough for a ceiling.
    assert [(row["agent"], row["oracle"], row["seeds"]) for row in rows] == [
        ("search", True, 1)
    ] * 2
    assert all(row["reward"] > 0 for row in rows)
    assert all(row["survival_rate"] == 1.0 for row in rows)


@pytest.mark.parametrize("name", ["", "a/b", "..", "ä", "a b"])
def test_agent_names_must_fit_file_names(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setattr(Learner, "name", name)
    with pytest.raises(ValueError, match="must consist of"):
        find_agents(["bench_agents:Learner"])


def test_masks_of_the_wrong_shape_name_the_agent(suite: Suite, tmp_path: Path):
    with pytest.raises(AgentError, match=r"Agent wrong-shape: .*\(64, 48\)"):
        run(suite, "bench_agents:WrongShape", tmp_path / "out")


def test_task_options_of_a_suite_reach_its_prompts_and_settings(suite: Suite, tmp_path: Path):
    for file in Path(suite.dataset).iterdir():
        file.write_text(file.read_text().replace('"instruction"', '"job"'))
    rules = {"keep_digits": True, "force_keep": ("words",), "columns": {"job": "instruction"}}
    suite = dataclasses.replace(suite, limit=3, **rules)
    out = tmp_path / "out"
    run(suite, "random:rate=1.0", out)
    folder = RunFolder(out)
    for record in folder.records():
        assert "words" in record.compressed_prompt
        assert ("12" in record.prompt) == ("12" in record.compressed_prompt)
    made = suite_of(folder.settings)
    assert dataclasses.replace(made, checksums={}) == suite
