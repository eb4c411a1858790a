"""Token classifiers: which label keeps, whose logits a unit gets, and long texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForTokenClassification

from agents.token_classifier import TokenClassifierAgent
from pcrl_gym.envs.task import make_task
from pcrl_gym.episodes.tokenizers import load_tokenizer
from pcrl_gym.prompts.prompt import Prompt

TEXT = "Please sort the numbers from the smallest to the largest"


@pytest.fixture(scope="module", params=["bert_folder", "roberta_folder"])
def classifier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random one of either architecture: LLMLingua-2's are XLM-RoBERTa and BERT."""
    source = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    model = AutoModelForTokenClassification.from_pretrained(source, num_labels=2)
    model.classifier.weight.data.normal_()
    model.save_pretrained(folder)
    load_tokenizer(source).save_pretrained(folder)
    return folder


def spans_of(text: str) -> np.ndarray:
    ends = [i for i, character in enumerate(text) if character == " "] + [len(text)]
    return np.array(list(zip([0, *ends[:-1]], ends, strict=True)))


def test_logits_are_those_of_the_model(classifier: Path) -> None:
    agent = TokenClassifierAgent(model=str(classifier), device="cpu")
    model = AutoModelForTokenClassification.from_pretrained(classifier).eval()
    tokenizer = load_tokenizer(classifier)
    encoding = tokenizer(TEXT, return_offsets_mapping=True, return_special_tokens_mask=True)
    with torch.no_grad():
        logits = model(torch.tensor([encoding["input_ids"]])).logits[0].double().numpy()
    spans = spans_of(TEXT)
    expected = []
    for start, end in spans:
        values = [
            float(row[1] - row[0])
            for row, (first, last), special in zip(
                logits, encoding["offset_mapping"], encoding["special_tokens_mask"], strict=True
            )
            if not special
            for place in range(first, last)
            if start <= place < end
        ]
        expected.append(np.mean(values))
    assert agent.keep_logits(TEXT, spans) == pytest.approx(expected, abs=1e-5)
    other = TokenClassifierAgent(model=str(classifier), keep_label=0, device="cpu")
    assert other.keep_logits(TEXT, spans) == pytest.approx(-np.array(expected), abs=1e-5)


def test_the_rate_is_exact_and_the_lowest_go(classifier: Path) -> None:
    task = make_task(dataset=[Prompt("0", TEXT), Prompt("1", "Hi")], unit="word", device="cpu")
    observations, infos = task.begin(task.episodes[:])
    agent = TokenClassifierAgent(model=str(classifier), rate=0.4, device="cpu")
    masks = agent.act(observations, infos)
    droppable = observations["droppable"].astype(bool)
    dropped = droppable & (masks == 0)
    assert dropped.sum(1).tolist() == [int(0.4 * count) for count in droppable.sum(1)]
    spans = np.asarray(infos[0]["spans"])[droppable[0]]
    start = spans[0][0]
    logits = agent.keep_logits(infos[0]["prompt"][start : spans[-1][1]], spans - start)
    gone = dropped[0][droppable[0]]
    assert logits[gone].max() <= logits[~gone].min()


def test_long_texts_go_through_in_windows(classifier: Path) -> None:
    agent = TokenClassifierAgent(model=str(classifier), device="cpu")
    text = " ".join([TEXT] * 60)
    logits = agent.keep_logits(text, spans_of(text))
    assert len(logits) == 600
    assert np.isfinite(logits).all()
    assert agent.keep_logits(TEXT, spans_of(TEXT)) != pytest.approx(logits[:10])  # more in view


def test_what_is_no_classifier_is_refused(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"keep_label=2, but .* has 2 labels"):
        TokenClassifierAgent(model=str(classifier), keep_label=2).keep_logits("a", [[0, 1]])
    with pytest.raises(ValueError, match="the token classifier"):
        TokenClassifierAgent(model=str(tmp_path)).keep_logits("a", [[0, 1]])
    with pytest.raises(ValueError, match="rate must be a share"):
        TokenClassifierAgent(rate=2.0)
