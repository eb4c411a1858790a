from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.speed.figures import find_targets, format_cases
from benchmarks.speed.throughput import run
from imports import ROOT

RESULTS = ROOT / "benchmarks" / "results"


def case(seconds: dict[str, float], **changes: Any) -> dict[str, Any]:
    """A case in which each way took so many seconds for 100 prompts."""
    ways = {
        way: {"prompts_per_second": 100 / t, "ratio_to_a": seconds["a"] / t}
        | {"share_of_e": seconds["e"] / t, "passes_per_row": 1.0, "memory_peak": 3 << 20}
        for way, t in seconds.items()
    }
    equal = {"rewards_equal": {"b": 100, "d": 99}, "answers_equal": {"b": 98, "c": 100}}
    where = {"model": "micro", "device": "cpu", "exact": True, "masks": "random-15"}
    return {**where, "prompts": 100, "drafts_held": 0.5, **equal, "ways": ways, **changes}


def test_tables_of_a_case():
    found = case({"a": 8.0, "b": 4.0, "c": 3.0, "d": 2.0, "e": 1.0})
    speed, drafts = format_cases([found]).split("\n\n")
    header, _, *rows = [[c.strip() for c in line.split("|")[1:-1]] for line in speed.splitlines()]
    titles = "masks, way/prompts/s/ratio to (a)/share of (e)/passes/row/peak MiB"
    assert "/".join(header) == titles
    assert rows[3] == ["random-15 (d)", "50.0", "4.00", "0.50", "1.00", "3"]
    assert "99 of 100" in drafts
    assert "98 of 100" in drafts


def test_targets_apply_to_their_models_masks_and_devices():
    fast = {"a": 8.0, "b": 4.0, "c": 3.0, "d": 2.0, "e": 1.0}
    cases = [case(fast), case(fast, masks="random-60"), case(fast, model="gpt2-29m")]
    cases.append(case({**fast, "c": 5.0}, model="gpt2-xl", device="cuda"))
    found = find_targets(cases, [{"prompts": "known", "share": 0.05}])
    values = [4.0, 0.5, 4.0, 0.5, 0.8, 0.95]
    assert [target["value"] for target in found] == values
    assert [target["reached"] for target in found] == [True, False, False, True, False, True]
    assert found[0]["text"] == "micro, random-15: (d) at least 4 times (a)"
    assert found[4]["text"].endswith("(b) with any masks; least (gpt2-xl, random-15)")
    assert find_targets([], []) == []


def test_differing_rewards_are_an_error(monkeypatch, capsys):
    wrong = case({way: 1.0 for way in "abcde"})
    monkeypatch.setattr("benchmarks.speed.ways.measure_model", lambda *args: [wrong])
    options = {"models": ("micro-seq2seq",), "prompts": 1, "masks": ("keep-all",)}
    assert run(**options, device="cpu") == 1
    printed = capsys.readouterr()
    assert "99 of 100" in printed.out
    assert "rewards differ: micro, random-15" in printed.err


def test_the_page_on_speed_shows_the_committed_figures():
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    files = sorted(RESULTS.glob("throughput-cpu-*.json"))
    assert len(files) == 4
    for file in files:
        stored = json.loads(file.read_text(encoding="utf-8"))
        assert stored["finished"]
        assert format_cases(stored["cases"])
        for found in stored["cases"]:
            assert set(found["rewards_equal"].values()) == {found["prompts"]}
            if found["masks"] not in ("policy", "random-15"):
                continue
            ways = found["ways"]
            cells = [Path(found["model"]).name, found["masks"], f"{found['drafts_held']:.2f}"]
            cells.append("{passes_per_row:.2f} | {prompts_per_second:.0f}".format_map(ways["d"]))
            cells.append("{ratio_to_a:.1f} | {share_of_e:.2f}".format_map(ways["d"]))
            cells.append(f"{min(ways['b']['seconds']) / min(ways['c']['seconds']):.2f}")
            row = f"| {' | '.join(cells)} |"
            assert row in page, f"docs/speed.md is to show {row}"


def test_the_page_shows_what_a_contiguous_head_gains():
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    for dtype in ("bfloat16", "float32"):
        file = RESULTS / f"head-cpu-{dtype}.json"
        [found] = json.loads(file.read_text(encoding="utf-8"))["cases"]
        gathered, sliced = (found["ways"][way]["prompts_per_second"] for way in "ef")
        ratios = f"{gathered / sliced:.2f} | {found['ways']['d']['ratio_to_a']:.2f}"
        assert f"| {dtype} | {gathered:.1f} | {sliced:.1f} | {ratios} |" in page
        assert set(found["rewards_equal"].values()) == {found["prompts"]}
