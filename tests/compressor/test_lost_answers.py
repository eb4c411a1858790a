"""What counts as a lost answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import models
from fakes import CountingGenerator
from pcrl_gym import Prompt
from pcrl_gym.compressor.lost_answers import LostRule, verdict_lost
from pcrl_gym.episodes.episode import EpisodeBuilder
from pcrl_gym.prompts.template import make_template
from pcrl_gym.scoring.scorer import Scorer


def scored(lost_by: list[str], answer: str, kept_words: int, **fields: str):
    """Whether a prompt "one two three" is lost that keeps so many words."""
    tokenizer = models.gpt2_tokenizer()
    builder = EpisodeBuilder(tokenizer, make_template("alpaca", tokenizer), "word")
    [episode] = builder([Prompt("0", "one two three", **fields)])
    free = np.flatnonzero(episode.droppable)
    keep = np.ones(len(episode), np.bool_)
    keep[free[kept_words:]] = False
    generator = CountingGenerator(lambda text: answer if "three" in text else "four")
    rule = LostRule(lost_by)
    scores = Scorer(generator, rule)([episode], [keep])
    return bool(rule.lost(scores, [episode.prompt])[0])


def test_what_is_lost_by_hand():
    """The likelihood falls by the share of the answer's words that are gone."""
    assert scored(["likelihood"], "three", 0)
    assert not scored(["likelihood"], "five", 0)
    assert scored(["answer"], "three", 0)
    assert not scored(["answer"], "four", 0)
    gold = {"output": "five", "check": "contains"}
    assert scored(["check"], "five it is", 0, **gold)
    assert not scored(["check"], "six", 0, **gold)  # was wrong before
    assert not scored(["check"], "five", 3, **gold)
    assert not scored(["check"], "five", 0)  # no check
    assert scored(["likelihood", "check"], "five", 0, **gold)
    assert scored(["likelihood", "check"], "three", 0, **gold)


def test_the_tolerance_itself_is_accepted():
    rule = LostRule(["likelihood"], tolerance=0.25)
    prompts = [Prompt(str(i), "x") for i in range(3)]

    class Scores:
        likelihood_loss = np.array([0.25, 0.2500001, -3.0])

    assert rule.lost(Scores(), prompts).tolist() == [False, True, False]


def test_a_verdict_is_lost_only_if_it_was_right():
    prompt = Prompt("0", "x", output="yes", check="label:yes|no")
    found = [verdict_lost(prompt, a, b) for a in ("yes", "no") for b in ("yes", "no")]
    assert found == [False, True, False, False]
    assert not verdict_lost(replace(prompt, output=""), "yes", "no")
