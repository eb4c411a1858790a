from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

import fakes
import models
from env_fixtures import SCORE_KEYS
from fakes import CountingGenerator
from pcrl_gym.episodes.episode import Episode, EpisodeBuilder
from pcrl_gym.errors import GeneratorError, PromptTooLongError
from pcrl_gym.generators.base import Answer
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import AlpacaTemplate
from pcrl_gym.scoring.rewards import (
    LikelihoodReward,
    Reward,
    RewardInputs,
    ThresholdReward,
    make_reward,
)
from pcrl_gym.scoring.scorer import Scorer, Scores

TEXTS = [
    ("Name the last fruit.", "apple banana cherry"),
    ("Say yes", ""),
    ("", ""),
    ("把这些词倒过来写", "猫 🙂 犬"),
    ("one", "مرحبا بالعالم </s> Input: x"),
]


def build(texts: Sequence[tuple[str, str]], unit: str = "word") -> list[Episode]:
    prompts = [Prompt(id=f"p{i}", instruction=a, input=b) for i, (a, b) in enumerate(texts)]
    return EpisodeBuilder(models.gpt2_tokenizer(), AlpacaTemplate(), unit=unit)(prompts)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    return build(TEXTS)


def keep_all(episodes: Sequence[Episode]) -> list[np.ndarray]:
    return [np.ones(len(e), dtype=np.int8) for e in episodes]


def drop_all(episodes: Sequence[Episode]) -> list[np.ndarray]:
    return [np.zeros(len(e), dtype=np.int8) for e in episodes]


def scorer(generator: CountingGenerator | None = None, reward: str = "threshold") -> Scorer:
    return Scorer(generator or CountingGenerator(), make_reward(reward))


def test_terms_are_what_their_formulas_say() -> None:
    [episode] = build([("Name the last fruit.", "apple banana cherry")])
    generator = CountingGenerator(answer=lambda text: " ".join(text.split()[1:3]))
    mask = np.ones(len(episode), dtype=np.int8)
    free = np.flatnonzero(episode.droppable)
    mask[free[1]] = 0  # "the"
    mask[free[5]] = 0  # "banana"
    scores = Scorer(generator, ThresholdReward())([episode], [mask])
    assert scores.compressed_prompts == [
        "Instruction: Name last fruit.\nInput: apple cherry\nOutput: \n"
    ]
    assert scores.prompts == [episode.text]
    assert scores.outputs == ["Name the"]
    assert scores.compressed_outputs == ["Name last"]
    # Words: 10 in the prompt, 3 of them the template's, 8 after dropping two of seven.
    assert (scores.original_tokens, scores.compressed_tokens, scores.template_tokens) == (10, 8, 3)
    assert scores.compression_ratio == pytest.approx(2 / 7)
    assert scores.drop_rate == pytest.approx(2 / 7)
    assert scores.similarity == pytest.approx(0.5)
    assert scores.reward == -0.01
    assert np.isnan(scores.log_likelihood).all()


def test_keeping_everything_costs_no_generation_beyond_the_originals(
    episodes: list[Episode],
) -> None:
    generator = CountingGenerator()
    score = scorer(generator)
    for _ in range(3):
        scores = score(episodes, keep_all(episodes))
        assert scores.compressed_prompts == scores.prompts == [e.text for e in episodes]
        np.testing.assert_array_equal(scores.similarity, 1.0)
        for term in (scores.reward, scores.compression_ratio, scores.drop_rate):
            np.testing.assert_array_equal(term, 0.0)
    assert generator.generate_calls == [[e.text for e in episodes]]


def test_dropping_everything_leaves_the_template(episodes: list[Episode]) -> None:
    scores = scorer()(episodes, drop_all(episodes))
    assert scores.compressed_prompts == [e.template_text for e in episodes]
    users = np.array([e.droppable.any() for e in episodes])
    np.testing.assert_array_equal(scores.drop_rate, users.astype(float))
    np.testing.assert_array_equal(scores.compression_ratio, users.astype(float))
    np.testing.assert_array_equal(scores.compressed_tokens, scores.template_tokens)


def test_each_distinct_text_is_answered_once() -> None:
    episodes = build([TEXTS[0]]) * 4 + build([TEXTS[1]])
    masks = keep_all(episodes)
    free = np.flatnonzero(episodes[0].droppable)
    masks[0][free[0]] = masks[1][free[0]] = 0  # the same twice
    masks[2][free[1]] = 0
    generator = CountingGenerator()
    score = scorer(generator)
    first = score(episodes, masks)
    assert len(generator.generate_calls) == 1
    assert sorted(generator.prompts) == sorted({*first.prompts, *first.compressed_prompts})
    second = score(episodes[:1], masks[:1])
    assert second.reward == first.reward[0]
    assert len(generator.generate_calls) == 1


def test_batch_and_single_calls_agree(episodes: list[Episode]) -> None:
    rng = np.random.default_rng(0)
    masks = [rng.integers(0, 2, len(e)) for e in episodes]
    together = scorer()(episodes, masks)
    for i, (episode, mask) in enumerate(zip(episodes, masks, strict=True)):
        assert scorer()([episode], [mask]).info(0) == together.info(i)


def test_masks_may_be_short_padded_or_one_array() -> None:
    episodes = build([TEXTS[0], TEXTS[1]])
    padded = np.zeros((2, 40), dtype=np.int8)
    short = [np.zeros(3, dtype=bool), np.zeros(0, dtype=np.int8)]
    scores = scorer()(episodes, padded)
    assert scores.compressed_prompts == [e.template_text for e in episodes]
    scores = scorer()(episodes, short)
    assert scores.compressed_prompts[0] == episodes[0].compress(np.zeros(3, dtype=bool))
    assert scores.compressed_prompts[1] == episodes[1].text


def test_answers_without_a_latin_word_survive_if_they_are_the_same() -> None:
    episodes = build([("翻译 please", "猫")])
    mask = np.ones(len(episodes[0]), dtype=np.int8)
    mask[np.flatnonzero(episodes[0].droppable)[2]] = 0
    for answer, expected in (("🙂 猫", 1.0), ("", 1.0)):
        scores = scorer(CountingGenerator(answer=lambda _, a=answer: a))(episodes, [mask])
        assert scores.similarity == expected
        assert scores.reward == scores.compression_ratio > 0
    changing = CountingGenerator(answer=lambda text: "猫" if "please" in text else "犬")
    assert scorer(changing)(episodes, [mask]).similarity == 0.0


def test_inflated_prompts_have_a_negative_ratio() -> None:
    class Inflating(CountingGenerator):
        def count_tokens(self, texts: Sequence[str]) -> list[int]:
            return [100 - len(text) for text in texts]

    [episode] = build([("a bb ccc", "")])
    mask = np.ones(len(episode), dtype=np.int8)
    mask[np.flatnonzero(episode.droppable)[1]] = 0
    # Fewer characters are more tokens here; more than the template's count is never reached.
    scores = Scorer(Inflating(), make_reward("threshold"))([episode], [mask])
    assert scores.original_tokens < scores.compressed_tokens
    assert scores.compression_ratio == 0.0  # n <= f

    class Doubling(CountingGenerator):
        def count_tokens(self, texts: Sequence[str]) -> list[int]:
            return [9 if "bb" in t else 12 if "ccc" in t else 3 for t in texts]

    scores = Scorer(Doubling(), make_reward("threshold"))([episode], [mask])
    assert scores.compression_ratio == pytest.approx(-0.5)


def test_likelihood_scores_the_original_answer_without_decoding_compressed_prompts() -> None:
    episodes = build([("alpha beta gamma", "delta omega")] * 2)
    masks = drop_all(episodes)
    generator = CountingGenerator(answer=lambda _: "beta omega")
    scores = Scorer(generator, LikelihoodReward())(episodes, masks)
    assert generator.generate_calls == [[episodes[0].text]]
    assert generator.likelihood_calls == [[episodes[0].template_text]]
    np.testing.assert_array_equal(scores.log_likelihood, -1.0)
    np.testing.assert_array_equal(scores.reward, -1.0)
    assert np.isnan(scores.similarity).all()
    assert "similarity" not in scores.info(0)
    assert "compressed_output" not in scores.info(0)
    assert scores.info(0)["log_likelihood"] == -1.0


def test_a_likelihood_loss_asks_for_each_original_once() -> None:
    episodes = build([("alpha beta gamma", "delta omega")])
    generator = CountingGenerator(answer=lambda _: "beta omega")
    own = Scorer(generator, make_reward("faithful:tolerance=0.4,penalty=-1"))
    scores = own(episodes * 2, [*drop_all(episodes), *keep_all(episodes)])
    # "beta" and "omega" are both lost, or both there.
    np.testing.assert_array_equal(scores.likelihood_loss, [1.0, 0.0])
    np.testing.assert_array_equal(scores.reward, [-1.0, 0.0])
    assert scores.info(0)["likelihood_loss"] == 1.0
    asked = sum(map(len, generator.likelihood_calls))
    own(episodes, drop_all(episodes))
    assert sum(map(len, generator.likelihood_calls)) == asked + 1  # the compressed one
    gold = own.likelihood_loss([episodes[0].text], ["gamma"], [Answer("gamma delta", (1, 2))])
    np.testing.assert_array_equal(gold, [0.5])


def test_info_holds_plain_values_by_name(episodes: list[Episode]) -> None:
    scores = scorer()(episodes, keep_all(episodes))
    assert len(scores) == len(episodes)
    info = scores.info(0)
    assert set(info) == {"prompt", *SCORE_KEYS}
    assert {type(value) for value in info.values()} == {str, float, int, bool}


def test_shapes_and_types(episodes: list[Episode]) -> None:
    scores = scorer()(episodes, drop_all(episodes))
    floats = ("reward", "similarity", "compression_ratio", "drop_rate", "log_likelihood")
    counts = ("original_tokens", "compressed_tokens", "template_tokens")
    for names, dtype in ((floats, np.float64), (counts, np.int64)):
        for name in names:
            assert getattr(scores, name).shape == (len(episodes),)
            assert getattr(scores, name).dtype == dtype


@pytest.mark.parametrize("reward", ["threshold", "linear", "band", "likelihood"])
def test_an_empty_batch_asks_for_nothing(reward: str) -> None:
    generator = CountingGenerator()
    scores = scorer(generator, reward)([], [])
    assert len(scores) == 0
    assert scores.reward.shape == (0,)
    assert not generator.generate_calls
    assert not generator.likelihood_calls


def test_too_long_prompts_are_named_before_anything_is_generated() -> None:
    episodes = build([("a b", ""), ("a b c d e f", "")])
    generator = CountingGenerator(max_prompt_tokens=10)
    score = Scorer(generator, make_reward("threshold"), max_new_tokens=4)
    assert score.max_prompt_tokens == 6
    with pytest.raises(
        PromptTooLongError, match=r"'p1' has 8 tokens.*at most 6 to leave room for 4"
    ):
        score(episodes, drop_all(episodes))
    assert not generator.generate_calls
    assert score(episodes[:1], drop_all(episodes[:1])).compression_ratio == 1.0


def test_originals_leave_room_to_grow_and_are_counted_once() -> None:
    # With the two words of the template 46, 47, 48 and 50.
    episodes = build([("word " * n, "") for n in (44, 45, 46, 48)])
    texts = [episode.text for episode in episodes]
    generator = CountingGenerator(max_prompt_tokens=80)
    score = Scorer(generator, make_reward("threshold"))
    assert (score.max_prompt_tokens, score.max_original_tokens) == (50, 47)
    np.testing.assert_array_equal(score.longer_than(47, texts), [False, False, True, True])
    assert generator.counted == texts
    score(episodes, drop_all(episodes))
    # Counted since then: the template's text and what the masks left, nothing else.
    assert set(generator.counted[len(texts) :]) == {episodes[0].template_text}
    unlimited = Scorer(CountingGenerator(), make_reward("threshold"))
    assert unlimited.max_original_tokens is None


class Failing(CountingGenerator):
    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[Answer]:
        raise KeyError("vocabulary")

    def log_likelihood(self, prompts: Sequence[str], answers: Sequence[Answer]) -> list[float]:
        raise KeyError("vocabulary")


class Short(CountingGenerator):
    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[Answer]:
        return super().generate(prompts, max_new_tokens)[:-1]


class Uncounting(CountingGenerator):
    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        raise KeyError("vocabulary")


class ShortCount(CountingGenerator):
    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return super().count_tokens(texts)[:-1]


class NaNLikelihood(CountingGenerator):
    def log_likelihood(self, prompts: Sequence[str], answers: Sequence[Answer]) -> list[float]:
        return [float("nan")] * len(prompts)


@pytest.mark.parametrize(
    ("generator", "reward", "message"),
    [
        (Failing(), "threshold", "'counting' failed in generate: KeyError: 'vocabulary'"),
        (Short(), "threshold", "returned 4 answers for 5 prompts"),
        (Uncounting(), "threshold", "'counting' failed in count_tokens: KeyError: 'vocabulary'"),
        (ShortCount(), "threshold", "returned 4 token counts for 5 prompts"),
        (NaNLikelihood(), "likelihood", "not a finite number"),
    ],
)
def test_a_failed_generator_never_becomes_a_reward(
    episodes: list[Episode], generator: CountingGenerator, reward: str, message: str
) -> None:
    with pytest.raises(GeneratorError, match=message):
        scorer(generator, reward)(episodes, keep_all(episodes))


def test_a_failure_leaves_nothing_behind(episodes: list[Episode]) -> None:
    class FailingOnce(CountingGenerator):
        broken = True

        def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[Answer]:
            if self.broken:
                self.broken = False
                raise TimeoutError("try again")
            return super().generate(prompts, max_new_tokens)

    score = scorer(FailingOnce())
    with pytest.raises(GeneratorError, match="TimeoutError"):
        score(episodes, drop_all(episodes))
    expected = scorer()(episodes, drop_all(episodes))
    np.testing.assert_array_equal(score(episodes, drop_all(episodes)).reward, expected.reward)


def test_bad_input_is_refused(episodes: list[Episode]) -> None:
    with pytest.raises(ValueError, match="one mask per episode, got 1 for 5"):
        scorer()(episodes, keep_all(episodes)[:1])
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1"):
        Scorer(CountingGenerator(), make_reward("threshold"), max_new_tokens=0)
    with pytest.raises(ValueError, match="leaves no room"):
        Scorer(CountingGenerator(max_prompt_tokens=30), make_reward("threshold"))


def test_rewards_must_be_finite_and_one_per_prompt(episodes: list[Episode]) -> None:
    class Broken(Reward):
        name = "broken"
        needs_answers = True
        needs_likelihood = False

        def __init__(self, value: object) -> None:
            self.value = value

        def __call__(self, x: RewardInputs) -> np.ndarray:
            return np.asarray(self.value)

    for value in (np.nan, [np.nan] * 5, [1.0] * 4):
        with pytest.raises(ValueError, match="'broken' must return a finite number per prompt"):
            Scorer(CountingGenerator(), Broken(value))(episodes, keep_all(episodes))


@pytest.mark.parametrize("unit", ["token", "word"])
@pytest.mark.parametrize("reward", ["threshold", "likelihood"])
@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_with_real_models(
    request: pytest.FixtureRequest, kind: str, reward: str, unit: str
) -> None:
    folder: Path = request.getfixturevalue(f"{kind}_folder")
    generator = HFGenerator.from_pretrained(str(folder), device="cpu")
    score = Scorer(generator, make_reward(reward), max_new_tokens=6)
    episodes = build(TEXTS, unit)
    rng = np.random.default_rng(1)
    random = [rng.integers(0, 2, len(e)) for e in episodes]
    results: list[Scores] = [
        score(episodes, masks) for masks in (keep_all(episodes), random, drop_all(episodes))
    ]
    for result in results:
        assert np.isfinite(result.reward).all()
        assert (result.compression_ratio <= 1.0).all()
    np.testing.assert_array_equal(results[0].compression_ratio, 0.0)
    if reward == "threshold":
        np.testing.assert_array_equal(results[0].similarity, 1.0)


def test_the_fake_counts() -> None:
    generator = fakes.CountingGenerator(max_prompt_tokens=3)
    assert generator.generate(["a b c", ""], 1)[0].text == "a"
    assert generator.prompts == ["a b c", ""]
    assert generator.count_tokens(["a b", ""]) == [2, 0]
    assert generator.log_likelihood(["a"], [Answer("a b")]) == [-0.5]


def test_pairs_of_equal_text_from_other_tokenizers(
    gpt2_tokenizer: PreTrainedTokenizerFast,
) -> None:
    # The policy's tokenizer decides about units only: counts and answers are the generator's.
    words = build([TEXTS[0]], "word")
    tokens = build([TEXTS[0]], "token")
    by_word = scorer()(words, drop_all(words))
    by_token = scorer()(tokens, drop_all(tokens))
    assert by_word.info(0) == by_token.info(0)


def body(episode: Episode) -> str:
    return episode.body_text


@pytest.mark.parametrize("reward", ["threshold", "faithful", "likelihood"])
def test_texts_that_masks_leave_are_scored_as_the_masks(
    episodes: list[Episode], reward: str
) -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random(len(e)) < 0.6 for e in episodes]
    ends = [len(e.text) - e.body_span[1] for e in episodes]
    texts = [
        (left := e.compress(mask))[e.body_span[0] : len(left) - end]
        for e, mask, end in zip(episodes, masks, ends, strict=True)
    ]
    by_mask, by_text = scorer(reward=reward)(episodes, masks), scorer(reward=reward)
    by_text = by_text.score_texts(episodes, texts)
    for name, values in vars(by_mask).items():
        if name != "kept":
            np.testing.assert_array_equal(getattr(by_text, name), values, err_msg=name)
    for one, other in zip(by_mask.kept, by_text.kept, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_rewritten_text_is_scored_as_what_it_is() -> None:
    [episode] = build([("Could you please name the last fruit?", "apple banana cherry")])
    scores = scorer().score_texts([episode], ["Last: apple banana cherry"])
    [compressed] = scores.compressed_prompts
    start, end = episode.body_span
    assert compressed == episode.text[:start] + "Last: apple banana cherry" + episode.text[end:]
    before, after = len(episode.text.split()), len(compressed.split())
    fixed = len(episode.template_text.split())
    assert scores.compression_ratio[0] == pytest.approx((before - after) / (before - fixed))
    assert 0.0 < scores.drop_rate[0] < 1.0
    assert not scores.leaked[0]


@pytest.mark.parametrize("reward", ["threshold", "linear", "faithful", "likelihood"])
def test_a_text_that_answers_itself_earns_nothing(reward: str) -> None:
    """The generator repeats what it is given, so the leak would keep its answer."""
    answer = "the colors are red green blue"
    generator = CountingGenerator(lambda text: answer if "colors" in text else text)
    [episode] = build([("Please be so kind as to name me the three basic colors", "")])
    rule = Scorer(generator, make_reward(reward))
    leak, honest = (
        rule.score_texts([episode], [text]) for text in (answer, "name three basic colors")
    )
    assert leak.leaked.tolist() == [True]
    assert honest.leaked.tolist() == [False]
    assert leak.compressed_prompts[0].strip().find(answer) >= 0
    assert leak.compression_ratio.tolist() == [0.0]
    assert not leak.survived.any()
    assert leak.reward[0] <= min(honest.reward[0], 0.0)


def test_what_a_mask_leaves_is_no_leak() -> None:
    """Dropping words brings four of the answer together, which a mask may do, too."""
    generator = CountingGenerator(lambda text: "red green blue yellow")
    [episode] = build([("Name red or green or blue or yellow", "")])
    rule = Scorer(generator, make_reward("threshold"))
    cut, added = (
        rule.score_texts([episode], [text])
        for text in ("Name red green blue yellow", "Say red green blue yellow")
    )
    assert (cut.leaked.tolist(), added.leaked.tolist()) == ([False], [True])
    assert cut.compression_ratio[0] > 0.0


def test_wrong_texts_are_refused(episodes: list[Episode]) -> None:
    with pytest.raises(ValueError, match="expected one text per episode, got 1 for 5"):
        scorer().score_texts(episodes, ["x"])
    with pytest.raises(ValueError, match=r"texts\[1\] must be a string, got None"):
        scorer().score_texts(episodes[:2], ["x", None])
    generator = CountingGenerator(max_prompt_tokens=60)
    with pytest.raises(PromptTooLongError):
        scorer(generator).score_texts(episodes[:1], ["x " * 60])
    assert generator.generate_calls == []
