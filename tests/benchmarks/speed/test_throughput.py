from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.speed.throughput import models
from benchmarks.speed.throughput.cases import acceptance, make_work, measure_case
from benchmarks.speed.throughput.command import Options
from benchmarks.speed.throughput.cost import count_passes, measure, peak_memory
from benchmarks.speed.throughput.masks import MASKS, keep_masks
from benchmarks.speed.throughput.models import KNOWN, SHAPES, build_generator, widened_tokenizer
from benchmarks.speed.throughput.overhead import TimedGenerator
from benchmarks.speed.throughput.tables import (
    Case,
    Figures,
    Overhead,
    find_targets,
    format_cases,
    format_targets,
)
from benchmarks.speed.throughput.ways import Floor, Work, dynamic, plain
from imports import ROOT
from pcrl_gym.envs.task import make_task
from pcrl_gym.episodes.tokenizers import load_tokenizer
from pcrl_gym.generators.base import Answer
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.prompts.prompt import Prompt

WORDS = "Sort the words apple banana cherry and twelve plums in reverse order please".split()


@pytest.fixture(scope="module", params=["gpt2", "llama", "t5"])
def generator(request: pytest.FixtureRequest) -> HFGenerator:
    """A tiny model of each kind."""
    folder = request.getfixturevalue(f"{request.param}_folder")
    return HFGenerator.from_pretrained(str(folder), device="cpu")


def works(generator: HFGenerator) -> dict[str, Work]:
    """Twelve prompts, whole and with words missing."""
    prompts = [Prompt(id=str(k), instruction=" ".join(WORDS[k:])) for k in range(12)]
    task = make_task(dataset=prompts, generator=generator)
    episodes = task.episodes.take(range(12))
    texts = [episode.text for episode in episodes]
    originals = dict(zip(texts, generator.generate(texts, 30), strict=True))
    masks = keep_masks(task, episodes, ["keep-all", "random-30"], None)
    return {name: make_work(generator, episodes, own, originals) for name, own in masks.items()}


def case(seconds: dict[str, float], **changes) -> Case:
    """A case in which each way took so many seconds for 100 prompts."""
    ways = {way: Figures([t, 2 * t], 1.0, None, 3 << 20) for way, t in seconds.items()}
    values = {
        "model": "micro",
        "device": "cpu",
        "exact": True,
        "masks": "random-15",
        "prompts": 100,
        "drafts_held": 0.5,
        "draft_accepted": 0.75,
        "rewards_equal": {"b": 100, "c": 100, "d": 99},
        "answers_equal": {"b": 98, "c": 100},
        "floor_tokens": 4096,
        "ways": ways,
    }
    return Case(**(values | changes))


def test_passes_are_counted_per_row(generator):
    with count_passes(generator.model) as counted:
        answers = generator.generate(["hot", "the cat", "is it true"], 5)
    assert counted.rows == 3 * max(len(answer.token_ids) for answer in answers)
    prompts = ["hot", "the cat", "is it true"]
    whole = generator.generate(prompts, 5)
    with count_passes(generator.model) as counted:
        assert generator.generate_from(prompts, whole, 5) == whole
    assert counted.rows == 3  # a draft that holds takes one pass
    generator.generate(prompts, 5)
    assert counted.rows == 3  # nothing is counted any more


def test_all_ways_pay_the_same(generator):
    for masks, work in works(generator).items():
        found = measure_case(generator, masks, work, repeats=1)
        assert found.agrees, (masks, found)
        assert set(found.answers_equal.values()) == {found.prompts}
        assert list(found.ways) == list("abcdef")
        assert found.ways["e"].passes_per_row == found.ways["f"].passes_per_row == 1.0
        if masks == "keep-all":
            assert found.drafts_held == found.draft_accepted == 1.0
            assert found.ways["c"].passes_per_row == found.ways["d"].passes_per_row == 1.0


def test_the_plain_way_answers_like_the_generator(generator):
    """Answers, not only rewards: these hide differences."""
    work = works(generator)["random-30"]
    with count_passes(generator.model) as counted:
        found = plain(generator, work)
    assert [a.text for a in found.answers] == [a.text for a in dynamic(generator, work).answers]
    assert counted.rows <= 30 * len(work.prompts)


@pytest.mark.parametrize("sliced", [False, True])
def test_the_floor_predicts_every_token_of_the_draft(generator, sliced):
    """Its arg-max tokens are the answers: nothing that a check needs is left out."""
    work = works(generator)["keep-all"]
    floor = Floor(generator, work, sliced)
    floor.choose()
    seen = []
    hook = generator.model.register_forward_hook(lambda *a: seen.append(a[-1].logits.argmax(-1)))
    with count_passes(generator.model) as counted:
        floor()
    hook.remove()
    drafts = [list(answer.token_ids) for answer in work.originals]
    found = []
    for (spans, _), predicted in zip(floor._batches, seen, strict=True):
        if sliced:  # of a causal model the last columns, of a decoder all
            ends = [
                max(map(len, spans)) if span.stop > predicted.shape[1] else span.stop
                for span in spans
            ]
            found += [
                row[end - len(span) : end]
                for row, span, end in zip(predicted.tolist(), spans, ends, strict=True)
            ]
        else:
            tokens = iter(predicted.flatten().tolist())
            found += [[next(tokens) for _ in span] for span in spans]
    assert sorted(found) == sorted(drafts)
    if not sliced:
        assert counted.wanted == sum(map(len, drafts))


def test_equal_pairs_are_one_piece_of_work(generator):
    prompts = [Prompt(id=str(k), instruction="Sort the words.") for k in range(3)]
    task = make_task(dataset=prompts, generator=generator)
    episodes = task.episodes.take(range(3))
    originals = {episodes[0].text: Answer("x", (1,))}
    half = [np.zeros(len(e), bool) for e in episodes]
    half[1][:] = True
    work = make_work(generator, episodes, half, originals)
    assert work.prompts == [episodes[0].compress(half[0]), episodes[0].text]
    assert work.ratios.tolist() == [1.0, 0.0]


def test_acceptance():
    drafts = [Answer("", ids) for ids in ((1, 2, 3, 4), (1, 2), (5, 6), ())]
    answers = [Answer("", ids) for ids in ((1, 2, 9, 4), (1, 2), (5, 6, 7), ())]
    assert acceptance(drafts[:2], answers[:2]) == (0.5, 0.75)
    assert acceptance(drafts[2:3], answers[2:3]) == (0.0, 1.0)


def test_random_masks_come_back_and_drop_what_they_say(gpt2_folder):
    generator = HFGenerator.from_pretrained(str(gpt2_folder), device="cpu")
    prompts = [Prompt(id=str(k), instruction="sort " * 40) for k in range(20)]
    task = make_task(dataset=prompts, generator=generator)
    episodes = task.episodes.take(range(20))
    first, again = (keep_masks(task, episodes, MASKS, None) for _ in range(2))
    assert list(first) == list(MASKS[:-1])
    for name in first:
        assert all(map(np.array_equal, first[name], again[name]))
    assert 0.1 < 1 - np.concatenate(first["random-15"]).mean() < 0.2

    class Agent:
        name = "last"

        def act(self, observations, infos):
            assert len(infos) == 20
            return observations["attention_mask"] & ~observations["droppable"]

    own = keep_masks(task, episodes, ["policy"], Agent())["policy"]
    assert episodes[0].compress(own[0]) == episodes[0].template_text


def test_memory_is_told_or_left_out():
    with peak_memory(torch.device("cpu")) as memory:
        block = bytearray(64 << 20)
        block[:: 1 << 12] = b"x" * len(block[:: 1 << 12])
    if memory.before is not None:
        assert memory.peak >= memory.before + (48 << 20)
    with peak_memory(torch.device("meta")) as memory:
        pass
    assert memory.before is memory.peak is None


def test_measure_returns_what_the_way_returned(generator):
    found = measure(lambda: "done", generator.model)
    assert (found.result, found.passes) == ("done", 0)
    assert found.seconds >= 0


def test_time_in_the_generator_excludes_what_it_calls_back(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("benchmarks.speed.throughput.overhead.time.perf_counter", lambda: now[0])

    class Slow:
        name, max_prompt_tokens, tokenizer = "slow", None, None

        def generate_from(self, prompts, drafts, max_new_tokens, decided=None):
            now[0] += 5
            if decided is not None:
                decided(0, "", 1)
            return []

        def count_tokens(self, texts):
            now[0] += 1
            return []

    def decided(i, text, words_left):
        now[0] += 100
        return False

    timed = TimedGenerator(Slow())
    timed.generate_from([], [], 1, decided)
    timed.generate_from([], [], 1)
    timed.count_tokens([])
    assert timed.seconds == 11
    assert timed.spent == {"generate_from": 10, "count_tokens": 1, "decided": 100}


def test_widened_tokenizer_reads_like_micro_and_writes_a_word_per_id():
    micro, wide = load_tokenizer("micro"), widened_tokenizer(2_000)
    text = "Instruction: sort 3, 1 and 2 w1999\nInput: \nOutput:"
    assert len(wide) == 2_000
    assert wide(text)["input_ids"] == micro(text)["input_ids"]
    assert wide.decode([1_999, 1_536]) == " w1999 w1536"


def test_random_models_are_the_same_every_time(monkeypatch):
    tiny = SHAPES["gpt2-29m"]()
    tiny.vocab_size, tiny.n_embd, tiny.n_layer, tiny.n_head = 1_600, 8, 1, 1
    monkeypatch.setitem(SHAPES, "tiny", lambda: tiny)
    monkeypatch.setattr(models, "GPU_SHAPES", ("tiny",))
    before = torch.random.get_rng_state()
    first, again = (build_generator("tiny", "cpu").model.state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert first["transformer.wte.weight"].dtype is torch.bfloat16
    assert torch.get_default_dtype() is torch.float32
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("gpt2-29m", 28.6),
        ("gpt2-124m", 124.4),
        ("t5-60m", 60.5),
        ("gpt2-xl", 1_557.6),
        ("llama-7b", 6_738.4),
        ("flan-t5-xl", 2_784.0),
    ],
)
def test_shapes_have_the_sizes_of_their_models(name, millions):
    with torch.device("meta"):
        model = models.random_model(SHAPES[name](), torch.float32)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_figures_of_a_case():
    found = case({"a": 8.0, "b": 4.0, "c": 3.0, "d": 2.0, "e": 1.0})
    assert found.speed("d") == 50.0
    assert found.ratio("d", "a") == 4.0
    assert found.ratio("d", "e") == 0.5
    assert not found.agrees
    speed, drafts = format_cases([found]).split("\n\n")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in speed.splitlines()]
    assert cells[0] == [
        "masks, way",
        "prompts/s",
        "ratio to (a)",
        "share of (e)",
        "passes/row",
        "peak MiB",
    ]
    assert cells[5] == ["random-15 (d)", "50.0", "4.00", "0.50", "1.00", "3"]
    assert "99 of 100" in drafts
    assert "98 of 100" in drafts
    told = json.loads(json.dumps(found.to_json()))
    assert told["ways"]["d"]["share_of_e"] == 0.5
    assert told["ways"]["d"]["seconds"] == [2.0, 4.0]


def test_targets_apply_to_their_models_masks_and_devices():
    fast = {"a": 8.0, "b": 4.0, "c": 3.0, "d": 2.0, "e": 1.0}
    found = find_targets(
        [
            case(fast),
            case(fast, masks="random-60"),
            case(fast, model="gpt2-29m"),
            case({**fast, "c": 5.0}, model="gpt2-xl", device="cuda"),
        ],
        [Overhead("known", 8, seconds=10.0, generator_seconds=9.5)],
    )
    assert [(target.value, target.reached) for target in found] == [
        (4.0, True),
        (0.5, False),
        (4.0, False),
        (0.5, True),
        (0.8, False),
        (pytest.approx(0.05), True),
    ]
    lines = format_targets(found).splitlines()
    assert lines[0] == "reached: micro, random-15: (d) at least 4 times (a): 4.000"
    assert lines[4].startswith("MISSED: (c) at least 0.95 times (b)")
    assert "gpt2-xl, random-15" in lines[4]
    assert find_targets([], []) == []
    elsewhere = find_targets([case(fast)], [], data="prompts")
    assert [target.text[:4] for target in elsewhere] == ["(c) "]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "micro,gpt9"], f"no model gpt9; there are: {', '.join(KNOWN)}"),
        (["--models", "micro,micro"], "each once"),
        (["--models", "llama-7b"], "too large for a CPU"),
        (["--masks", "random-16"], "must be some of keep-all"),
        (["--policy-minutes", "-1"], "policy_minutes"),
        (["--data", "nowhere"], "micro or a folder of prompts, got nowhere"),
        (["--data", ".", "--policy", "saved"], "masks of a policy are for micro"),
        (["--data", ".", "--masks", "policy"], "masks of a policy are for micro"),
        (["--device", "abacus"], "cannot be used"),
        (["--dtype", "int3"], "dtype must be one of auto, float32"),
    ],
)
def test_wrong_arguments_are_told_before_slow_work(arguments, message, capsys, monkeypatch):
    def build_generator(*args):
        raise AssertionError("a model was built before the arguments were checked")

    monkeypatch.setattr("benchmarks.speed.throughput.command.build_generator", build_generator)
    assert main(["throughput", "--device", "cpu", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_defaults_fit_the_device():
    options = Options(device="cpu")
    shapes = ("gpt2-29m", "gpt2-124m", "llama-135m", "t5-60m")
    assert options.models == ("micro", "micro-seq2seq", *shapes)
    assert [options.prompts_of(name) for name in options.models] == [512] * 2 + [64] * 4
    assert Options(device="cpu", prompts=7).prompts_of("gpt2-29m") == 7


def test_a_run_prints_tables_and_writes_figures_once(tmp_path: Path, capsys):
    out = tmp_path / "new" / "figures.json"
    arguments = ["throughput", "--models", "micro", "--prompts", "8", "--policy-minutes", "0"]
    arguments += ["--masks", "keep-all,random-15,policy", "--repeats", "1", "--device", "cpu"]
    arguments += ["--out", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "### micro (1.9 M parameters, float32 on CPU, " in printed
    assert "8 of 8" in printed
    assert "micro, random-15: (d) at least 4 times (a)" in printed
    assert "environment at most 10% of a step, known prompts" in printed
    assert "policy" not in printed
    told = json.loads(out.read_text())
    assert told["finished"]
    assert [c["masks"] for c in told["cases"]] == ["keep-all", "random-15"]
    assert told["cases"][1]["rewards_equal"] == {"b": 8, "c": 8, "d": 8}
    assert told["settings"]["prompts"] == 8
    assert told["provenance"]["libraries"]["torch"] == torch.__version__
    assert [row["prompts"] for row in told["overhead"]] == ["new", "known"]
    assert main(arguments) == 2
    assert "is not overwritten" in capsys.readouterr().err
    assert json.loads(out.read_text()) == told


def test_a_folder_of_a_model_and_one_of_prompts(tmp_path: Path, gpt2_folder: Path, capsys):
    """The units are the tokens of that model, and no policy has masks for them."""
    rows = [{"instruction": " ".join(WORDS[k:])} for k in range(6)]
    (tmp_path / "validation_seen.json").write_text(json.dumps(rows))
    out = tmp_path / "figures.json"
    arguments = ["throughput", "--models", str(gpt2_folder), "--data", str(tmp_path)]
    arguments += ["--prompts", "6", "--repeats", "1", "--device", "cpu", "--out", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "Weights from this folder." in printed
    told = json.loads(out.read_text())
    assert [c["masks"] for c in told["cases"]] == [name for name in MASKS if name != "policy"]
    assert {c["model"] for c in told["cases"]} == {str(gpt2_folder)}
    assert told["cases"][0]["drafts_held"] == 1.0


def test_differing_rewards_are_an_error(monkeypatch, capsys):
    wrong = case({way: 1.0 for way in "abcde"})
    monkeypatch.setattr("benchmarks.speed.throughput.command.measure_model", lambda *args: [wrong])
    arguments = ["throughput", "--models", "micro-seq2seq", "--prompts", "1", "--device", "cpu"]
    assert main([*arguments, "--masks", "keep-all"]) == 1
    told = capsys.readouterr()
    assert "99 of 100" in told.out
    assert "rewards differ: micro, random-15" in told.err


def test_the_page_on_speed_shows_the_committed_figures():
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    files = sorted((ROOT / "benchmarks" / "results").glob("throughput-cpu-*.json"))
    assert len(files) == 3
    for file in files:
        told = json.loads(file.read_text(encoding="utf-8"))
        assert told["finished"]
        for found in told["cases"]:
            assert set(found["rewards_equal"].values()) == {found["prompts"]}
            if found["masks"] not in ("policy", "random-15"):
                continue
            ways = found["ways"]
            cells = [
                Path(found["model"]).name,
                found["masks"],
                f"{found['drafts_held']:.2f}",
                f"{ways['d']['passes_per_row']:.2f}",
                f"{ways['d']['prompts_per_second']:.0f}",
                f"{ways['d']['ratio_to_a']:.1f}",
                f"{ways['d']['share_of_e']:.2f}",
                f"{min(ways['b']['seconds']) / min(ways['c']['seconds']):.2f}",
            ]
            row = f"| {' | '.join(cells)} |"
            assert row in page, f"docs/speed.md is to show {row}"


def test_the_page_shows_what_a_contiguous_head_gains():
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    for dtype in ("bfloat16", "float32"):
        file = ROOT / "benchmarks" / "results" / f"head-cpu-{dtype}.json"
        [found] = json.loads(file.read_text(encoding="utf-8"))["cases"]
        gathered, sliced = (found["ways"][way]["prompts_per_second"] for way in "ef")
        ratios = f"{gathered / sliced:.2f} | {found['ways']['d']['ratio_to_a']:.2f}"
        assert f"| {dtype} | {gathered:.1f} | {sliced:.1f} | {ratios} |" in page
        assert set(found["rewards_equal"].values()) == {found["prompts"]}
