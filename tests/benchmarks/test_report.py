from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from benchmarks.columns import COLUMNS, columns_of, measured
from benchmarks.records import RunFolder
from benchmarks.report.command import run
from benchmarks.report.data import learning_curves, pareto_front, read_boards, thin
from benchmarks.report.page import MAX_BYTES, make_page
from benchmarks.report.sample import prompt_sample, script_json, utf16_ranges
from benchmarks.report.tables import comma_separated, latex, latex_text, markdown, markdown_text
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


def test_columns_name_each_figure_once():
    keys = [column.key for column in COLUMNS]
    assert keys[0] == "agent"
    assert len(keys) == len(set(keys))


def test_columns_that_rows_lack_are_left_out():
    rows = [{"agent": "a", "reward": 0.5, "exact_match": None, "drop_rate": float("nan")}]
    assert [column.key for column in measured(rows, COLUMNS)] == ["agent", "reward"]
    assert [column.key for column in measured(rows, columns_of("further"))] == ["agent"]


def test_command_writes_all_files_and_replaces_its_own(folder, tmp_path):
    out = tmp_path / "new" / "report"
    files = run([folder], out)
    names = {file.name for file in files}
    assert names == {
        "index.html",
        "leaderboard.md",
        "leaderboard.csv",
        "leaderboard.tex",
        "ratio-similarity.png",
    }
    assert {file.name for file in out.iterdir()} == names
    before = [file.read_bytes() for file in files]
    assert [file.read_bytes() for file in run([folder], out)] == before
    assert (out / "ratio-similarity.png").read_bytes().startswith(b"\x89PNG")


def test_command_goes_beside_the_results_by_default(tmp_path):
    folder = report_folder(tmp_path / "run", prompts=3)
    assert run([folder], None)[0] == folder / "report" / "index.html"


def test_command_leaves_files_of_others_alone(folder, tmp_path):
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(RunFolderError, match=r"index\.html but no report"):
        run([folder], tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]
    with pytest.raises(RunFolderError, match="is a result folder"):
        run([folder], folder)
    with pytest.raises(RunFolderError, match="is a file"):
        run([folder], tmp_path / "index.html")


def test_folder_without_results_is_refused(tmp_path):
    report_folder(tmp_path / "full", prompts=2)
    settings = RunFolder(tmp_path / "full").settings
    RunFolder.open(tmp_path / "empty", settings)
    with pytest.raises(RunFolderError, match="no results yet"):
        read_boards([tmp_path / "empty"])


def test_folders_of_one_title_are_told_apart(folder, tmp_path):
    other = report_folder(tmp_path / "other", prompts=2)
    assert [board.title for board in read_boards([folder, other])] == [
        "toy v2 (run)",
        "toy v2 (other)",
    ]


def test_markdown_has_both_tables_per_split_and_marks_the_oracle(boards):
    text = markdown(boards)
    titles = [line for line in text.splitlines() if line.startswith("###")]
    assert titles == [
        "### toy v2, seen (generator: fake)",
        "### toy v2, seen, further figures (generator: fake)",
        "### toy v2, unseen (generator: fake)",
        "### toy v2, unseen, further figures (generator: fake)",
    ]
    assert "| search * " in text
    assert "Agents marked *" in text
    assert markdown_text("a|b\n<i>&") == "a\\|b &lt;i>&amp;"


def test_csv_holds_full_figures(boards):
    lines = list(csv.DictReader(comma_separated(boards).splitlines()))
    assert len(lines) == 2 * len(AGENTS)
    search = next(line for line in lines if line["agent"] == "search")
    assert search["oracle"] == "true"
    assert float(search["reward"]) == boards[0].rows[0]["reward"]
    ends = (float(search["reward_ci_low"]), float(search["reward_ci_high"]))
    assert ends == boards[0].rows[0]["reward_ci"]


def test_latex_table_by_hand(boards):
    text = latex(boards)
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 2
    counts = "30 prompts, seeds of agents with chance: 1"
    assert rf"\caption{{toy v2, seen (generator: fake): {counts}. Agents marked * see" in text
    assert re.search(r"keep\\_all & 0\.\d{3} & 0\.\d{3}--0\.\d{3} & ", text)
    assert r"95 \% interval" in text
    widths = {line.count(" & ") for line in text.splitlines() if line.endswith(r"\\")}
    assert len(widths) == 1


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b & 50% #1 $x {y}", r"a\_b \& 50\% \#1 \$x \{y\}"),
        ("\\input~^", r"\textbackslash{}input\textasciitilde{}\textasciicircum{}"),
        (
            '<a|b> "c"\nd',
            r"\textless{}a\textbar{}b\textgreater{} \textquotedbl{}c\textquotedbl{} d",
        ),
    ],
)
def test_latex_escapes(text, escaped):
    assert latex_text(text) == escaped


def test_pareto_front_by_hand(boards):
    rows = [row for row in boards[0].rows if row["split"] == "seen"]
    assert pareto_front(rows) == {"keep_all", "half", "most"}  # "worse" is, and search sees answers


def test_equal_agents_are_both_on_the_front():
    row = {"compression_ratio": 0.5, "similarity": 0.5, "oracle": False}
    assert pareto_front([row | {"agent": "a"}, row | {"agent": "b"}]) == {"a", "b"}


def test_learning_curves_are_thinned_and_without_nan(folder):
    curves = learning_curves(folder / "agents")
    assert curves["x_label"] == "episodes of training"
    assert [line["name"] for line in curves["series"]] == ["most, seed 0", "most, seed 1"]
    assert all(len(line["points"]) == 100 for line in curves["series"])
    assert curves["series"][0]["points"][-1][1] == pytest.approx(248 / 300, abs=1e-3)
    assert learning_curves(folder / "nothing")["series"] == []


def test_thin_keeps_the_mean():
    points = [(float(x), float(x % 7)) for x in range(200)]
    thinned = thin(points, 100)
    assert sum(y for _, y in thinned) / 100 == pytest.approx(sum(y for _, y in points) / 200)


def test_ranges_are_counted_in_utf16_units():
    assert utf16_ranges(HOSTILE, [(0, 8)]) == [0, 8]
    assert utf16_ranges("\ud83d😀\ude00x", [(1, 2), (3, 4)]) == [1, 3, 4, 5]


def test_sample_grows_with_the_budget_and_fits_it(boards):
    full = prompt_sample(boards, 10**9)
    assert (full["prompts"], full["of_prompts"]) == (60, 60)
    assert full["records"] == full["of_records"] == 300
    for budget in (0, 500, 5_000, 20_000):
        sample = prompt_sample(boards, budget)
        assert len(script_json(sample["entries"])) <= budget + 2
        assert sample["prompts"] % 2 == 0  # as many of either split
        assert sample["prompts"] < 60


def test_page_is_smaller_than_its_limit(boards):
    full = make_page(boards)
    assert len(full) < MAX_BYTES
    assert page_data(full)["sample"]["prompts"] == 60
    bare = len(full) - len(script_json(page_data(full)["sample"]["entries"]))
    for limit in (bare + 1_000, bare + 10_000, len(full) - 1):
        page = make_page(boards, limit)
        assert len(page) < limit
        assert page_data(page)["sample"]["prompts"] < 60
    with pytest.raises(ValueError, match="Without any prompts"):
        make_page(boards, bare - 1_000)


def test_page_asks_for_nothing_from_outside(boards):
    page = make_page(boards).decode()
    assert "http://" not in page
    assert "https://" not in page
    assert not re.findall(r"@import|url\(|\bsrc=(?!x)|fetch\(|XMLHttp|WebSocket|innerHTML", page)
    (link,) = re.findall(r"<link[^>]*>", page)
    assert 'href="data:' in link
    assert "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'" in page


def test_hostile_prompt_stays_data(boards):
    page = make_page(boards)
    assert b"<script>alert" not in page
    assert page.count(b"</script>") == 2
    prompts = {entry["prompt"] for entry in page_data(page)["sample"]["entries"]}
    assert HOSTILE in prompts


def test_hostile_title_is_escaped(tmp_path):
    suite = "</title><script>alert(1)</script>{{css}}\ud800"
    page = make_page(read_boards([report_folder(tmp_path / "run", prompts=2, suite=suite)]))
    assert b"<script>alert" not in page
    assert page.count(b"&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;{{css}}?") == 2


def test_damaged_analysis_is_named(tmp_path):
    folder = report_folder(tmp_path / "run", prompts=2)
    (folder / "analyses" / "bad.json").write_text('{"title": 1}')
    with pytest.raises(RunFolderError, match="cannot be read"):
        read_boards([folder])
