from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.speed import models
from benchmarks.speed.cost import count_passes
from benchmarks.speed.models import KNOWN, SHAPES
from benchmarks.speed.throughput import MASKS, keep_masks, run
from benchmarks.speed.ways import Work, floor_batches, make_work, measure_case, run_floor
from pcrl_gym.envs.task import make_task
from pcrl_gym.generators.base import Answer
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.prompts.prompt import Prompt

WORDS = "Sort the words apple banana cherry and twelve plums in reverse order please".split()


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
