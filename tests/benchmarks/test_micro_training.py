"""Training of the micro generators: resuming, the loss, and that no validation prompt is used."""

from __future__ import annotations

import json
import math
from random import Random

import pytest
import torch

from benchmarks.micro_training import model, train
from benchmarks.micro_training.card import GOALS
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.micro.families import FAMILIES
from pcrl_gym.micro.tasks import draw

KINDS = ("causal", "seq2seq")


@pytest.fixture(scope="module")
def tokenizer():
    return model.train_tokenizer(model.Config(kind="causal", steps=1))


@pytest.fixture
def small(monkeypatch, tokenizer):
    """A configuration of four steps in two pools, and no second training of the tokenizer."""
    monkeypatch.setattr(train, "train_tokenizer", lambda config: tokenizer)
    return lambda kind: model.Config(kind=kind, steps=4, batch=4, pool=2, warmup=2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(small, kind, tmp_path, monkeypatch):
    whole, _, _ = train.train(small(kind), tmp_path / "whole")

    class Killed(Exception):
        pass

    write = train.write_file

    def write_and_die(path, content):
        write(path, content)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(train, "write_file", write_and_die)
        with pytest.raises(Killed):
            train.train(small(kind), tmp_path / "broken", minutes_between_saves=0.0)
    saved = torch.load(tmp_path / "broken" / "checkpoint.pt", weights_only=True)
    assert saved["step"] == 2
    resumed, _, seconds = train.train(small(kind), tmp_path / "broken")
    assert seconds > saved["seconds"]
    for name, weights in whole.state_dict().items():
        assert torch.equal(weights, resumed.state_dict()[name]), name


def test_other_settings_do_not_resume_a_run(small, tmp_path):
    train.train(small("causal"), tmp_path)
    other = model.Config(kind="causal", steps=6, batch=4, pool=2, warmup=2)
    with pytest.raises(ValueError, match="--run"):
        train.train(other, tmp_path)


def test_no_validation_prompt_is_trained_on(small, tokenizer, monkeypatch):
    config = small("causal")
    first = draw_of_pool(config)
    monkeypatch.setattr(train, "validation_keys", lambda: frozenset({train.key(first)}))
    batches = next(train.pools(config, tokenizer, 0))
    texts = {tokenizer.decode(asked) for rows in batches for asked, _ in rows}
    assert len(texts) > 1
    assert train.prompt_text(first) not in texts


def draw_of_pool(config):
    rng = Random(f"{config.seed}:pool:0")
    return draw(rng, FAMILIES, broken=rng.random() < 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_a_batch_is_that_of_its_rows(kind):
    """Padding adds nothing: two rows of unequal length weigh by the root of their lengths."""
    network = model.build_model(model.Config(kind=kind, steps=1)).eval()
    rows = [([5, 6, 7], [8, 1]), ([9, 10, 11, 12, 13], [14, 15, 16, 1])]
    one, other, both = (
        train.loss_of(network, kind, batch, "cpu").item() for batch in (rows[:1], rows[1:], rows)
    )
    # Each row weighs length * length ** -0.5.
    expected = (one * math.sqrt(2) + other * math.sqrt(4)) / (math.sqrt(2) + math.sqrt(4))
    assert both == pytest.approx(expected, rel=1e-5)


def test_the_learning_rate_rises_stays_and_falls_to_zero_twice():
    config = model.Config("causal", 150, restart=100, restart_rate=0.3, warmup=10, decay=0.5)
    assert [train.rate(step, config) for step in (0, 9, 49, 75, 99)] == [0.1, 1.0, 1.0, 0.5, 0.02]
    assert [train.rate(step, config) for step in (100, 125, 150)] == [0.3, 0.15, 0.0]


def test_every_parameter_has_one_optimizer():
    for kind in KINDS:
        network = model.build_model(model.Config(kind=kind, steps=1))
        groups = [
            g for o in model.optimizers(network, model.Config(kind, 1)) for g in o.param_groups
        ]
        taken = [id(p) for group in groups for p in group["params"]]
        assert sorted(taken) == sorted(id(p) for p in network.parameters())


@pytest.mark.slow
def test_the_command_writes_a_generator_with_its_card(tmp_path, capsys):
    train.main("seq2seq", run=tmp_path, steps=16)
    folder = tmp_path / "model"
    report = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert set(report["splits"]) == set(GOALS)
    assert "exact match" in capsys.readouterr().out
    assert "| validation_human | 260 |" in (folder / "README.md").read_text(encoding="utf-8")
    answers = load_generator(str(folder), device="cpu").generate(["Instruction: copy\n"], 4)
    assert len(answers) == 1
    with pytest.raises(SystemExit, match="--run"):
        train.main("seq2seq", run=tmp_path, steps=16)
