"""Training runs: what they store, how they go on, and what they say when something breaks."""

from __future__ import annotations

import errno
import itertools
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import filelock
import pytest

from agents.budget import Budget
from agents.runs import loggers as run_loggers
from agents.runs.config_file import load_config
from agents.runs.folder import TrainingFolder
from agents.runs.loggers import check_loggers
from agents.runs.run import TrainingError, train
from bench_agents import Learner
from benchmarks.roster import CHECKPOINT_EVERY
from imports import ROOT
from keyword_env import KeywordVectorEnv, rewards_of
from pcrl_gym.errors import MissingExtraError, RunFolderError
from pcrl_gym.storage.atomic import recover_folder, replace_folder
from run_agents import TinyAgent, config, figures, material, run, weights


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> TrainingFolder:
    return run(tmp_path_factory.mktemp("runs") / "unbroken")


def test_a_run_stores_figures_agents_and_a_picture(unbroken: TrainingFolder):
    rows = unbroken.rows()
    assert [r["updates"] for r in rows if r["kind"] == "update"] == [1, 2, 3, 4, 5]
    evaluations = [r for r in rows if r["kind"] == "evaluation"]
    assert [r["updates"] for r in evaluations] == [2, 4, 5]
    best = json.loads((unbroken.best / "evaluation.json").read_text())
    assert best["reward"] == max(r["reward"] for r in evaluations)
    for folder, reward in ((unbroken.last, evaluations[-1]["reward"]), (unbroken.best, best)):
        agent = TinyAgent.load(folder, device="cpu")
        expected = reward if isinstance(reward, float) else reward["reward"]
        assert rewards_of(agent, episodes=50) == expected
    assert unbroken.curve.read_bytes().startswith(b"\x89PNG")
    assert {f.suffix for f in unbroken.last.iterdir()} == {".json", ".safetensors"}


def test_a_run_stopped_between_checkpoints_ends_as_an_unbroken_one(
    unbroken: TrainingFolder, tmp_path: Path
):
    calls = []

    class Stopped(KeywordVectorEnv):
        def step(self, actions):
            calls.append(1)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return super().step(actions)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", make_env=Stopped)
    folder = TrainingFolder(tmp_path / "run")
    assert [r["updates"] for r in folder.rows() if r["kind"] == "update"] == [1, 2, 3]
    with folder.metrics.open("a") as file:
        file.write('{"kind": "upd')  # a line torn by a power cut
    run(folder.path)
    assert len(calls) == 4, "the resumed run has an environment of its own"
    assert weights(folder.last) == weights(unbroken.last)
    assert figures(folder) == figures(unbroken)


def test_a_finished_run_is_left_as_it_is(unbroken: TrainingFolder, tmp_path: Path):
    before = weights(unbroken.last), unbroken.metrics.read_bytes()
    run(unbroken.path)
    assert (weights(unbroken.last), unbroken.metrics.read_bytes()) == before


@pytest.mark.parametrize(
    ("kind", "every", "step"),
    [
        pytest.param("training", 2, 19, id="training"),
        pytest.param("benchmark", CHECKPOINT_EVERY, 61, id="benchmark"),
        pytest.param("training", 2, 1, id="everywhere", marks=pytest.mark.slow),
    ],
)
def test_kill_9_loses_at_most_the_updates_since_a_checkpoint(
    tmp_path: Path, kind: str, every: int, step: int
):
    done = subprocess.run(
        [sys.executable, "tests/run_killer.py", str(tmp_path), str(step), kind],
        cwd=ROOT, env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(range(1, told[0]["of"] + 1, step))
    for killed in told:
        # The checkpoint of an update is written after the update's line.
        assert killed["done"] - killed["kept"] <= every, killed
        assert all(killed["same"].values()), killed


def test_a_full_disk_is_said_and_costs_nothing(
    unbroken: TrainingFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    saves = []
    original = TinyAgent.save

    def save(self, folder):
        saves.append(Path(folder).name)
        if saves.count(".last.tmp") == 2:
            (Path(folder) / "half").write_text("of a file")
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, folder)

    monkeypatch.setattr(TinyAgent, "save", save)
    with pytest.raises(TrainingError, match=r"No space left.*latest checkpoint, .*last, is intact"):
        run(tmp_path / "run")
    folder = TrainingFolder(tmp_path / "run")
    assert json.loads((folder.last / "progress.json").read_text())["updates"] == 2
    run(folder.path)
    assert weights(folder.last) == weights(unbroken.last)
    assert figures(folder) == figures(unbroken)


def test_a_budget_of_minutes_is_not_used_up_by_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    # An hour goes by between the making of the budget and the first look at it.
    times = itertools.chain([0.0], itertools.count(3600.0, 0.001))
    monkeypatch.setattr("agents.runs.run.Budget", partial(Budget, clock=lambda: next(times)))
    settings = config("run.minutes=1", "run.updates=2")
    train(settings, tmp_path / "run", material=material())
    assert "nothing left to train" not in capsys.readouterr().err


def test_errors_of_safetensors_count_as_those_of_the_disk(tmp_path: Path, monkeypatch):
    from safetensors import SafetensorError

    def save_file(*args):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("agents.runs.folder.save_file", save_file)
    with pytest.raises(TrainingError, match=r"No space left.*No checkpoint has been stored yet"):
        run(tmp_path / "run")


def test_divergence_leaves_the_last_good_checkpoint_and_names_what_to_lower(tmp_path: Path):
    with pytest.raises(TrainingError, match=r"in update 4: loss.*Now lr=0\.01;.*last, is intact"):
        run(tmp_path / "run", "diverges_after=3")
    assert TinyAgent.load(tmp_path / "run" / "last", device="cpu")


def test_another_configuration_or_data_is_refused(unbroken: TrainingFolder, tmp_path: Path):
    with pytest.raises(RunFolderError, match=r"agent\.lr: 0\.01 in the folder, 0\.5 now"):
        run(unbroken.path, "lr=0.5")
    with pytest.raises(RunFolderError, match="prompts: 'keywords' in the folder, 'others' now"):
        run(unbroken.path, identity={"prompts": "others", "generator": "none"})
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(RunFolderError, match=r"contains no run: there is no config\.yaml"):
        run(tmp_path)
    with pytest.raises(RunFolderError, match="is a file"):
        run(tmp_path / "photo.jpg")


def test_a_run_that_is_going_on_is_left_alone(unbroken: TrainingFolder):
    with (
        filelock.FileLock(unbroken.path / "lock"),
        pytest.raises(RunFolderError, match="is in use by another run"),
    ):
        run(unbroken.path)


def test_without_an_evaluation_split_there_is_no_best_agent(tmp_path: Path):
    folder = run(tmp_path / "run", evaluate=None)
    assert {r["kind"] for r in folder.rows()} == {"update"}
    assert not folder.best.exists()


def test_tensorboard_shows_each_update_once(tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(TrainingError):
        run(tmp_path / "a", "loggers=[tensorboard]", "diverges_after=3")
    file = tmp_path / "a" / "config.yaml"
    file.write_text(file.read_text().replace("diverges_after: 3", "diverges_after: null"))
    folder = run(tmp_path / "a", "loggers=[tensorboard]")
    events = EventAccumulator(str(folder.tensorboard)).Reload()
    assert [e.step for e in events.Scalars("train/reward")] == [1, 2, 3, 4, 5]
    assert [e.step for e in events.Scalars("evaluation/reward")] == [2, 4, 5]


class Library:
    """Stands for wandb or trackio."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def init(self, **options) -> None:
        self.calls.append(("init", options["project"], options["name"], options["resume"]))

    def log(self, figures, step) -> None:
        self.calls.append((sorted(figures), step))

    def finish(self) -> None:
        self.calls.append(("finish",))


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_trackers_get_the_figures_if_asked_for(name: str, tmp_path: Path, monkeypatch):
    library = Library()
    monkeypatch.setitem(sys.modules, name, library)
    monkeypatch.setattr(run_loggers, "check_loggers", lambda names: None)
    monkeypatch.setattr("agents.runs.run.check_loggers", lambda names: None)
    run(tmp_path / "mine", f"loggers=[{name}]", "updates=2")
    assert library.calls[0] == ("init", "pcrl_gym", "mine", "allow")
    assert library.calls[-1] == ("finish",)
    assert [call[1] for call in library.calls[1:-1]] == [1, 2, 2]
    assert "train/reward" in library.calls[1][0]
    assert "evaluation/reward" in library.calls[3][0]


def test_a_missing_library_is_missed_before_anything_is_made(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="'wandb' needs: pip install wandb"):
        check_loggers(["jsonl", "wandb"])
    with pytest.raises(MissingExtraError, match=r"pip install -e '\.\[agents\]'"):
        run(tmp_path / "run", "loggers=[tensorboard]")
    assert not (tmp_path / "run").exists()


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path):
    folder = tmp_path / "a"
    for text in ("first", "second"):
        with replace_folder(folder) as fresh:
            (fresh / "text").write_text(text)
    with pytest.raises(OSError, match="full"), replace_folder(folder) as fresh:
        raise OSError("full")
    assert (folder / "text").read_text() == "second"
    folder.replace(tmp_path / ".a.old")  # killed between the renames
    (tmp_path / ".a.tmp").mkdir()
    recover_folder(folder)
    assert (folder / "text").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_budget_goes_on_where_it_was_and_pauses():
    now = [0.0]
    budget = Budget(seconds=100, updates=50, clock=lambda: now[0])
    budget.resume(updates=20, episodes=160, seconds=30.0)
    now[0] += 10
    with budget.paused():
        now[0] += 1000
        assert budget.progress["seconds"] == 40
    budget.add(8)
    assert (budget.updates_done, budget.episodes_done) == (21, 168)
    assert budget.progress["seconds"] == 40
    assert budget.used == pytest.approx(21 / 50)


def test_an_agent_with_a_training_of_its_own_is_trained_in_one_piece(tmp_path: Path):
    asked = load_config("bench_agents:Learner", settings=["episodes=8", "loggers=[jsonl]"], seed=2)
    given = {"material": material(evaluate=None), "progress": False}
    folder = train(asked, tmp_path / "run", **given)
    assert [row["kind"] for row in folder.rows()] == ["update"]
    assert Learner.load(folder.weights).seed == 2
    assert json.loads((folder.last / "progress.json").read_text())["updates"] == 1
    before = folder.digest()
    assert train(asked, folder.path, **given).digest() == before
    updates = load_config("bench_agents:Learner", settings=["updates=8"])
    with pytest.raises(ValueError, match=r"run\.updates: .* set one of these"):
        train(updates, tmp_path / "other", **given)
