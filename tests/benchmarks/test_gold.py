from __future__ import annotations

import pytest

from benchmarks.evaluate import token_counter
from benchmarks.gold import AnswerCut, against_gold
from pcrl_gym.episodes.tokenizers import load_tokenizer


def test_rouge_by_hand():
    # Gold of 3 words, answer of 4. Unigrams: 3 shared, P 3/4, R 3/3. Bigrams: "red fig" alone,
    # P 1/3, R 1/2. Longest common subsequence "red fig": P 2/4, R 2/3.
    figures = against_gold("the red fig falls a", "falls red fig")
    assert figures.rouge_1 == pytest.approx(2 * (3 / 5) * 1 / (3 / 5 + 1))
    assert figures.rouge_2 == pytest.approx(2 * (1 / 4) * (1 / 2) / (1 / 4 + 1 / 2))
    assert figures.rouge_l == pytest.approx(2 * (2 / 5) * (2 / 3) / (2 / 5 + 2 / 3))


def test_equal_answers_score_1_whatever_their_script():
    assert against_gold("\u732b", "\u732b") == (1.0, 1.0, 1.0)
    assert against_gold("\u732b", "\u72ac") == (0.0, 0.0, 0.0)


def test_answers_are_cut_to_the_tokens_of_the_gold_answer():
    cut = AnswerCut(load_tokenizer("micro"))
    answer = "fig pear apple"
    assert answer[: cut(answer, "fig")].strip() == "fig"
    assert answer[: cut(answer, answer)] == answer
    assert cut("fig", answer) == 3
    assert cut("", "fig") == 0


@pytest.mark.parametrize("text", ["\U0001f600\U0001f600\U0001f600", "a\udc80b", "</s></s> </s>"])
def test_odd_answers_can_be_cut(text: str, any_tokenizer):
    cut = AnswerCut(any_tokenizer)
    encodable = text.encode("utf-8", "replace").decode()
    assert 0 <= cut(encodable, "fig") <= len(encodable)
    assert cut(encodable, encodable * 2) == len(encodable)


def test_second_tokenizers_count():
    assert token_counter("bytes")(["", "fig", "\u732b", "\udc80"]) == [0, 3, 3, 3]
    micro = load_tokenizer("micro")
    texts = ["Please sort the words.", ""]
    wanted = [len(micro(text, add_special_tokens=False)["input_ids"]) for text in texts]
    assert token_counter("micro")(texts) == wanted
    with pytest.raises(ValueError, match="cannot load a tokenizer"):
        token_counter("/nowhere")
