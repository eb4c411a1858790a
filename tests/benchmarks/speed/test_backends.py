"""A compressor with torch beside ONNX Runtime: prompts of one length, equal masks, and a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.speed.backends import compare, long_instructions, run
from pcrl_gym.episodes.tokenizers import load_tokenizer
from pcrl_gym.prompts.prompt import Prompt
from policies import TEXT, compressor

MADE = compressor(load_tokenizer("micro"))


def test_prompts_have_as_many_tokens_as_asked_for():
    text = " ".join(f"{TEXT} {n}" for n in range(60))
    found = long_instructions(MADE, text, 40, 3)
    assert [MADE(instruction=one).original_tokens for one in found] == [40] * 3
    assert all(one in text for one in found)
    with pytest.raises(ValueError, match="of 3 prompts of 400 tokens can be built"):
        long_instructions(MADE, TEXT, 400, 3)
    with pytest.raises(ValueError, match="the template alone has"):
        long_instructions(MADE, text, 2, 3)


def test_masks_that_differ_are_counted():
    prompts = [Prompt("a", TEXT), Prompt("b", "Sort: pear, fig")]
    same = compare([MADE, MADE], prompts, None)
    assert same == {"rate": None, "prompts": 2, "differ": 0, "units": 0.0, "apart": 0.0}
    other = compressor(load_tokenizer("micro"), bias=-20.0)
    found = compare([MADE, other], prompts, None)
    assert found["differ"] == 2
    assert 0 < found["units"] <= 1
    assert 0 < found["apart"] <= 1


@pytest.mark.slow
def test_a_run_writes_all_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("onnxruntime")
    out = tmp_path / "backends.json"
    run(tokens=40, repeats=1, prompts=20, out=str(out))
    assert "| backend |" in capsys.readouterr().out
    stored = json.loads(out.read_text())
    assert [(row["backend"], row["torch"]) for row in stored["backends"]] == [
        ("torch", True),
        ("onnx", False),
        ("int8", False),
    ]
    assert all(row["start_s"] > 0 and row["compress_ms"] > 0 for row in stored["backends"])
    assert [(row["rate"], row["prompts"], row["differ"]) for row in stored["masks"][:2]] == [
        (None, 20, 0),
        (0.3, 20, 0),
    ]
    assert [row["backend"] for row in stored["masks"]] == ["onnx", "onnx", "int8", "int8"]
    with pytest.raises(ValueError, match="already exists and is not overwritten"):
        run(out=str(out))
