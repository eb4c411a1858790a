from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import models
from benchmarks.__main__ import main
from benchmarks.records import RunFolder
from benchmarks.roster import find_agents
from imports import ROOT

ODD_TEXTS = (
    "",
    "a",
    "\U0001f469\u200d\U0001f680\U0001f600 emoji",
    "مرحبا بالعالم",
    "你好,世界",
    "tab\tnull\x00bell\x07",
    "Input: is not a template\nOutput: neither",
    "say <|endoftext|> and </s> aloud",
    "very long " * 120,
)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A JSON list of odd prompts."""
    file = tmp_path / "odd.json"
    rows = [
        {"instruction": text or "?", "input": other, "output": "yes"}
        for text, other in zip(ODD_TEXTS, reversed(ODD_TEXTS), strict=True)
    ]
    file.write_text(json.dumps(rows), encoding="utf-8")
    return file


@pytest.fixture
def no_loading(monkeypatch: pytest.MonkeyPatch):
    """Make the test fail if a generator is loaded."""

    def load_generator(*args, **kwargs):
        raise AssertionError("the generator was loaded before the arguments were checked")

    monkeypatch.setattr("pcrl_gym.generators.loading.load_generator", load_generator)


def custom(file: Path, /, **changes: str) -> list[str]:
    """Return the arguments of a run on the file; a change to "" leaves an option out."""
    options = {
        "dataset": str(file),
        "split": "validation_seen",
        "generator": "nowhere",
        "agents": "keep_all",
        "out": str(file.with_name("out")),
    } | changes
    given = [(f"--{name.replace('_', '-')}", value) for name, value in options.items() if value]
    return ["run", *(part for pair in given for part in pair)]


@pytest.mark.usefixtures("no_loading")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agents": "keep_all,nobody"}, "unknown agent 'nobody'"),
        ({"agents": "nowhere.to.be:Found"}, "no module"),
        ({"agents": "bench_agents:Nobody"}, "no class"),
        ({"agents": ","}, "at least one agent"),
        ({"agents": "keep_all,bench_agents:KeepToo"}, "Two agents are named 'keep_all'"),
        ({"agents": "bench_agents:NeedsMore"}, "required positional argument: 'rate'"),
        ({"agents": "bench_agents:Learner"}, "evaluation prompts"),
        ({"dataset": "nowhere/at/all.json"}, "no file or folder"),
        ({"dataset": ""}, "Use --suite, or --dataset"),
        ({"suite": "micro"}, "Suite micro fixes --dataset, --generator"),
        ({"suite": "t0-short", "generator": "", "split": ""}, "Suite t0-short needs --generator"),
        ({"split": ""}, "--dataset with --split"),
        ({"split": "test"}, "split must be one of"),
        ({"split": "train,train"}, "each once"),
        ({"generator": ""}, "--generator"),
        ({"reward": "fame"}, "fame"),
        ({"train_minutes": "0"}, "minutes: expected greater than 0"),
        ({"train_minutes": "nan"}, "minutes: expected a finite number"),
        ({"train_episodes": "0"}, "episodes: expected greater than 0"),
        ({"train_episodes": "ppo"}, "episodes, like 8000"),
        ({"train_episodes": "ppo=1,ppo=2"}, "'ppo' appears twice"),
        (
            {"train_episodes": "ppo=5", "agents": "bench_agents:Learner"},
            "Episodes are set for 'ppo', which the run does not train; known: learner",
        ),
        (
            {"train_episodes": "learnr=5", "agents": "bench_agents:Learner"},
            "'learnr', which the run does not train; did you mean learner?",
        ),
        ({"train_episodes": "ppo=5"}, "'ppo', which the run does not train; it trains no agents"),
        ({"suite": "t0-short", "split": "train"}, "has the splits"),
    ],
)
def test_wrong_arguments_are_told_before_slow_work(dataset, changes, message, capsys):
    assert main(custom(dataset, **changes)) == 2
    assert message in capsys.readouterr().err
    assert not dataset.with_name("out").exists()


@pytest.mark.usefixtures("no_loading")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "?"], "no suite '?'; known: micro, micro-ci, micro-seq2seq"),
        (["--suite", "macro"], "no suite 'macro'; did you mean micro"),
        (["--suite", "micro", "--generator", "gpt2"], "fixes --generator"),
        (["--suite", "micro", "--dtype", "bfloat16"], "fixes --dtype"),
        (["--suite", "micro", "--split", "train"], "not train"),
    ],
)
def test_frozen_suites_stay_as_they_are(tmp_path, arguments, message, capsys):
    out = str(tmp_path / "out")
    assert main(["run", *arguments, "--agents", "keep_all", "--out", out]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": "0"},
        {"limit": "-1"},
        {"seeds": "many"},
        {"dtype": "float17"},
        {"agents": "random:rate=0.2,keep_all"},
    ],
)
def test_arguments_that_cannot_be_read_are_told(dataset, changes, capsys):
    assert main(custom(dataset, **changes)) == 2
    assert f"--{next(iter(changes)).replace('_', '-')}" in capsys.readouterr().err


_JUDGE = "analyse judge x --model m --base-url http://localhost:1/v1"


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("speed latency", "--prompts 0"),
        ("speed latency", "--repeats 0"),
        ("speed throughput", "--prompts 0"),
        ("speed throughput", "--repeats 0"),
        ("speed throughput", "--policy-episodes -1"),
        ("speed scaling", "--repeats 0"),
        ("speed concurrency --model m --base-url u", "--levels 0"),
        ("speed concurrency --model m --base-url u", "--prompts 0"),
        ("speed concurrency --model m --base-url u", "--max-new-tokens 0"),
        ("analyse timing x", "--prompts 0"),
        (_JUDGE, "--limit 0"),
        (_JUDGE, "--max-requests -1"),
        (_JUDGE, "--max-tokens -1"),
        (_JUDGE, "--verdict-tokens 0"),
        (_JUDGE, "--price-input -1"),
    ],
)
def test_numbers_out_of_range_are_told(words, option, capsys):
    assert main([*words.split(), *option.split()]) == 2
    assert f"for {option.split()[0]}. Must be >" in capsys.readouterr().err


def test_options_that_are_not_required_have_names(capsys):
    assert main(["speed", "scaling", "--models", "t5-60m"]) == 2
    assert "for causal generators, got t5-60m" in capsys.readouterr().err


def test_two_agents_of_one_name_are_told_what_to_change():
    with pytest.raises(ValueError, match="a folder that differs in the last two parts"):
        find_agents([f"self_information:model={folder}/b/model" for folder in "ac"])


@pytest.mark.usefixtures("no_loading")
@pytest.mark.parametrize("other", [{"train_minutes": "1"}, {"train_episodes": "ppo=64"}])
def test_quick_excludes_other_budgets(dataset, other, capsys):
    assert main([*custom(dataset, **other), "--quick"]) == 2
    assert "--quick is a training budget" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*prompts are left out")
def test_tables_are_of_float32_unless_another_type_is_asked_for(dataset, gpt2_folder, capsys):
    def run(name: str, **more: str) -> int:
        out = str(dataset.with_name(name))
        common = {"generator": str(gpt2_folder), "limit": "2", "max_new_tokens": "4", "out": out}
        return main(custom(dataset, **common, **more))

    def provenance(name: str) -> dict:
        return json.loads((dataset.with_name(name) / "provenance.json").read_text())

    assert run("half", dtype="bfloat16") == 0
    assert run("full") == 0
    for name, dtype in (("half", "bfloat16"), ("full", "float32")):
        assert provenance(name)["settings"]["dtype"] == dtype
        assert provenance(name)["runs"][0]["dtype"] == f"torch.{dtype}"
        assert main(["validate", str(dataset.with_name(name))]) == 0
    capsys.readouterr()
    assert run("half") == 2
    assert "dtype: 'bfloat16' in the folder, 'float32' now" in capsys.readouterr().err
    (dataset.with_name("half") / "settings.json").write_text(
        json.dumps(provenance("half")["settings"] | {"dtype": "float32"})
    )
    assert main(["validate", str(dataset.with_name("half"))]) == 1
    assert "different weights" in capsys.readouterr().out


def test_generator_that_cannot_be_loaded_leaves_nothing_behind(dataset, tmp_path, capsys):
    assert main(custom(dataset, generator=str(tmp_path / "nowhere"))) == 2
    assert "cannot load generator" in capsys.readouterr().err
    assert not dataset.with_name("out").exists()


@pytest.mark.filterwarnings("ignore:.*prompts are left out")
@pytest.mark.parametrize("kind", ["gpt2_folder", "t5_folder"])
@pytest.mark.parametrize("unit", ["token", "word"])
def test_odd_prompts_with_any_architecture(dataset, kind, unit, request, capsys):
    folder = request.getfixturevalue(kind)
    out = dataset.with_name("out")
    arguments = custom(
        dataset,
        generator=str(folder),
        agents="random,keep_all,truncation,stopwords",
        seeds="2",
        unit=unit,
        max_new_tokens="8",
    )
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "dataset:odd v1, validation_seen" in printed
    skipped = json.loads((out / "provenance.json").read_text())["runs"][0]["skipped_prompts"]
    records = list(RunFolder(out).records())
    assert len(records) == (len(ODD_TEXTS) - len(skipped["validation_seen"])) * (2 + 1 + 1 + 1)
    assert len(records) >= 5 * (len(ODD_TEXTS) - 2)
    assert main(["table", str(out)]) == 0
    assert capsys.readouterr().out == printed.partition("Written to")[0]


@pytest.mark.filterwarnings("ignore:.*prompts are left out")
def test_other_weights_under_the_same_name_are_refused(dataset, tmp_path, capsys):
    folder = tmp_path / "model"
    arguments = custom(dataset, generator=str(folder), limit="2", max_new_tokens="4")
    models.build("gpt2", folder, seed=0)
    assert main(arguments) == 0
    models.build("gpt2", folder, seed=1)
    assert main(arguments) == 2
    assert "generator_fingerprint" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*prompts are left out")
def test_an_agent_that_returns_no_masks_is_no_traceback(dataset, gpt2_folder, capsys):
    arguments = custom(
        dataset,
        generator=str(gpt2_folder),
        agents="keep_all,bench_agents:WrongShape",
        limit="2",
        max_new_tokens="4",
    )
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "error: Agent wrong-shape" in error
    assert "Finished parts are kept" in error
    assert {r.agent for r in RunFolder(dataset.with_name("out")).records()} == {"keep_all"}


def test_table_of_no_result_folder(tmp_path, capsys):
    assert main(["table", str(tmp_path)]) == 2
    assert "not a result folder" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_killed_run_loses_the_unfinished_part_alone(dataset, tmp_path, gpt2_folder):
    (tmp_path / "killer.py").write_text(
        "import os, pathlib, signal\n"
        "class Killer:\n"
        "    name = 'killer'\n"
        "    def __init__(self, seed): self.seed = seed\n"
        "    def act(self, observations, infos):\n"
        "        if self.seed == 1 and not pathlib.Path('spare').exists():\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return observations['attention_mask']\n"
    )
    arguments = custom(
        dataset, generator=str(gpt2_folder), agents="killer:Killer", seeds="3", max_new_tokens="4"
    )
    command = [sys.executable, "-m", "benchmarks", *arguments]
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}", "HF_HUB_OFFLINE": "1"}
    killed = subprocess.run(command, cwd=tmp_path, env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    out = dataset.with_name("out")
    parts = [file.name for file in out.glob("records/*/*.parquet")]
    assert parts == ["validation_seen-seed0.parquet"]
    (tmp_path / "spare").touch()
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0
    assert json.loads((out / "summary.json").read_text())[0]["seeds"] == 3


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("suites", r"micro-ci +v\d+: data micro, generator micro, tokens, 2 seeds, 64 prompts"),
        ("agents", r"keep_all +Keeps every unit"),
        ("rewards", r"threshold +The compression achieved"),
        ("generators", r"openai:MODEL@BASE_URL +a model behind"),
        ("splits", r"validation_human +260 prompts"),
    ],
)
def test_names_are_listed_with_what_they_are(what, line, capsys):
    assert main(["ls", what]) == 0
    assert re.search(f"^{line}", capsys.readouterr().out, re.MULTILINE)


def test_records_are_printed_as_json_lines(dataset, gpt2_folder, capsys):
    arguments = custom(dataset, generator=str(gpt2_folder), limit="2", max_new_tokens="4")
    assert main(arguments) == 0
    capsys.readouterr()
    assert main(["analyse", "records", str(dataset.with_name("out")), "--agents", "keep_all"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["agent"] for row in rows} == {"keep_all"}
