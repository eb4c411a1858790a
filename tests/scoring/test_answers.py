"""Nothing is asked twice: not in a batch, not in a run, and with a cache not in the next one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import pcrl_gym.scoring.answers
from fakes import CountingGenerator
from pcrl_gym import make_task
from pcrl_gym.errors import GeneratorError
from pcrl_gym.generators.base import Answer, Decided, Drafts
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.scoring.answers import Answers
from pcrl_gym.scoring.early_stop import EarlyStop
from pcrl_gym.scoring.rewards import ThresholdReward
from pcrl_gym.scoring.scorer import Scorer
from pcrl_gym.storage.disk_cache import DiskCache


class Drafted(CountingGenerator):
    """A counting generator that takes drafts and remembers them."""

    fingerprint = "drafted-1"

    def __init__(self, answer: Callable[[str], str] = str.upper) -> None:
        super().__init__(answer)
        self.drafts: list[Answer | str] = []

    def generate_from(
        self, prompts: Sequence[str], drafts: Drafts, max_new_tokens: int, decided: Decided = None
    ) -> list[Answer]:
        self.drafts += drafts
        answers = self.generate(prompts, max_new_tokens)
        for i, answer in enumerate(answers):
            words = answer.text.split()
            for k in range(1, len(words)):
                so_far = " ".join(words[:k]) + " "
                if decided is not None and decided(i, so_far, max_new_tokens - k):
                    answers[i] = Answer(so_far.strip(), partial=True)
                    break
        return answers


def test_original_prompts_are_answered_once_with_the_expected_answer_as_draft() -> None:
    generator = Drafted()
    answers = Answers(generator, 30)
    originals, nothing = answers(["a", "b", "a"], ["x", "y", "x"])
    assert [a.text for a in originals] == ["A", "B", "A"]
    assert nothing == []
    assert answers(["b"], ["other"])[0][0].text == "B"
    assert generator.prompts == ["a", "b"]
    assert generator.drafts == ["x", "y"]


def test_compressed_prompts_are_drafted_with_the_original_answer() -> None:
    generator = Drafted()
    answers = Answers(generator, 30)
    prompts = ["a b c"] * 3
    [original, *_], first = answers(prompts, [""] * 3, ["a b", "a b", "a b c"])
    assert [s.answer.text for s in first] == ["A B", "A B", "A B C"]
    assert [s.similarity for s in first] == [pytest.approx(0.8), pytest.approx(0.8), 1.0]
    assert generator.drafts == ["", original]
    assert generator.prompts == ["a b c", "a b"]  # keeping everything asks for nothing
    answers(prompts[:1], [""], ["a b"])
    assert len(generator.prompts) == 2


def test_a_generator_without_drafts_is_called_once_for_both() -> None:
    generator = CountingGenerator()
    answers = Answers(generator, 30)
    answers(["a b c", "d e"], ["", ""], ["a b", "a b c"])
    assert generator.generate_calls == [["a b c", "d e", "a b"]]
    answers(["a b c", "f"], ["", ""], ["a b", "a"])
    assert generator.generate_calls[1:] == [["f", "a"]]
    answers(["f"], [""], ["a"])
    assert len(generator.generate_calls) == 2


@pytest.mark.parametrize("kind", [Drafted, CountingGenerator])
def test_the_memory_for_compressed_prompts_is_bounded(
    kind: type[CountingGenerator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pcrl_gym.scoring.answers, "MAX_COMPRESSED_ANSWERS", 2)
    generator = kind()
    answers = Answers(generator, 30)
    for text in ("a", "b", "a", "c", "a", "b"):
        answers(["o"], [""], [text])
    # "b" was used longest ago when "c" came.
    assert generator.prompts == ["o", "a", "b", "c", "b"]


def test_a_decided_answer_is_left_and_its_similarity_is_the_bound() -> None:
    long = " ".join(f"w{n}" for n in range(10))
    generator = Drafted({"o": long, "bad": "x y z " + long, "good": long}.__getitem__)
    full = Answers(generator, 30)
    early = Answers(generator, 30, threshold=0.9)
    _, [bad, good] = early(["o", "o"], ["", ""], ["bad", "good"])
    assert bad.answer == Answer("x y z", partial=True)
    assert bad.similarity == pytest.approx(20 / 23)  # three wrong words, then all ten
    assert full(["o"], [""], ["bad"])[1][0].similarity <= bad.similarity <= 0.9
    assert not good.answer.partial
    assert good.similarity == 1.0


def test_a_decision_can_be_lifted_too() -> None:
    long = " ".join(f"w{n}" for n in range(10))
    stop = EarlyStop([long], threshold=0.9)
    assert not stop(0, long + " ", words_left=3)  # 20 / 23
    assert stop(0, long + " ", words_left=2)  # 20 / 22
    assert stop.bounds[0] == pytest.approx(20 / 22)
    assert not EarlyStop([long], threshold=None)(0, "nothing alike ", words_left=0)


def test_answers_outlive_the_run(tmp_path: Path) -> None:
    first, second, other = Drafted(), Drafted(), Drafted()
    other.fingerprint = "drafted-2"
    with DiskCache(tmp_path / "answers.db") as cache:
        Answers(first, 30, cache=cache)(["a", "b"], ["", ""])
    with DiskCache(tmp_path / "answers.db") as cache:
        [b, c], _ = Answers(second, 30, cache=cache)(["b", "c"], ["", ""])
        assert (b, c) == (Answer("B", tuple(b"B")), Answer("C", tuple(b"C")))
        assert second.prompts == ["c"]
        # Another generator or limit is another answer.
        Answers(other, 30, cache=cache)(["a"], [""])
        Answers(second, 29, cache=cache)(["a"], [""])
    assert other.prompts == ["a"]
    assert second.prompts == ["c", "a"]


def test_a_cache_needs_a_fingerprint(tmp_path: Path) -> None:
    with (
        DiskCache(tmp_path / "answers.db") as cache,
        pytest.raises(ValueError, match="fingerprint"),
    ):
        Scorer(CountingGenerator(), ThresholdReward(), cache=cache)


def test_tasks_share_a_cache_file(tmp_path: Path, gpt2_folder: Path) -> None:
    prompts = [Prompt(id=str(n), instruction=f"Write {n} words") for n in range(6)]
    rewards = []
    for _ in range(2):
        generator = HFGenerator.from_pretrained(str(gpt2_folder), device="cpu")
        asked: list[str] = []
        plain = generator.generate_from

        def generate_from(prompts, *rest, plain=plain, asked=asked):  # type: ignore[no-untyped-def]
            asked += prompts
            return plain(prompts, *rest)

        generator.generate_from = generate_from  # type: ignore[method-assign]
        task = make_task(dataset=prompts, generator=generator, cache=tmp_path / "a.db")
        masks = [np.arange(len(episode)) % 3 > 0 for episode in task.episodes]
        scores = task.scorer(list(task.episodes), masks)
        rewards.append(scores.reward)
        originals = {episode.text for episode in task.episodes}
        assert (originals & set(asked) == originals) == (len(rewards) == 1)
    np.testing.assert_array_equal(*rewards)


def test_answers_given_ahead_are_on_disk_and_nowhere_else(tmp_path: Path) -> None:
    generator = Drafted()
    with DiskCache(tmp_path / "answers.db") as cache:
        answers = Answers(generator, 30, cache=cache)
        assert answers.cache_originals(["a", "b", "a"], ["x", "y", "x"]) == 2
        assert generator.drafts == ["x", "y"]
        assert not answers._originals
        assert answers.cache_originals(["b", "c"], ["y", "z"]) == 1
        assert [a.text for a in answers(["a", "b", "c"], [""] * 3)[0]] == ["A", "B", "C"]
    assert generator.prompts == ["a", "b", "c"]


def test_with_a_cache_only_the_latest_originals_stay_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pcrl_gym.scoring.answers, "MAX_ORIGINAL_ANSWERS", 2)
    generator = Drafted()
    prompts = ["a", "b", "c", "d"]
    with DiskCache(tmp_path / "answers.db") as cache:
        answers = Answers(generator, 30, cache=cache)
        for _ in range(2):
            texts = [a.text for a in answers(prompts, [""] * 4, prompts)[0]]
            assert texts == ["A", "B", "C", "D"]
            assert list(answers._originals) == ["c", "d"]
    without = Answers(generator, 30)
    without(prompts, [""] * 4)
    assert len(without._originals) == 4
    assert generator.prompts == prompts * 2  # once with the cache, once without


def test_an_error_names_the_prompt_that_failed() -> None:
    def answer(text: str) -> str:
        if "bad" in text:
            raise GeneratorError("gave up", prompt=text)
        return text

    prompts = [Prompt(id="p1", instruction="good"), Prompt(id="p2", instruction="bad one")]
    task = make_task(dataset=prompts, generator=CountingGenerator(answer))
    episodes = list(task.episodes)
    with pytest.raises(GeneratorError, match="prompt 'p2': gave up") as failure:
        task.scorer(episodes, [np.ones(len(e), np.bool_) for e in episodes])
    assert failure.value.prompt == episodes[1].text
