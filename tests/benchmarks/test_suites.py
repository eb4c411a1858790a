from __future__ import annotations

import dataclasses

import pytest

from benchmarks.suites import SUITES
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.datasets import dataset_checksum
from pcrl_gym.scoring.rouge import UNICODE_ROUGE_L

DEFAULT = UNICODE_ROUGE_L.name
OTHERS = ("alpaca-plus", "t0-short", "self-instruct-seed", "prompts-chat", "ifeval")
FULL = ("micro", "micro-seq2seq", "micro-word", "instruct", *OTHERS)


def test_every_suite_has_a_small_variant_that_differs_in_size_alone():
    assert list(SUITES) == [name for full in FULL for name in (full, f"{full}-ci")]
    for name in FULL:
        full, small = SUITES[name], SUITES[f"{name}-ci"]
        assert small.limit == (24 if name == "instruct" else 64)
        assert "ci" in small.tags
        again = dataclasses.replace(
            small, id=full.id, limit=full.limit, seeds=full.seeds, tags=full.tags
        )
        assert again == full


def test_suites_name_the_very_data():
    for name in ("micro", "instruct"):
        for split in SUITES[name].splits:
            prompts = load_prompts(name, split)
            assert SUITES[name].checksums[split] == dataset_checksum(prompts)


def test_what_the_frozen_suites_are():
    """A change here is a new version: raise it, and say so in the changelog."""
    told = {
        name: (
            s.version,
            s.dataset,
            s.generator,
            s.unit,
            s.reward,
            s.measure,
            s.max_units,
            s.seeds,
            s.max_new_tokens,
        )
        for name, s in SUITES.items()
        if "ci" not in s.tags
    }
    assert told == {
        "micro": (4, "micro", "micro", "token", "threshold", DEFAULT, 128, 5, 30),
        "micro-seq2seq": (2, "micro", "micro-seq2seq", "token", "threshold", DEFAULT, 128, 5, 30),
        "micro-word": (2, "micro", "micro", "word", "threshold", DEFAULT, 128, 5, 30),
        "instruct": (2, "instruct", "smollm2", "token", "faithful", DEFAULT, 256, 3, 30),
        "alpaca-plus": (3, None, None, "token", "threshold", "rouge_l", 512, 3, 128),
        "t0-short": (4, None, None, "token", "threshold", DEFAULT, 512, 3, 128),
        "self-instruct-seed": (1, None, None, "token", "threshold", DEFAULT, 512, 3, 128),
        "prompts-chat": (1, None, None, "token", "threshold", DEFAULT, 512, 3, 128),
        "ifeval": (1, None, None, "token", "threshold", DEFAULT, 512, 3, 256),
    }


def test_suites_can_be_kept_in_sets():
    assert len(set(SUITES.values())) == len(SUITES)


@pytest.mark.parametrize("changes", [{"seeds": 0}, {"splits": ()}])
def test_impossible_suites_are_refused(changes):
    with pytest.raises(ValueError, match="must be"):
        dataclasses.replace(SUITES["micro"], **changes)
