from __future__ import annotations

import json
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.speed import models
from benchmarks.speed.cost import TimedGenerator, count_passes, measure
from benchmarks.speed.figures import find_targets, format_cases
from benchmarks.speed.models import KNOWN, SHAPES, build_generator, widened_tokenizer
from benchmarks.speed.throughput import MASKS, keep_masks, run
from benchmarks.speed.ways import Work, floor_batches, make_work, measure_case, run_floor
from imports import ROOT
from pcrl_gym.envs.task import make_task
from pcrl_gym.episodes.tokenizers import load_tokenizer
from pcrl_gym.generators.base import Answer, DraftingGenerator
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.prompts.prompt import Prompt

WORDS = "Sort the words apple banana cherry and twelve plums in reverse order please".split()
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module", params=["gpt2", "llama", "t5"])
def generator(request: pytest.FixtureRequest) -> HFGenerator:
    """A tiny model of each kind."""
    folder = request.getfixturevalue(f"{request.param}_folder")
    return HFGenerator.from_pretrained(str(folder), device="cpu")


@pytest.fixture(scope="module")
def works(generator: HFGenerator) -> dict[str, Work]:
    """Twelve prompts, whole and with words missing."""
    prompts = [Prompt(id=str(k), instruction=" ".join(WORDS[k:])) for k in range(12)]
    task = make_task(dataset=prompts, generator=generator)
    episodes = task.episodes.take(range(12))
    texts = [episode.text for episode in episodes]
    originals = dict(zip(texts, generator.generate(texts, 30), strict=True))
    masks = keep_masks(task, episodes, ["keep-all", "random-30"], None)
    return {name: make_work(generator, episodes, own, originals) for name, own in masks.items()}


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


def test_passes_are_counted_per_row(generator):
    prompts = ["hot", "the cat", "is it true"]
    with count_passes(generator.model) as counted:
        whole = generator.generate(prompts, 5)
    assert counted.rows == 3 * max(len(answer.token_ids) for answer in whole)
    with count_passes(generator.model) as counted:
        assert generator.generate_from(prompts, whole, 5) == whole
    assert counted.rows == 3  # a draft that holds takes one pass
    generator.generate(prompts, 5)
    assert counted.rows == 3  # nothing is counted any more


def test_all_ways_pay_the_same(generator, works):
    for masks, work in works.items():
        found = measure_case(generator, masks, work, repeats=1)
        count, ways = found["prompts"], found["ways"]
        assert found["exact"]
        assert set(found["rewards_equal"].values()) == {count}
        assert set(found["answers_equal"].values()) == {count}
        assert list(ways) == list("abcdefg")
        assert ways["e"]["passes_per_row"] == ways["f"]["passes_per_row"] == 1.0
        best = {way: min(figures["seconds"]) for way, figures in ways.items()}
        assert ways["d"]["prompts_per_second"] == count / best["d"]
        assert ways["d"]["ratio_to_a"] == best["a"] / best["d"]
        assert ways["d"]["share_of_e"] == best["e"] / best["d"]
        if masks == "keep-all":
            assert found["drafts_held"] == 1.0
            assert ways["c"]["passes_per_row"] == ways["d"]["passes_per_row"] == 1.0


@pytest.mark.parametrize("sliced", [False, True])
def test_the_floor_predicts_every_token_of_the_draft(generator, works, sliced):
    """Its arg-max tokens are the answers: nothing that a check needs is left out."""
    work = works["keep-all"]
    batches = floor_batches(generator, work, tokens=256)
    assert len(batches) > 1
    seen = []
    hook = generator.model.register_forward_hook(lambda *a: seen.append(a[-1].logits.argmax(-1)))
    with count_passes(generator.model) as counted:
        run_floor(generator.model, batches, sliced)
    hook.remove()
    found = []
    for (spans, *_), predicted in zip(batches, seen, strict=True):
        if sliced:  # of a causal model the last columns, of a decoder all
            skipped = max(span.stop for span in spans) - predicted.shape[1]
            for row, span in zip(predicted.tolist(), spans, strict=True):
                found.append(row[span.start - skipped : span.stop - skipped])
        else:
            tokens = iter(predicted.flatten().tolist())
            found += [[next(tokens) for _ in span] for span in spans]
    drafts = [list(answer.token_ids) for answer in work.originals]
    assert sorted(found) == sorted(drafts)
    if not sliced:
        assert counted.wanted == sum(map(len, drafts))


def test_equal_pairs_are_one_piece_of_work(generator):
    prompts = [Prompt(id=str(k), instruction="Sort the words.") for k in range(3)]
    episodes = make_task(dataset=prompts, generator=generator).episodes.take(range(3))
    masks = [np.full(len(e), k == 1) for k, e in enumerate(episodes)]
    work = make_work(generator, episodes, masks, {episodes[0].text: Answer("x", (1,))})
    assert work.prompts == [episodes[0].compress(masks[0]), episodes[0].text]
    assert work.ratios.tolist() == [1.0, 0.0]


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
        def act(self, observations, infos):
            return observations["attention_mask"] & ~observations["droppable"]

    own = keep_masks(task, episodes, ["policy"], Agent())["policy"]
    assert episodes[0].compress(own[0]) == episodes[0].template_text


def test_a_way_is_measured(generator):
    def way() -> str:
        with mmap(-1, 64 << 20) as block:  # new pages: malloc might reuse freed ones
            for page in range(0, len(block), 1 << 12):
                block[page] = 1
        return "done"

    small, large = measure(lambda: "done", generator.model), measure(way, generator.model)
    assert (large.result, large.passes) == ("done", 0)
    assert large.seconds > 0
    if small.memory is not None:  # there are kernels that do not say
        assert large.memory >= small.memory + (48 << 20)


def test_time_in_the_generator_excludes_what_it_calls_back():
    now = [0.0]

    class Slow:
        name, max_prompt_tokens, tokenizer = "slow", None, WORDS.count

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

    timed = TimedGenerator(Slow(), lambda: now[0])
    assert isinstance(timed, DraftingGenerator)
    assert (timed.name, timed.tokenizer) == ("slow", WORDS.count)
    timed.generate_from([], [], 1, decided)
    timed.generate_from([], [], 1)
    timed.count_tokens([])
    assert timed.spent == {"generate_from": 10, "count_tokens": 1, "decided": 100}


def test_widened_tokenizer_reads_like_micro_and_writes_a_word_per_id():
    micro, wide = load_tokenizer("micro"), widened_tokenizer(2_000)
    text = "Instruction: sort 3, 1 and 2 w1999\nInput: \nOutput:"
    assert len(wide) == 2_000
    assert wide(text)["input_ids"] == micro(text)["input_ids"]
    assert wide.decode([1_999, 1_536]) == " w1999 w1536"


def test_random_models_are_the_same_every_time(monkeypatch):
    sizes = {"vocab_size": 1_600, "n_embd": 8, "n_layer": 1, "n_head": 1}
    monkeypatch.setitem(SHAPES, "tiny", SHAPES["gpt2-29m"] | sizes)
    monkeypatch.setattr(models, "GPU_SHAPES", ("tiny",))
    before = torch.random.get_rng_state()
    first, again = (build_generator("tiny", "cpu").model.state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert first["transformer.wte.weight"].dtype is torch.bfloat16
    assert torch.get_default_dtype() is torch.float32
    assert torch.equal(before, torch.random.get_rng_state())


def test_shapes_have_the_sizes_of_their_models():
    millions = {
        "gpt2-29m": 28.6, "gpt2-124m": 124.4, "llama-135m": 134.5, "t5-60m": 60.5,
        "gpt2-xl": 1_557.6, "llama-7b": 6_738.4, "flan-t5-xl": 2_784.0,
    }  # fmt: skip
    assert millions.keys() == SHAPES.keys()
    with torch.device("meta"):
        found = {name: models.random_model(name, "float32") for name in SHAPES}
    sizes = {name: sum(p.numel() for p in own.parameters()) / 1e6 for name, own in found.items()}
    assert sizes == pytest.approx(millions, abs=0.06)


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": ("micro", "gpt9")}, f"each once, from {', '.join(KNOWN)}, .* got gpt9"),
        ({"models": ("micro", "micro")}, "each once"),
        ({"models": ("llama-7b",)}, "too large for a CPU"),
        ({"masks": ("random-16",)}, "must be from keep-all"),
        ({"masks": ()}, "must be from keep-all"),
        ({"policy_episodes": -1}, "needs a positive budget"),
        ({"data": "nowhere"}, "nowhere"),
        ({"policy": "saved"}, "policy masks are for micro"),
        ({"masks": ("policy",)}, "policy masks are for micro"),
        ({"device": "abacus"}, "cannot be used"),
        ({"dtype": "int3"}, "must be from auto, float32"),
    ],
)
def test_wrong_options_are_errors_before_slow_work(options, message, monkeypatch, tmp_path):
    (tmp_path / "validation_seen.json").write_text('[{"instruction": "Sort."}]')
    monkeypatch.delattr("benchmarks.speed.throughput.build_generator")
    own = {"data": str(tmp_path)} if "policy masks" in message else {}
    with pytest.raises(ValueError, match=message):
        run(**{"device": "cpu", **own, **options})


def test_defaults_fit_the_device(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "benchmarks.speed.throughput.check_names", lambda *given: asked.append(given)
    )
    with pytest.raises(ValueError, match="nowhere"):
        run(device="cpu", data="nowhere")
    assert asked == [
        (("micro", "micro-seq2seq", *(n for n in SHAPES if n not in models.GPU_SHAPES)), "cpu")
    ]


def test_a_run_prints_tables_and_writes_figures_once(tmp_path: Path, capsys):
    out = tmp_path / "new" / "figures.json"
    masks = ("keep-all", "random-15", "policy")
    options = {"models": ("micro",), "prompts": 8, "policy_episodes": 0, "masks": masks}
    options |= {"repeats": 1, "device": "cpu", "out": str(out)}
    assert run(**options) == 0
    printed = capsys.readouterr().out
    assert "### micro (1.9 M parameters, torch.float32 on cpu)" in printed
    assert "8 of 8" in printed
    assert "micro, random-15: (d) at least 4 times (a)" in printed
    assert "at least 90% of a step in the generator, known prompts" in printed
    assert "policy" not in printed
    stored = json.loads(out.read_text())
    assert stored["finished"]
    assert [c["masks"] for c in stored["cases"]] == ["keep-all", "random-15"]
    assert stored["cases"][1]["rewards_equal"] == {"b": 8, "c": 8, "d": 8}
    assert stored["settings"]["prompts"] == 8
    assert stored["provenance"]["libraries"]["torch"] == torch.__version__
    assert [row["prompts"] for row in stored["overhead"]] == ["new", "known"]
    with pytest.raises(ValueError, match="is not overwritten"):
        run(**options)


def test_a_folder_of_a_model_and_one_of_prompts(tmp_path: Path, gpt2_folder: Path, capsys):
    """The units are the tokens of that model, and no policy has masks for them."""
    rows = [{"instruction": " ".join(WORDS[k:])} for k in range(6)]
    (tmp_path / "validation_seen.json").write_text(json.dumps(rows))
    out = tmp_path / "figures.json"
    options = {"models": (str(gpt2_folder),), "data": str(tmp_path), "prompts": 6, "repeats": 1}
    assert run(**options, device="cpu", out=str(out)) == 0
    stored = json.loads(out.read_text())
    assert [c["masks"] for c in stored["cases"]] == [name for name in MASKS if name != "policy"]
    assert {c["model"] for c in stored["cases"]} == {str(gpt2_folder)}
    assert stored["cases"][0]["drafts_held"] == 1.0


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
