"""The paper's reward, from prompt and mask to what is paid, worked out by hand.

A token is a word here, so that everything can be counted. With n words of the prompt, n' of them
left and f of the template's ("Instruction:" and "Output:", with an input "Input:", too):

    compression ratio = 1 - (n' - f) / (n - f)
    similarity = 2 L / (a + b), the ROUGE-L F1 of two answers of a and b words (runs of a to z and
        0 to 9 in lower case) with a longest common subsequence of L; 1 if the answers are equal
    reward = compression ratio if similarity > 0.9, else -0.01

The conventions have tests of their own: the threshold is strict (`test_rewards.py`), the template
does not count (`test_scorer.py`), and ROUGE-L is F1 without stemming (`test_rouge.py`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import models
from fakes import CountingGenerator
from pcrl_gym.episodes.episode import Episode, EpisodeBuilder
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import AlpacaTemplate
from pcrl_gym.scoring.rewards import make_reward
from pcrl_gym.scoring.scorer import Scorer, Scores

DATA = Path(os.environ.get("PCRL_DATA", Path(__file__).parents[2] / "shared" / "data"))
"""Prompts that other people wrote, where somebody put them."""


@dataclass(frozen=True)
class Case:
    """A prompt, the places of the words dropped among the user's, two answers, and the figures."""

    instruction: str
    input: str
    drop: tuple[int, ...]
    left: str
    words: tuple[int, int, int]
    answers: tuple[str, str]
    ratio: float
    similarity: float
    reward: float


CASES = [
    # 9 words of the user's and 2 of the template's, 5 dropped: 1 - (6 - 2) / (11 - 2) = 5/9.
    Case(
        "Could you please name the capital city of France?", "", (0, 1, 2, 4, 6),
        "Instruction:  name capital of France?\nOutput: \n", (11, 6, 2),
        ("Paris", "Paris"), 5 / 9, 1.0, 5 / 9,
    ),
    # 6 + 4 and 3, 2 dropped: 1 - (11 - 3) / (13 - 3) = 2/10.
    Case(
        "Sort the numbers in ascending order.", "42, 7, 19, 3", (1, 2),
        "Instruction: Sort in ascending order.\nInput: 42, 7, 19, 3\nOutput: \n", (13, 11, 3),
        ("3, 7, 19, 42", "3, 7, 19, 42"), 0.2, 1.0, 0.2,
    ),
    # 7 and 2, 1 dropped: 1/7. No common word: L = 0.
    Case(
        "List three fruits that are not red.", "", (5,),
        "Instruction: List three fruits that are red.\nOutput: \n", (9, 8, 2),
        ("banana kiwi orange", "apple cherry strawberry"), 1 / 7, 0.0, -0.01,
    ),
    # 6 + 10 and 3, 2 dropped: 2/16. 9 and 11 words, L = 9: 18/20 = 0.9, which is not above 0.9.
    Case(
        "Summarise the text in one sentence.",
        "The museum opens late on Thursdays and closes at nine.", (1, 2),
        "Instruction: Summarise in one sentence.\n"
        "Input: The museum opens late on Thursdays and closes at nine.\nOutput: \n", (19, 17, 3),
        (
            "The museum opens late on Thursdays and closes nine.",
            "The museum opens late on Thursdays and it closes at nine.",
        ), 0.125, 0.9, -0.01,
    ),
    # 6 + 10 and 3, 1 dropped: 1/16. 10 and 11 words, L = 10: 20/21.
    Case(
        "Repeat the notice word by word.",
        "The museum opens late on Thursdays and closes at nine.", (1,),
        "Instruction: Repeat notice word by word.\n"
        "Input: The museum opens late on Thursdays and closes at nine.\nOutput: \n", (19, 18, 3),
        (
            "The museum opens late on Thursdays and closes at nine.",
            "The museum opens late on Thursdays and it closes at nine.",
        ), 0.0625, 20 / 21, 0.0625,
    ),
    # 7 + 4 and 3, 2 dropped: 2/11. Of "crème brûlée" ROUGE sees "cr me br l e"; with "orange" 6
    # words in both, L = 6.
    Case(
        "Translate the menu item into English, please.", "crème brûlée à l'orange", (1, 6),
        "Instruction: Translate menu item into English,\nInput: crème brûlée à l'orange\n"
        "Output: \n", (14, 12, 3),
        ("orange crème brûlée", "Orange Crème Brûlée"), 2 / 11, 1.0, 2 / 11,
    ),
    # 2 + 4 and 3, 2 dropped: 2/6. 6 and 5 words, L = 5: 10/11.
    Case(
        "把下面的句子翻译成英文 。", "今天 天气 很 好", (11, 16),
        "Instruction: 把下面的句子翻译成英文\nInput: 今天 天气 好\nOutput: \n", (9, 7, 3),
        ("The weather is very nice today", "The weather is nice today"), 1 / 3, 10 / 11, 1 / 3,
    ),
    # 8 and 2, 3 dropped: 3/8. Equal answers, though ROUGE sees no word in them.
    Case(
        "Answer in Japanese: how do you say cat?", "", (3, 4, 5),
        "Instruction: Answer in Japanese: say cat?\nOutput: \n", (10, 7, 2),
        ("猫", "猫"), 0.375, 1.0, 0.375,
    ),
    # 8 and 2, 1 dropped: 1/8. Other answers, and ROUGE sees no word in them.
    Case(
        "Answer in Japanese: how do you say dog?", "", (7,),
        "Instruction: Answer in Japanese: how do you say\nOutput: \n", (10, 9, 2),
        ("犬", "猫"), 0.125, 0.0, -0.01,
    ),
    # 7 + 6 and 3, 2 dropped: 2/13. "Input:" in the user's text is text like any other.
    Case(
        "Explain what Input: means in this form.", "Input: your name Output: a badge", (2, 7),
        "Instruction: Explain what means in this form.\nInput:  your name Output: a badge\n"
        "Output: \n", (16, 14, 3),
        ("It marks where you write.", "It marks where you write."), 2 / 13, 1.0, 2 / 13,
    ),
    # 2 and 2, 2 dropped: 1 - (2 - 2) / (4 - 2) = 1. 2 and 1 words, L = 1: 2/3.
    Case(
        "Hello there", "", (0, 1),
        "Instruction: \nOutput: \n", (4, 2, 2),
        ("hello there", "hello"), 1.0, 2 / 3, -0.01,
    ),
    # 6 and 2, none dropped: 0, which is paid.
    Case(
        "Write a haiku about autumn rain.", "", (),
        "Instruction: Write a haiku about autumn rain.\nOutput: \n", (8, 8, 2),
        ("Rain taps on dry leaves", "Rain taps on dry leaves"), 0.0, 1.0, 0.0,
    ),
    # 6 + 12 and 3, 3 dropped: 3/18. Case and full stop are nothing to ROUGE: L = 1 of 1 and 1.
    Case(
        "Is this review positive or negative?",
        "The soup was cold,\nthe waiter rude,\nbut the cake was superb.", (6, 10, 14),
        "Instruction: Is this review positive or negative?\n"
        "Input:  soup was cold, waiter rude,\nbut cake was superb.\nOutput: \n", (21, 18, 3),
        ("negative", "Negative."), 1 / 6, 1.0, 1 / 6,
    ),
    # 8 and 2, 2 dropped: 2/8. "play" is not "played", nor "games" "game": L = 1 of 3 and 3: 2/6.
    Case(
        "What do the children do in the park?", "", (2, 6),
        "Instruction: What do children do in park?\nOutput: \n", (10, 8, 2),
        ("they play games", "they played game"), 0.25, 1 / 3, -0.01,
    ),
    # 10 and 2, 4 dropped: 4/10. "17 3 51 51 4 55" and "55": L = 1 of 6 and 1: 2/7.
    Case(
        "Compute 17 * 3 + 4 and show each step.", "", (6, 7, 8, 9),
        "Instruction: Compute 17 * 3 + 4\nOutput: \n", (12, 8, 2),
        ("17 * 3 = 51 ; 51 + 4 = 55", "55"), 0.4, 2 / 7, -0.01,
    ),
    # 5 + 8 and 3, 2 dropped: 2/13.
    Case(
        "What does this function return?", "def f(x): return x ** 2 # square", (11, 12),
        "Instruction: What does this function return?\nInput: def f(x): return x ** 2\n"
        "Output: \n", (16, 14, 3),
        ("The square of x.", "The square of x."), 2 / 13, 1.0, 2 / 13,
    ),
    # 8 + 5 and 3, 3 dropped: 3/13.
    Case(
        "Reply with one emoji 🙂 to this message", "I passed the exam 🎉🎉", (4, 10, 12),
        "Instruction: Reply with one emoji to this message\nInput: I passed exam\nOutput: \n",
        (16, 13, 3), ("🎉", "🎉"), 3 / 13, 1.0, 3 / 13,
    ),
    # 7 and 2, 3 dropped: 3/7. 5 and 3 words, L = 3: 6/8.
    Case(
        "Explain </s> and <pad> to a beginner", "", (4, 5, 6),
        "Instruction: Explain </s> and <pad>\nOutput: \n", (9, 6, 2),
        ("They end and fill texts.", "They end texts."), 3 / 7, 0.75, -0.01,
    ),
    # 16 and 2, 7 dropped: 7/16. L = 3 of 3 and 3.
    Case(
        "Tell me, tell me, tell me: what is the boiling point of water in degrees Celsius?", "",
        (0, 1, 2, 3, 4, 5, 8),
        "Instruction:  what is boiling point of water in degrees Celsius?\nOutput: \n",
        (18, 11, 2), ("100 degrees Celsius", "100 Degrees Celsius."), 0.4375, 1.0, 0.4375,
    ),
    # 5 and 2, 1 dropped: 1/5. The same words in another order: L = 1 of 3 and 3: 2/6.
    Case(
        "Name the two largest oceans.", "", (1,),
        "Instruction: Name two largest oceans.\nOutput: \n", (7, 6, 2),
        ("Pacific and Atlantic", "Atlantic and Pacific"), 0.2, 1 / 3, -0.01,
    ),
]  # fmt: skip


def score(
    prompt: Prompt, drop: tuple[int, ...], answers: tuple[str, str]
) -> tuple[Episode, Scores]:
    """Drop the user's words at some places; answer the prompt as it was, and what is left."""
    builder = EpisodeBuilder(models.gpt2_tokenizer(), AlpacaTemplate(), unit="word")
    (episode,) = builder([prompt])
    mask = np.ones(len(episode), np.int8)
    mask[np.flatnonzero(episode.droppable)[list(drop)]] = 0
    by_text = {episode.compress(mask): answers[1], episode.text: answers[0]}
    scorer = Scorer(
        CountingGenerator(by_text.__getitem__), make_reward("threshold:measure=rouge_l"), 200
    )
    return episode, scorer([episode], [mask])


def counts(scores: Scores) -> tuple[int, int, int]:
    """Words of the prompt, of what is left of it, and of the template."""
    return (
        int(scores.original_tokens[0]),
        int(scores.compressed_tokens[0]),
        int(scores.template_tokens[0]),
    )


@pytest.mark.parametrize("case", CASES, ids=[case.instruction[:20] for case in CASES])
def test_masks_ratios_similarities_and_rewards_by_hand(case: Case) -> None:
    prompt = Prompt("0", case.instruction, case.input)
    _, scores = score(prompt, case.drop, case.answers)
    assert scores.compressed_prompts == [case.left]
    assert counts(scores) == case.words
    assert scores.compression_ratio[0] == pytest.approx(case.ratio, abs=1e-15)
    assert scores.similarity[0] == pytest.approx(case.similarity, abs=1e-15)
    assert scores.reward[0] == pytest.approx(case.reward, abs=1e-15)


REAL = [
    # Dataset, split and row; places dropped; whether the answer loses its last word; words of
    # prompt, rest and template; words of the gold answer and of the given one, for ROUGE (the
    # shorter is a part of the longer, so L is its length); ratio, similarity, reward.
    ("t0_short", "seen", 3, (11, 12, 31, 32), 0, (54, 50, 2), 4 / 52, 1.0, 4 / 52),
    ("t0_short", "seen", 250, (0, 5, 9), 1, (21, 18, 2), 3 / 19, 0.0, -0.01),  # 1 and 0
    (
        "t0_short", "seen", 507, (0, 1, 18, 19, 36, 37, 38, 39, 40, 41), 0, (52, 42, 2),
        10 / 50, 1.0, 0.2,
    ),
    ("t0_short", "seen", 761, (2, 6, 9, 30, 37, 40, 47), 0, (54, 47, 2), 7 / 52, 1.0, 7 / 52),
    ("t0_short", "seen", 998, (3, 7, 10, 33), 1, (54, 50, 2), 4 / 52, 0.0, -0.01),  # 1 and 0
    ("t0_short", "unseen", 10, (0, 6, 9, 13, 27, 37, 39), 0, (51, 44, 2), 7 / 49, 1.0, 1 / 7),
    ("t0_short", "unseen", 333, (0, 1), 1, (12, 10, 2), 2 / 10, 2 / 3, -0.01),  # 2 and 1
    (
        "t0_short", "unseen", 640, (0, 1, 2, 3, 7, 10, 11, 14, 18), 0, (29, 20, 2),
        9 / 27, 1.0, 1 / 3,
    ),
    ("t0_short", "unseen", 901, (3, 16, 20, 32, 38), 1, (42, 37, 2), 1 / 8, 14 / 15, 0.125),  # 8, 7
    ("alpaca_plus", "seen", 0, (1,), 1, (11, 10, 3), 1 / 8, 0.75, -0.01),  # 5 and 3: 6/8
    ("alpaca_plus", "seen", 1, (1, 3, 9), 1, (21, 18, 3), 3 / 18, 32 / 33, 1 / 6),  # 17 and 16
    ("alpaca_plus", "seen", 3, (2, 5), 1, (17, 15, 3), 2 / 14, 18 / 19, 1 / 7),  # 10 and 9
    ("alpaca_plus", "seen", 50, (1, 5, 13), 1, (42, 39, 3), 3 / 39, 50 / 51, 1 / 13),  # 26 and 25
    ("alpaca_plus", "seen", 80, (7,), 1, (20, 19, 3), 1 / 17, 10 / 11, 1 / 17),  # 6 and 5
    ("alpaca_plus", "seen", 92, (1, 2, 6), 1, (15, 12, 3), 3 / 12, 12 / 13, 0.25),  # 7 and 6
    ("alpaca_plus", "unseen", 0, (1, 4), 1, (11, 9, 3), 2 / 8, 0.0, -0.01),  # 1 and 0
    ("alpaca_plus", "unseen", 2, (4, 5, 6, 7), 1, (19, 15, 3), 4 / 16, 14 / 15, 0.25),  # 8 and 7
    ("alpaca_plus", "unseen", 3, (1, 2), 1, (16, 14, 3), 2 / 13, 14 / 15, 2 / 13),  # 8 and 7
    ("alpaca_plus", "unseen", 55, (2, 5, 6), 1, (16, 13, 3), 3 / 13, 26 / 27, 3 / 13),  # 14 and 13
    ("alpaca_plus", "unseen", 66, (1, 4), 1, (17, 15, 3), 2 / 14, 11 / 12, 1 / 7),  # 13, 11: 22/24
]  # fmt: skip


@pytest.mark.skipif(not DATA.is_dir(), reason="no real prompts at hand: set PCRL_DATA")
@pytest.mark.parametrize("case", REAL, ids=[f"{case[0]}-{case[1]}-{case[2]}" for case in REAL])
def test_real_prompts_by_hand(case) -> None:
    dataset, split, row, drop, shortened, words, ratio, similarity, reward = case
    prompt = load_prompts(DATA / dataset, f"validation_{split}")[row]
    answer = prompt.output.split()
    left = " ".join(answer[:-1] if shortened else answer)
    episode, scores = score(prompt, drop, (prompt.output, left))
    user = [*prompt.instruction.split(), *prompt.input.split()]
    kept = [word for place, word in enumerate(user) if place not in drop]
    frame = episode.template_text.split()
    assert sorted(scores.compressed_prompts[0].split()) == sorted([*frame, *kept])
    assert counts(scores) == words
    assert scores.compression_ratio[0] == pytest.approx(ratio, abs=1e-15)
    assert scores.similarity[0] == pytest.approx(similarity, abs=1e-15)
    assert scores.reward[0] == pytest.approx(reward, abs=1e-15)
