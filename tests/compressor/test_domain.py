"""Whether a text is of a policy's kind."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.compressor.domain import count_words, domain_limit, prompt_text, tokens_per_word
from pcrl_gym.episodes.tokenizers import TextEncoder, load_tokenizer
from pcrl_gym.micro import micro_prompts, weights_folder

ENCODER = TextEncoder(load_tokenizer("micro"))
MICRO = Compressor.from_pretrained("micro", device="cpu")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        (" \n\t", 0),
        ("Sort: b, a1", 3),
        ("día größer", 2),
        ("a_b == [3]", 2),
        ("\U0001f600!\U0001f680", 2),
        ("5 €", 2),
    ],
)
def test_words_by_hand(text: str, words: int):
    assert count_words(text) == (words, 0)


def test_tokens_of_words_by_hand():
    text = "über, x"
    tokens = [(0, 1), (0, 1), (1, 3), (3, 4), (4, 5), (5, 6), (5, 7), (7, 7)]
    assert count_words(text, tokens) == (2, 5)  # not the comma, the space and the empty one


def test_tokens_per_word_by_hand():
    assert MICRO.tokenizer.tokenize("Please sort:") == ["P", "lease", "\u0120sort", ":"]
    values = tokens_per_word(["Please sort:", "\n\nPlease sort:\n ", ":", ""], ENCODER)
    assert values.tolist() == [(3 + 8) / (2 + 8)] * 2 + [1.0, 1.0]


def test_one_training_prompt_in_200_is_over_the_limit():
    texts = [prompt_text(p.instruction, p.input) for p in micro_prompts("validation_seen")]
    over = tokens_per_word(texts, ENCODER) > domain_limit(texts, ENCODER)
    assert 0 < over.sum() <= 5


def test_the_limit_of_the_micro_policy_is_that_of_its_training_prompts():
    texts = [prompt_text(p.instruction, p.input) for p in micro_prompts("train")]
    settings = json.loads((weights_folder("policy") / "compressor.json").read_text())
    assert settings["max_tokens_per_word"] == pytest.approx(domain_limit(texts, ENCODER), abs=1e-4)


@pytest.mark.parametrize("split", ["validation_seen", "validation_unseen", "validation_human"])
def test_the_micro_policy_knows_its_own_prompts(split: str):
    prompts = micro_prompts(split)
    texts = [prompt_text(p.instruction, p.input) for p in prompts]
    assert np.mean(tokens_per_word(texts, ENCODER) > MICRO.max_tokens_per_word) < 0.02


@pytest.mark.parametrize(
    "text",
    [
        "Hi team, I was charged twice for my subscription last month (invoice 20-4431). Could you "
        "refund the second payment? Thanks, Maria",
        "SELECT name, COUNT(*) FROM orders WHERE created_at > '2024-01-01' GROUP BY name;",
        "Könnten Sie mir bitte sagen, wann der nächste Zug nach Hamburg fährt?",
        "Pouvez-vous résumer cet article en trois phrases, s'il vous plaît ?",
        "请帮我把这句话翻译成英文。",
        "Пожалуйста, переведите это предложение на английский.",
        "def total(rows):\n    return sum(row.price for row in rows)",
        "😀🚀👩‍🚀🧪😀",
        '{"id": 17, "status": "shipped", "carrier": "DHL"}',
        '<div class="row"><span>Total</span></div>',
        "https://example.org/a/b?c=d",
        "I am planning a wedding for ninety guests next September. Suggest a vegetarian menu.",
    ],
)
def test_the_micro_policy_knows_other_texts_as_such(text: str):
    assert MICRO(text).in_domain is False
    assert MICRO(instruction=text).in_domain is False
    assert MICRO(text).to_dict()["in_domain"] is False
    assert MICRO(instruction="Please sort.", input=text).in_domain is False


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "Could you please sort these words for me: pear, fig, apple",
        "Please add 3 and 12.",
    ],
)
def test_the_micro_policy_knows_its_kind_in_both_forms(text: str):
    assert MICRO(text).in_domain is True
    assert MICRO(instruction=text).in_domain is True
