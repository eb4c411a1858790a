"""Any compressor of texts as an agent, with records and a row of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.base import Agent, Rewriter, make_agent
from agents.runs.evaluation import AgentError, scored_batches
from agents.text_compressor import TextCompressorAgent
from fakes import CountingGenerator
from pcrl_gym.envs.task import make_task
from pcrl_gym.prompts.prompt import Prompt

MODULE = """
def shorten(text):
    if "fail" in text:
        raise ValueError("no")
    if "answer" in text:
        return "say red green blue yellow"
    return text.replace("please ", "").replace("Kindly", "Do")

def keep_half(text, rate=None):
    return text[: int(len(text) * (1 - rate))]
"""
PROMPTS = [
    Prompt("cut", "Could you please sort b a"),
    Prompt("rewritten", "Kindly sort b a"),
    Prompt("leak", "Tell me the answer"),
    Prompt("failed", "please fail"),
]


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_shortener.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)


def task(**options):
    generator = CountingGenerator(lambda text: "red green blue yellow" if "answer" in text else "b")
    return make_task(dataset=PROMPTS, generator=generator, tokenizer="micro", **options)


def test_texts_are_scored_and_failures_send_the_original() -> None:
    agent = make_agent("compressor:target=my_shortener:shorten")
    assert isinstance(agent, Rewriter)
    assert not isinstance(agent, Agent)
    with pytest.warns(UserWarning, match="my_shortener:shorten: ValueError: no; the original is"):
        [(batch, scores, milliseconds, failed)] = scored_batches(agent, task())
    assert [episode.prompt.id for episode in batch] == [prompt.id for prompt in PROMPTS]
    assert failed == [False, False, False, True]
    assert scores.leaked.tolist() == [False, False, True, False]
    assert scores.compressed_prompts[3] == scores.prompts[3]
    assert "Could you sort b a" in scores.compressed_prompts[0]
    assert "Do sort b a" in scores.compressed_prompts[1]
    assert milliseconds > 0.0


def test_a_rate_is_passed_on() -> None:
    agent = TextCompressorAgent(target="my_shortener:keep_half", rate=0.5)
    [(batch, scores, _, _)] = scored_batches(agent, task())
    for episode, text in zip(batch, scores.compressed_prompts, strict=True):
        start, end = episode.body_span
        half = episode.text[start : start + int((end - start) * 0.5)]
        assert text == episode.text[:start] + half + episode.text[end:]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"target must be module:function .*, got 'shorten'"):
        TextCompressorAgent(target="shorten")
    with pytest.raises(ValueError, match="rate must be a share"):
        TextCompressorAgent(rate=2.0)
    with pytest.raises(ValueError, match="timeout"):
        make_agent("compressor:timeout=0")
    agent = TextCompressorAgent(target="my_shortener:shorten", rate=0.5)
    with pytest.raises(ValueError, match="has no argument 'rate'"):
        next(scored_batches(agent, task()))


def test_an_agent_that_loses_texts_is_refused() -> None:
    class Lossy:
        name = "lossy"

        def rewrite(self, texts):
            return texts[1:]

    with pytest.raises(AgentError, match="Agent lossy: expected 4 texts, got 3"):
        next(scored_batches(Lossy(), task()))
