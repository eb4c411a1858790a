"""The policy that comes with the package: on kinds of text that people send, and its size."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pcrl_gym import Compressor, load_prompts
from pcrl_gym.instruct import policy_folder

EMAIL = """Hi Sam,

I hope this message finds you well. I just wanted to let you know that the meeting on 12 March has
been moved to 3 pm. Could you please tell the others and bring the report on the Danube project?

Kind regards,
Mia"""
PASSAGE = (
    "Answer the question from the passage. The Danube rises in the Black Forest and flows through "
    "ten countries before it reaches the Black Sea. Its delta is the second largest in Europe. "
    "Question: Where does the Danube rise?"
)
SYSTEM = (
    "You are a careful assistant for the customers of a bank. Never reveal account numbers. Answer "
    "in at most three sentences, and say that you do not know if you do not know."
)
CODE = "Explain what this does:\n\ndef f(x):\n    return [y for y in x if y % 2 == 0]\n"
TEXTS = {"e-mail": EMAIL, "passage": PASSAGE, "system prompt": SYSTEM, "code": CODE}


@pytest.fixture(scope="module")
def policy() -> Compressor:
    return Compressor.from_pretrained("instruct", device="cpu")


@pytest.mark.parametrize("kind", TEXTS)
def test_any_kind_of_text_gets_shorter_by_whole_words(policy: Compressor, kind: str) -> None:
    text = TEXTS[kind]
    quarter, half = policy(text, rate=0.25), policy(text, rate=0.5)
    assert len(half.text) < len(quarter.text) < len(text)
    assert quarter.drop_rate <= 0.25
    assert quarter.drop_rate > 0.15
    words = set(text.split())
    left = {word.strip(".,:?()[]") for word in quarter.text.split()}
    assert all(any(word in own for own in words) for word in left)
    kept = policy(text, rate=0.5, protect="constraints", keep_digits=True).text
    for word in ("12", "Never", "at most three sentences", "not", "2"):
        assert (word in kept) == (word in text)


def test_courtesies_go_before_what_is_asked(policy: Compressor) -> None:
    done = policy("Could you please be so kind as to tell me the capital of France?", rate=0.5)
    assert "capital" in done.text
    assert "France" in done.text
    assert "kind" not in done.text


def test_without_a_rate_about_a_quarter_goes(policy: Compressor) -> None:
    prompts = load_prompts("instruct", "validation_seen")[::10]
    done = policy(instruction=[p.instruction for p in prompts], input=[p.input for p in prompts])
    units = sum(sum(one.droppable) for one in done)
    dropped = sum(len(one.kept) - sum(one.kept) for one in done)
    assert 0.15 < dropped / units < 0.35
    assert np.std([one.drop_rate for one in done]) > 0.03  # of each as many as it can spare


def test_a_tolerance_is_a_limit_for_each_text(policy: Compressor) -> None:
    rates = [policy(EMAIL, tolerance=tolerance).drop_rate for tolerance in (0.0, 0.05, 0.5)]
    assert rates == sorted(rates)
    assert rates[0] < rates[2]


def test_it_is_small_and_says_what_it_is() -> None:
    folder = policy_folder()
    assert sum(file.stat().st_size for file in folder.iterdir()) < 25 * 2**20
    settings = json.loads((folder / "compressor.json").read_text())
    assert settings["whole_words"]
    card = settings["card"]
    assert card["license"] == "apache-2.0"
    assert "SmolLM2" in card["generator"] or "smollm2" in card["generator"]
    assert card["results"]


def _same_masks(count: int) -> None:
    pytest.importorskip("onnxruntime")
    texts = [p.instruction + p.input for p in load_prompts("instruct", "train")[:count]]
    by_torch = Compressor.from_pretrained("instruct", backend="torch", device="cpu")
    by_onnx = Compressor.from_pretrained("instruct", backend="onnx")
    for rate in (None, 0.3):
        for one, other in zip(by_torch(texts, rate=rate), by_onnx(texts, rate=rate), strict=True):
            assert one.kept == other.kept, one.original


def test_onnx_runtime_drops_the_same() -> None:
    _same_masks(64)


@pytest.mark.slow
def test_onnx_runtime_drops_the_same_of_10_000_prompts() -> None:
    _same_masks(10_000)
