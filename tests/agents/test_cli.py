"""`python -m agents`: exit statuses and messages; a whole run on micro."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from agents.__main__ import main
from agents.runs.folder import TrainingFolder
from agents.scst import SCSTAgent
from agents.scst_training import SCSTLearner
from pcrl_gym import Compressor, load_prompts, make_task
from pcrl_gym.episodes.tokenizers import load_tokenizer
from pcrl_gym.errors import TrainingDivergedError
from pcrl_gym.micro import micro_prompts
from run_agents import figures, weights

SHORT = (
    "updates=4", "run.episodes=null", "checkpoint_every=2", "evaluate_limit=4", "task.device=cpu",
    "agent.batch_size=2", "samples=2", "hidden_size=8", "num_layers=1", "agent.encoder=small",
)  # fmt: skip


def arguments(out: Path, *settings: str) -> list[str]:
    return [
        *("train", "scst", "--config", "scst-micro", "--seed", "1", "--loggers", "jsonl"),
        *("--out", str(out), "--set", *SHORT, *settings),
    ]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of splits so small that a run meets its prompts again and again."""
    folder = tmp_path_factory.mktemp("few")
    for split in ("train", "validation_seen"):
        rows = [
            {"instruction": prompt.instruction, "input": prompt.input}
            for prompt in micro_prompts(split)[:2400:50]
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_task_options_are_options(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command = [*arguments(tmp_path / "run", "updates=1"), "--dataset", str(few), "--dtype"]
    assert main([*command, "float17"]) == 2
    assert 'Invalid value "float17" for --dtype' in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    given = ("--keep-digits", "--force-keep", "first", 'a "b": ü', "--max-prompt-tokens", "90")
    assert main([*command, "bfloat16", *given, "--no-early-stopping"]) == 0
    task = TrainingFolder(tmp_path / "run").stored_config()["task"]
    assert task["dtype"] == "bfloat16"
    assert task["force_keep"] == ["first", 'a "b": ü']
    assert [task[key] for key in ("keep_digits", "early_stopping")] == [True, False]
    assert task["max_prompt_tokens"] == 90


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param((), id="small"),
        # Hidden states that an encoder keeps from update to update must not tell how often a run
        # was stopped.
        pytest.param(
            ("agent.encoder=micro-seq2seq", "freeze_encoder=true", "agent.batch_size=40"),
            id="frozen", marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_a_run_ends_the_same_whether_stopped_or_not(
    settings: tuple[str, ...],
    few: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    settings = (*settings, f"dataset={few}")
    assert main(arguments(tmp_path / "a", *settings)) == 0
    shown = capsys.readouterr().err
    for text in ("train scst: 100%", "reward=", "ratio=", "entropy=", "update 4: eval"):
        assert text in shown
    original = SCSTLearner.update

    def update(self, used):
        if self.updates == 3:
            raise KeyboardInterrupt
        return original(self, used)

    monkeypatch.setattr(SCSTLearner, "update", update)
    assert main(arguments(tmp_path / "b", *settings)) == 130
    assert "Run the same command again" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(arguments(tmp_path / "b", *settings)) == 0
    assert "resuming after update 2" in capsys.readouterr().err
    a, b = TrainingFolder(tmp_path / "a"), TrainingFolder(tmp_path / "b")
    assert weights(a.last) == weights(b.last)
    assert figures(a) == figures(b)


def test_wrong_arguments_end_with_2_and_make_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(arguments(tmp_path / "a", "lrr=1")) == 2
    assert capsys.readouterr().err.startswith("error: unknown key 'lrr'; did you mean agent.lr")
    (tmp_path / "photo.jpg").touch()
    assert main(arguments(tmp_path)) == 2
    assert "no run" in capsys.readouterr().err
    assert main(["train", "scst"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_an_empty_split_is_one_line_and_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "train.jsonl").write_text("")
    assert main(arguments(tmp_path / "a", f"dataset={tmp_path}")) == 2
    message = capsys.readouterr().err
    assert "train.jsonl: no prompts found" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "a").exists()


def test_a_missing_evaluation_split_can_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "train.jsonl").write_text('{"instruction": "Sort.", "input": "b a"}\n')
    assert main(arguments(tmp_path / "a", f"dataset={tmp_path}")) == 2
    assert "run.evaluate_split=null" in capsys.readouterr().err


def test_a_dry_run_measures_and_writes_nothing(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    settings = f"task.dataset={few}", "run.updates=null", "run.episodes=600"
    assert main([*arguments(out, *settings), "--dry-run"]) == 0
    text = capsys.readouterr().out
    speed = float(re.search(r"^rewards per second: ([\d.]+)$", text, re.MULTILINE)[1])
    shares = re.findall(r"drop (\d+)%: (\d+)% of \d+ rewards are above -0.01", text)
    assert [rate for rate, _ in shares] == ["5", "10", "30"]
    assert 100 >= int(shares[0][1]) >= int(shares[2][1]) >= 0
    minutes = float(re.search(r"600 masks take at least ([\d.]+) minutes", text)[1])
    assert minutes == pytest.approx(600 / speed / 60, abs=0.06)
    assert not out.exists()


def test_configurations_are_listed(capsys: pytest.CaptureFixture[str]):
    assert main(["configs"]) == 0
    assert re.search(r"^scst-micro +self-critical", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("which", ["best", "last"])
def test_a_run_becomes_a_compressor(
    which: str, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(arguments(tmp_path / "run", f"dataset={few}")) == 0
    target = tmp_path / "policy"
    assert main(["export", str(tmp_path / "run"), str(target), "--which", which]) == 0
    assert str(target) in capsys.readouterr().out
    compressor = Compressor.from_pretrained(target, device="cpu")
    agent = SCSTAgent.load(tmp_path / "run" / which, device="cpu")
    task = make_task(dataset=str(few))
    episode = task.episodes[0]
    observation = task.observe(episode, np.ones(len(episode), np.bool_))
    mask = agent.act({key: value[None] for key, value in observation.items()}, [{}])[0]
    done = compressor(instruction=episode.prompt.instruction, input=episode.prompt.input)
    assert done.text == episode.compress(mask)
    assert done.in_domain is True
    card = (target / "README.md").read_text()
    for fact in (str(few), "threshold", "scst, seed 1", "micro", "reward"):
        assert fact in card


def test_a_run_on_a_cluster_is_exported_without_one(few: Path, tmp_path: Path):
    """The tokenizer stands in the folder."""
    assert main(arguments(tmp_path / "run", f"dataset={few}")) == 0
    file = tmp_path / "run" / "config.yaml"
    config = yaml.safe_load(file.read_text())
    assert config["task"]["tokenizer"] == "micro"
    config["task"]["generator"] = "ray:micro?replicas=4"
    file.write_text(yaml.safe_dump(config))
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "policy")]) == 0
    compressor = Compressor.from_pretrained(tmp_path / "policy", device="cpu")
    assert compressor.tokenizer.get_vocab() == load_tokenizer("micro").get_vocab()


def test_what_cannot_be_exported_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["export", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "contains no run: there is no config.yaml" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_compressor_is_replaced_only_if_asked(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    command = ["export", str(tmp_path / "run"), str(tmp_path / "policy")]
    assert main(arguments(tmp_path / "run", f"dataset={few}")) == 0
    assert main(command) == 0
    settings = tmp_path / "policy" / "compressor.json"
    settings.write_text(settings.read_text() + " ")
    assert main(command) == 2
    assert "contains a saved compressor" in capsys.readouterr().err
    assert settings.read_text().endswith(" ")
    assert main([*command, "--overwrite"]) == 0
    assert settings.read_text().endswith("}\n")


def test_an_export_without_the_training_prompts_knows_no_domain(few: Path, tmp_path: Path):
    moved = shutil.copytree(few, tmp_path / "data")
    assert main(arguments(tmp_path / "run", f"dataset={moved}")) == 0
    shutil.rmtree(moved)
    with pytest.warns(UserWarning, match="the training prompts cannot be read"):
        assert main(["export", str(tmp_path / "run"), str(tmp_path / "policy")]) == 0
    compressor = Compressor.from_pretrained(tmp_path / "policy", device="cpu")
    assert compressor("Sort these words: b, a").in_domain is None


def test_an_export_sets_how_much_is_dropped_without_a_rate(few: Path, tmp_path: Path):
    assert main(arguments(tmp_path / "run", f"dataset={few}")) == 0
    prompts = load_prompts(few, "train")
    texts = {"instruction": [p.instruction for p in prompts], "input": [p.input for p in prompts]}
    for rate in ("0.25", "0.6"):
        folder = tmp_path / rate
        assert main(["export", str(tmp_path / "run"), str(folder), "--drop-rate", rate]) == 0
        done = Compressor.from_pretrained(folder, device="cpu")(**texts)
        units = sum(sum(one.droppable) for one in done)
        dropped = sum(len(one.kept) - sum(one.kept) for one in done)
        assert dropped / units == pytest.approx(float(rate), abs=2 / units + 0.02)


def test_a_drop_rate_needs_the_training_prompts(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    moved = shutil.copytree(few, tmp_path / "data")
    assert main(arguments(tmp_path / "run", f"dataset={moved}")) == 0
    shutil.rmtree(moved)
    command = ["export", str(tmp_path / "run"), str(tmp_path / "policy"), "--drop-rate", "0.2"]
    assert main(command) == 2
    assert "drop_rate needs the training prompts, which cannot be" in capsys.readouterr().err
    assert not (tmp_path / "policy").exists()


def test_a_training_that_diverges_ends_with_1(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def update(self, used):
        raise TrainingDivergedError("reward: no longer a finite number.")

    monkeypatch.setattr(SCSTLearner, "update", update)
    assert main(arguments(tmp_path / "run", f"dataset={few}")) == 1
    assert "error: training diverged in update 1" in capsys.readouterr().err


def test_an_exported_policy_keeps_the_rules_it_was_trained_under(few: Path, tmp_path: Path):
    rules = ("keep_digits=true", "force_keep=[first]")
    assert main(arguments(tmp_path / "run", f"dataset={few}", *rules)) == 0
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "policy")]) == 0
    compressor = Compressor.from_pretrained(tmp_path / "policy", device="cpu")
    done = compressor("Add 12 and 30 first", rate=1.0)
    assert "12" in done.text
    assert "30" in done.text
    assert "first" in done.text
    assert "and" not in done.text


def test_a_run_that_failed_at_its_start_can_be_mended(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    assert main(arguments(out, f"dataset={few}", "agent.encoder=no-such/model")) == 2
    assert "cannot load the encoder 'no-such/model'" in capsys.readouterr().err
    assert main(arguments(out, f"dataset={few}")) == 0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("config.yaml", "is damaged"),
        ("best/network.safetensors", "network.safetensors is damaged or incomplete"),
        ("best", "contains no agent 'best'; try --which last"),
    ],
)
def test_damaged_runs_are_said_so(
    damage: str, message: str, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(arguments(tmp_path / "run", f"dataset={few}")) == 0
    target = tmp_path / "run" / damage
    shutil.rmtree(target) if target.is_dir() else target.write_text("{ torn")
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "policy")]) == 2
    assert message in capsys.readouterr().err
