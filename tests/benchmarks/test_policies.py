"""Agents of training runs in a benchmark, with generators they were not trained with."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from agents.__main__ import main as agents
from agents.runs.folder import TrainingFolder
from agents.scst import SCSTAgent
from benchmarks.__main__ import main
from benchmarks.analyses.analysis import read_analyses
from benchmarks.records import RunFolder
from benchmarks.suites import SUITES
from benchmarks.training import find_policies, note_training, noted_training, tokenizer_of
from pcrl_gym import make_task

SPLITS = ("validation_seen", "validation_unseen")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of prompts; there is no train split in it."""
    folder = tmp_path_factory.mktemp("data")
    for split in SPLITS:
        rows = [
            {
                "instruction": f"Please sort the words, {split} {number}",
                "input": "plums and 12 apples" if number % 2 else "",
                "output": "12 apples",
            }
            for number in range(5)
        ]
        (folder / f"{split}.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture(scope="module")
def policies(
    data: Path, gpt2_folder: Path, roberta_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Runs of two seeds that trained an encoder on its own tokens against a GPT-2."""
    runs = [tmp_path_factory.mktemp("runs") / f"seed{seed}" for seed in (0, 1)]
    for seed, run in enumerate(runs):
        settings = [
            f"dataset={data}", "split=validation_seen", f"generator={gpt2_folder}",
            f"tokenizer={roberta_folder}", f"encoder={roberta_folder}", "freeze_encoder=true",
            "agent.batch_size=2", "samples=2", "initial_keep=0.5", "updates=2", "device=cpu",
            "max_new_tokens=4", "evaluate_split=validation_unseen",
        ]  # fmt: skip
        command = ["train", "scst", "--seed", str(seed), "--out", str(run), "--quiet"]
        assert agents([*command, "--loggers", "jsonl", "--set", *settings]) == 0
    return runs


def bench(data: Path, generator: Path, out: Path, *more: str | Path) -> list[str]:
    command = [
        *("run", "--dataset", data, "--split", SPLITS[1], "--max-new-tokens", 8),
        *("--generator", generator, "--agents", "keep_all,scst", "--seeds", "2", "--out", out),
    ]
    return [str(part) for part in (*command, *more)]


def test_policies_are_evaluated_as_they_were_trained(
    data: Path, policies: list[Path], t5_folder: Path, roberta_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = bench(data, t5_folder, out, "--policies", *policies)
    assert main(command) == 0
    folder = RunFolder(out)
    assert folder.settings["tokenizer"] == str(roberta_folder)
    summary = json.loads((out / "summary.json").read_text())
    assert {(row["agent"], row["seeds"]) for row in summary} == {("keep_all", 1), ("scst", 2)}
    # The very masks of the stored agents, on units of the encoder's tokenizer.
    options = {"generator": str(t5_folder), "tokenizer": str(roberta_folder), "device": "cpu"}
    task = make_task(dataset=str(data), split=SPLITS[1], **options)
    records = list(folder.records())
    for seed, run in enumerate(policies):
        agent = SCSTAgent.load(run / "best", device="cpu")
        for episode in task.episodes:
            observation = task.observe(episode, np.ones(len(episode), np.bool_))
            mask = agent.act({key: value[None] for key, value in observation.items()}, [{}])[0]
            (record,) = [
                r
                for r in records
                if (r.agent, r.seed, r.prompt_id) == ("scst", seed, episode.prompt.id)
            ]
            assert record.compressed_prompt == episode.compress(mask)
    assert any(record.dropped for record in records)
    note = json.loads((out / "training" / "scst-seed1.json").read_text())
    assert note["training"] == str(policies[1])
    assert main(["validate", str(out), "--device", "cpu"]) == 0


def test_policies_are_found_again_from_another_folder(
    policies: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder.open(tmp_path / "out", {"agents": {}})
    run = policies[0].resolve()
    monkeypatch.chdir(run.parent)
    (policy,) = find_policies([run.name])
    assert policy.path == run
    note_training(folder, "scst", 0, TrainingFolder(run.name))
    monkeypatch.chdir(tmp_path)
    assert noted_training(folder, "scst", 0).path == run


@pytest.mark.parametrize("kind", ["gpt2", "t5", "llama"])
def test_answers_are_kept_whole_and_their_cut_is_known(
    kind: str, data: Path, policies: list[Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A tuned model is compared by the cut answer, one that was not tuned by the whole one."""
    generator = request.getfixturevalue(f"{kind}_folder")
    command = [
        *("run", "--suite", "alpaca-plus", "--dataset", data, "--generator", generator),
        *("--agents", "scst", "--policies", policies[0], "--split", SPLITS[1]),
        *("--seeds", "1", "--limit", "2", "--out", tmp_path / "out"),
        *(("--template", "chat") if kind == "llama" else ()),
    ]
    assert main([str(part) for part in command]) == 0
    records = list(RunFolder(tmp_path / "out").records())
    for record in records:
        assert record.gold_rouge_l is not None
        assert record.cut_rouge_l is not None
        assert 0 < record.gold_cut <= len(record.compressed_output)
        # In a chat template the prompt is the user's message and nothing else.
        assert ("<|im_start|>user\n" in record.prompt) == (kind == "llama")
        assert ("Instruction: " in record.prompt) == (kind != "llama")
    # Answers of random weights go on for the suite's 128 tokens, and the gold answer has few.
    assert any(record.gold_cut < len(record.compressed_output) for record in records)


def test_a_policy_moves_between_generators_whose_tokenizers_differ(
    data: Path, policies: list[Path], gpt2_folder: Path, t5_folder: Path, tmp_path: Path
) -> None:
    for name, generator in (("causal", gpt2_folder), ("seq2seq", t5_folder)):
        command = bench(data, generator, tmp_path / name, "--policies", policies[0])
        assert main([*command, "--seeds", "1"]) == 0
    folders = [str(tmp_path / name) for name in ("causal", "seq2seq")]
    out = tmp_path / "moved"
    assert main(["analyse", "transfer", *folders, "--agents", "scst", "--out", str(out)]) == 0
    (analysis,) = read_analyses(out)
    rows = analysis.tables[f"scst, {SPLITS[1]}"].rows
    # The same policy in both runs, so nothing but the column makes a difference.
    assert rows[0][1:] == rows[1][1:]
    causal, seq2seq = (
        {r.prompt_id: r for r in RunFolder(out / name).records() if r.agent == "scst-causal"}
        for name in ("causal", "seq2seq")
    )
    assert {k: r.compressed_prompt for k, r in causal.items()} == {
        k: r.compressed_prompt for k, r in seq2seq.items()
    }
    assert all(causal[k].compressed_output != seq2seq[k].compressed_output for k in causal)


@pytest.fixture
def altered(policies: list[Path], tmp_path: Path) -> list[Path]:
    """Copies of the runs, to be altered."""
    return [Path(shutil.copytree(run, tmp_path / run.name)) for run in policies]


def alter(run: Path, **changes: str | None) -> None:
    file = run / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config["task"] |= changes
    file.write_text(yaml.safe_dump(config))


def test_the_tokenizer_of_policies_needs_no_generator(
    altered: list[Path], roberta_folder: Path
) -> None:
    suite = SUITES["alpaca-plus"]
    alter(altered[0], generator="ray:/nowhere?replicas=4")
    assert tokenizer_of(find_policies(altered[:1]), suite) == str(roberta_folder)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("{0}",), "no policy of scst with seed 1, but the suite has 2 seeds"),
        (("{0}", "{0}"), "both hold scst of seed 0; train with --seed 1"),
        (("{0}", "{1}"), "policies of scst, missing from --agents"),
        (("{0}", "{1}", "--tokenizer", "micro"), r"tokenizers of the policies, micro, .*differ"),
        (("{0}/best",), "contains no run"),
        (("{0}", "{1}", "--suite", "micro"), "fixes .*--generator"),
        (("{0}", "{1}", "--split", SPLITS[0]), "trained on 5 of the 5 evaluation prompts of"),
    ],
)
def test_policies_that_do_not_fit_are_refused(
    more: tuple[str, ...],
    message: str,
    data: Path,
    policies: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [part.format(*policies) for part in more]
    command = bench(data, Path("nowhere"), tmp_path / "out", "--policies", *given)
    if message.endswith("from --agents"):
        command[command.index("keep_all,scst")] = "keep_all"
    assert main(command) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_other_units_and_unfinished_runs_are_refused(
    altered: list[Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = bench(data, Path("nowhere"), tmp_path / "out", "--policies", *altered)
    alter(altered[1], unit="word")
    assert main(command) == 2
    assert "trained with the unit 'word', not 'token'" in capsys.readouterr().err
    for name in ("best", "last"):
        shutil.rmtree(altered[0] / name)
    assert main(command) == 2
    assert "has stored no agent yet" in capsys.readouterr().err


def test_a_few_prompts_that_were_trained_on_are_told(
    altered: list[Path], data: Path, gpt2_folder: Path, tmp_path: Path, capsys
) -> None:
    trained = json.loads((data / f"{SPLITS[0]}.json").read_text())
    held_out = json.loads((data / f"{SPLITS[1]}.json").read_text())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / f"{SPLITS[1]}.json").write_text(json.dumps(trained[:2] + held_out))
    command = bench(tmp_path / "data", gpt2_folder, tmp_path / "out", "--policies", *altered)
    assert main([*command, "--limit", "2"]) == 0
    assert (
        "warning: 2 of 7 prompts of validation_unseen are also in train" in capsys.readouterr().err
    )
    for run in altered:
        alter(run, dataset=str(tmp_path / "nowhere"))
    assert main([*command, "--limit", "2"]) == 0
    assert "cannot check whether" in capsys.readouterr().err


def test_other_policies_of_the_same_name_are_not_mixed(
    altered: list[Path], data: Path, gpt2_folder: Path, tmp_path: Path, capsys
) -> None:
    command = bench(data, gpt2_folder, tmp_path / "out", "--policies", *altered)
    assert main(command) == 0
    shutil.rmtree(altered[0] / "best")
    shutil.copytree(altered[1] / "best", altered[0] / "best")
    assert main(command) == 2
    assert "agents.scst: 'scst, policies " in capsys.readouterr().err
