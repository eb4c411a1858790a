"""The shipped generators: what their model cards say is true, and they fit the wheel."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.micro_training.card import GOALS, exact_match
from pcrl_gym import Compressor, make_task
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.micro import CHECKSUMS, micro_prompts, weights_folder

GENERATORS = {"micro": "causal", "micro-seq2seq": "seq2seq"}


@pytest.fixture(scope="module", params=GENERATORS)
def generator(request):
    return load_generator(request.param, device="cpu")


@pytest.fixture
def report(generator):
    path = weights_folder(GENERATORS[generator.name]) / "training.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_card_is_about_the_prompts_of_today(report):
    assert {split: report["splits"][split]["sha256"] for split in GOALS} == {
        split: CHECKSUMS[split] for split in GOALS
    }
    assert report["train_sha256"] == CHECKSUMS["train"]


def test_the_recorded_exact_match_meets_the_goals(report):
    for split, goal in GOALS.items():
        assert report["splits"][split]["exact_match"]["all"] >= goal, split


def test_the_card_tells_command_and_time(report):
    assert report["command"].startswith("python -m benchmarks.micro_training.train ")
    assert 0 < report["seconds"] <= 90 * 60


def test_exact_match_on_human_prompts_is_what_the_card_says(generator, report):
    shares = exact_match(generator, micro_prompts("validation_human"))
    assert shares == pytest.approx(report["splits"]["validation_human"]["exact_match"])


@pytest.mark.slow
@pytest.mark.parametrize("split", ["validation_seen", "validation_unseen"])
def test_exact_match_is_what_the_card_says(generator, report, split):
    shares = exact_match(generator, micro_prompts(split))
    assert shares == pytest.approx(report["splits"][split]["exact_match"])


def test_the_models_are_small(report):
    assert 1_000_000 <= report["parameters"] <= 3_000_000


def test_together_they_take_at_most_16_mb():
    files = [f for kind in GENERATORS.values() for f in weights_folder(kind).iterdir()]
    assert sum(file.stat().st_size for file in files) <= 16_000_000


@pytest.mark.parametrize("split", CHECKSUMS)
def test_a_quarter_of_the_answers_is_long(split):
    tokenizer = load_generator("micro", device="cpu").tokenizer
    answers = [" " + prompt.output for prompt in micro_prompts(split)]
    lengths = [len(ids) for ids in tokenizer(answers)["input_ids"]]
    assert max(lengths) < 30  # room for the end of the answer
    assert sum(12 <= length <= 30 for length in lengths) >= len(lengths) / 4


POLICY = weights_folder("policy")


def test_the_policy_takes_at_most_4_mb():
    assert sum(file.stat().st_size for file in POLICY.iterdir()) <= 4_000_000


@pytest.mark.parametrize("split", ["validation_seen", "validation_unseen", "validation_human"])
def test_the_policy_earns_what_its_card_says(split):
    card = Compressor.from_pretrained("micro", device="cpu").card
    [told] = [row for row in card.results if row["split"] == split]
    assert told["prompts"] == len(micro_prompts(split))
    task = make_task(split=split, device="cpu")
    episodes = task.episodes[:]
    done = Compressor.from_pretrained("micro", device="cpu")(
        instruction=[episode.prompt.instruction for episode in episodes],
        input=[episode.prompt.input for episode in episodes],
    )
    scores = task.scorer(episodes, [np.array(one.kept) for one in done])
    assert [one.text for one in done] == scores.compressed_prompts
    assert scores.reward.mean() == pytest.approx(told["reward"], abs=0.001)
