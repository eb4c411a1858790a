from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from bench_fixtures import record
from benchmarks.records import RunFolder
from benchmarks.report.command import FILES, run
from benchmarks.report.data import learning, pareto_front, read_boards
from benchmarks.report.page import (
    MAX_BYTES,
    choose_prompts,
    make_page,
    prompt_groups,
    script_json,
)
from benchmarks.report.tables import comma_separated, latex, latex_text, markdown
from imports import ROOT
from pcrl_gym.errors import RunFolderError
from report_fixtures import AGENTS, HOSTILE, report_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return report_folder(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def boards(folder):
    return read_boards([folder])


def page_data(page: bytes) -> dict:
    found = re.findall(rb'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(found[0])


def test_command_writes_the_same_files_again(tmp_path):
    folder = report_folder(tmp_path / "run", prompts=3)
    files = run([folder])
    assert tuple(str(file.relative_to(folder / "report")) for file in files) == FILES
    before = [file.read_bytes() for file in files]
    files[-1].unlink()  # the page, where it is not kept in git
    assert [file.read_bytes() for file in run([folder])] == before


@pytest.mark.parametrize("name", FILES)
def test_command_leaves_files_of_others_alone(folder, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunFolderError, match=rf"{name} but no report"):
        run([folder], tmp_path)
    with pytest.raises(RunFolderError, match="is a file"):
        run([folder], tmp_path / name)
    assert (tmp_path / name).read_text() == "mine"


def test_what_cannot_be_reported_is_named(tmp_path):
    folder = report_folder(tmp_path / "run", prompts=2)
    RunFolder.open(tmp_path / "empty", RunFolder(folder).settings)
    with pytest.raises(RunFolderError, match="no results yet"):
        read_boards([tmp_path / "empty"])
    (folder / "analyses" / "bad.json").write_text('{"title": 1}')
    with pytest.raises(RunFolderError, match="cannot be read"):
        read_boards([folder])
    with pytest.raises(RunFolderError, match="at least one"):
        run([])


def test_folders_of_one_title_differ_by_name(folder, tmp_path):
    titles = [board.title for board in read_boards([folder, report_folder(tmp_path / "b", 2)])]
    assert titles == ["toy v2 (run)", "toy v2 (b)"]


def test_the_published_standings_have_a_page_with_drawings_of_the_analyses():
    page = make_page(read_boards([ROOT / "benchmarks/leaderboard/micro"])).decode()
    titles = re.findall(r"<svg[^>]*><title>(.*), micro", page)
    assert {"What gets dropped", "Rate-quality curves", "Transfer between generators"} <= {*titles}


def test_markdown_has_both_tables_per_split_and_marks_the_oracle(boards):
    text = markdown(boards)
    assert text.count("### toy v2, seen (generator: fake)\n") == 1
    assert text.count("### toy v2, unseen, further figures (generator: fake)\n") == 1
    assert "| search * " in text
    assert "Agents marked *" in text


def test_csv_holds_full_figures(boards):
    lines = list(csv.DictReader(comma_separated(boards).splitlines()))
    assert len(lines) == 2 * len(AGENTS)
    search = next(line for line in lines if line["agent"] == "search")
    best = boards[0].rows["seen"][0]
    assert (search["oracle"], search["seeds"], "requested_rate" in search) == ("true", "1", False)
    ends = tuple(float(search[key]) for key in ("reward", "reward_ci_low", "reward_ci_high"))
    assert ends == (best["reward"], *best["reward_ci"])


def test_latex_table_by_hand(boards):
    text = latex(boards)
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 2
    counts = "30 prompts, seeds of stochastic agents: 1"
    assert rf"\caption{{toy v2, seen (generator: fake): {counts}. Agents marked * see" in text
    assert re.search(r"keep\\_all & 0\.\d{3} & 0\.\d{3}--0\.\d{3} & ", text)
    assert r"95\% interval" in text
    assert len({line.count(" & ") for line in text.splitlines() if line.endswith(r"\\")}) == 1
    assert latex_text("a_b & 50% #1 $x\n{y}") == r"a\_b \& 50\% \#1 \$x \{y\}"
    assert latex_text("\\a~^") == r"\textbackslash{}a\textasciitilde{}\textasciicircum{}"


def test_pareto_front_by_hand(boards):
    # "worse" is, and "search" sees answers.
    assert pareto_front(boards[0].rows["seen"]) == {"keep_all", "half", "most"}
    row = {"compression_ratio": 0.5, "similarity": 0.5, "oracle": False}
    assert pareto_front([row | {"agent": "a"}, row | {"agent": "b"}]) == {"a", "b"}


def test_learning_curves_are_means_of_neighbors(folder):
    curves = learning(folder)
    assert [line.name for line in curves.series] == ["most, seed 0", "most, seed 1"]
    points = curves.series[0].points
    assert len(points) == 100
    assert points[-1] == (64 * 249.5, pytest.approx(248.5 / 300, abs=1e-4))  # updates 248, 249
    points = learning(folder, "seconds").series[0].points
    assert points[-1] == (0.5 * 249.5, pytest.approx(248.5 / 300, abs=1e-4))


def test_chosen_prompts_fit_the_budget(boards):
    groups = prompt_groups(boards)
    assert [len(prompt["views"]) for group in groups for prompt in group] == [5] * 60
    assert len(choose_prompts(groups, 10**9)) == 60
    for budget in (0, 500, 5_000, 20_000):
        prompts = choose_prompts(groups, budget)
        assert len(script_json(prompts)) <= budget + 2
        assert len(prompts) % 2 == 0  # as many of either split
        assert len(prompts) < 60


def test_page_is_smaller_than_its_limit(boards):
    full = make_page(boards)
    assert len(full) < MAX_BYTES
    bare = len(full) - len(script_json(page_data(full)["prompts"]))
    for limit in (bare + 10_000, len(full) - 1):
        page = make_page(boards, limit)
        assert len(page) <= limit
        assert len(page_data(page)["prompts"]) < 60
    with pytest.raises(ValueError, match="Even without prompts"):
        make_page(boards, bare - 1_000)


def test_page_asks_for_nothing_from_outside(boards):
    page = make_page(boards).decode()
    assert "http" not in page.replace("http-equiv", "")
    assert not re.findall(r"@import|\bsrc=(?!x)|<link(?! rel=\"icon\" href=\"data:)", page)
    assert set(re.findall(r"url\((.)", page)) == {"#"}
    assert "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'" in page


def test_drawings_are_named_and_of_the_colors_of_the_page(boards):
    page = make_page(boards).decode()
    drawings = re.findall(r"<svg .*?</svg>", page, re.S)
    assert len(drawings) == 5  # two splits, an analysis and learning over episodes and seconds
    assert "<title>toy v2, seen</title>" in drawings[0]
    ids = [name for drawing in drawings for name in re.findall(r' id="([^"]*)"', drawing)]
    assert len(ids) == len(set(ids))
    assert not re.findall("#[0-9a-f]{6}[^0-9a-f]", "".join(drawings))
    assert set(re.findall(r"var\(--(\w+)\)", page)) <= set(re.findall(r"--(\w+):", page))


def test_the_headline_is_the_best_agent_that_does_not_ask_the_generator(boards):
    page = " ".join(make_page(boards).decode().split())
    best = max(
        (row for row in boards[0].rows["seen"] if not row["oracle"]), key=lambda row: row["reward"]
    )
    ratio = f"{100 * best['compression_ratio']:.0f}"
    headline = (
        rf'class="big">{ratio} ?%</strong> of the tokens are saved by <strong>{best["agent"]}<'
    )
    assert re.search(headline, page)
    assert "search, which may ask the generator, reaches a reward of" in page
    assert "tiny model" not in page  # the generator is not micro


def test_a_page_shows_the_first_seed_of_each_agent(tmp_path):
    folder = RunFolder(report_folder(tmp_path / "run", prompts=1))
    for seed in (1, 2):
        with folder.write_part("half", "seen", seed) as write:
            write(record(agent="half", split="seen", seed=seed, prompt_id="p0", dropped=()))
    [seen, _] = prompt_groups(read_boards([folder.path]))
    [[_, dropped, *_]] = [view for view in seen[0]["views"] if view[0] == "half"]
    assert dropped == [2, 8]


def test_hostile_texts_stay_text(tmp_path):
    suite = "</title><script>alert(1)</script>{{css}}\ud800"
    page = make_page(read_boards([report_folder(tmp_path / "run", prompts=2, suite=suite)]))
    assert b"<script>alert" not in page
    assert page.count(b"</script>") == 2
    assert HOSTILE in {entry["prompt"] for entry in page_data(page)["prompts"]}
    assert b"&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;{{css}}?" in page
