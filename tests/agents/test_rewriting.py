"""A language model as a compressor: what it is asked, and what becomes of its answers."""

from __future__ import annotations

from pathlib import Path

import pytest

import fault_server
from agents.base import Rewriter
from agents.rewriting import RewritingAgent
from agents.runs.evaluation import scored_batches
from fakes import CountingGenerator
from fault_server import FaultServer
from pcrl_gym.envs.task import make_task
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.prompts.prompt import Prompt

TEXTS = ["Could you please sort b a", "Tell me which of these is last: fig pear"]


def shortened(request: str) -> str:
    """Return the last two words of the prompt in a request."""
    return " ".join(request.rpartition("Prompt: ")[2].split()[-2:])


def task(generator=None):
    prompts = [Prompt(str(i), text) for i, text in enumerate(TEXTS)]
    return make_task(dataset=prompts, generator=generator or CountingGenerator(), tokenizer="micro")


def test_each_text_has_a_budget_of_its_own() -> None:
    generator = CountingGenerator(shortened)
    agent = RewritingAgent(rate=0.5)
    assert isinstance(agent, Rewriter)
    with pytest.raises(RuntimeError, match="call attach"):
        agent.rewrite(TEXTS)
    agent.attach(task(generator))
    assert agent.rewrite(TEXTS) == ["b a", "fig pear"]
    first, second = generator.generate_calls[-1]
    assert "at most 3 tokens" in first  # half of 5
    assert "at most 5 tokens" in second  # half of 9
    assert first.endswith(f"Prompt: {TEXTS[0]}")


def test_an_empty_answer_is_a_failure() -> None:
    agent = RewritingAgent()
    agent.attach(task(CountingGenerator(lambda text: "")))
    assert agent.rewrite(TEXTS[:1]) == [None]
    assert agent.rewrite([]) == []


def test_a_model_behind_a_server_rewrites(monkeypatch: pytest.MonkeyPatch) -> None:
    fault_server.set_surroundings(monkeypatch)
    with FaultServer(shortened) as server:
        agent = RewritingAgent(rate=0.3, model=f"openai:test@{server.url}")
        [(_, scores, _, failed)] = scored_batches(agent, task())
    assert failed == [False, False]
    for text, end in zip(scores.compressed_prompts, ("b a", "fig pear"), strict=True):
        assert end in text
        assert "Tell" not in text
        assert any("Rewrite the prompt" in text for text in server.asked)


def test_a_local_model_is_asked_in_its_chat_template(
    monkeypatch: pytest.MonkeyPatch, llama_folder: Path
) -> None:
    generator = load_generator(llama_folder, device="cpu")
    asked = []
    generate = generator.generate
    monkeypatch.setattr(
        generator, "generate", lambda prompts, n: asked.extend(prompts) or generate(prompts, n)
    )
    agent = RewritingAgent()
    agent.attach(task(generator))
    agent.rewrite(TEXTS[:1])
    assert asked[0].fixed
    assert TEXTS[0] in asked[0]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="rate must be a share"):
        RewritingAgent(rate=-1.0)
    with pytest.raises(ValueError, match="no/such/model/at/all"):
        RewritingAgent(model="no/such/model/at/all").attach(task())
