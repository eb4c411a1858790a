from __future__ import annotations

from pathlib import Path

from bench_fixtures import SETTINGS, record
from benchmarks.publish import app
from benchmarks.records import RunFolder
from benchmarks.tables import write_leaderboard


def test_figures_are_published_without_texts_and_paths(tmp_path: Path):
    results, out, data = tmp_path / "runs", tmp_path / "out", tmp_path / "data"
    files = {
        "gpt2-mini/evaluation.json": f'{{"data": "{data}"}}',
        "gpt2-mini/answers.jsonl": "a secret",
        "scst-0/config.yaml": f"generator: {results}/gpt2-mini/model",
        "scst-0/metrics.jsonl": '{"kind": "update"}\n{"kind": "evaluation"}\n',
        "t0-causal/settings.json": "{}",
        "t0-causal/analyses/dropped.md": "### What\n\n#### by word class\n\nx\n#### words\n\ny\n",
        "t0-causal/analyses/arena.json": "{}",
        "t0-causal/analyses/words.json": "a secret",
        "report/index.html": "a secret",
    }
    for place, text in files.items():
        file = results / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    app(
        ["figures", str(results), str(out), "--names.T0_SHORT", str(data)],
        result_action="return_value",
    )
    assert {
        f.relative_to(out).as_posix(): f.read_text() for f in out.rglob("*") if f.is_file()
    } == {
        "gpt2-mini/evaluation.json": '{"data": "T0_SHORT"}',
        "scst-0/config.yaml": "generator: gpt2-mini/model",
        "scst-0/metrics.jsonl": '{"kind": "evaluation"}\n',
        "t0-causal/settings.json": "{}",
        "t0-causal/arena.json": "{}",
        "t0-causal/dropped.md": "### What\n\n#### by word class\n\nx\n",
    }


def test_standings_are_records_and_analyses(tmp_path: Path):
    folder = RunFolder.open(tmp_path / "micro", SETTINGS | {"splits": ["seen"]})
    with folder.write_part("a", "seen", 0) as write:
        write(record())
    (folder.path / "provenance.json").write_text('{"runs": []}')
    write_leaderboard(folder)
    (folder.path / "analyses").mkdir()
    (folder.path / "analyses" / "timing.json").write_text("{}")
    app(["standings", str(tmp_path / "out"), str(folder.path)], result_action="return_value")
    published = tmp_path / "out" / "micro"
    assert list(RunFolder(published).records()) == list(folder.records())
    assert (published / "analyses" / "timing.json").read_text() == "{}"
