from __future__ import annotations

import numpy as np
import pytest

from pcrl_gym.scoring.rewards import (
    BandReward,
    FaithfulReward,
    LikelihoodReward,
    LinearReward,
    Reward,
    RewardInputs,
    ThresholdReward,
    make_reward,
    reward_inputs,
)


def test_threshold_is_strict_and_pays_negative_ratios() -> None:
    x = reward_inputs(
        similarity=[0.9, np.nextafter(0.9, 1), 1.0, 0.0],
        compression_ratio=[0.5, 0.5, -0.25, 1.0],
    )
    np.testing.assert_array_equal(ThresholdReward()(x), [-0.01, 0.5, -0.25, -0.01])


def test_threshold_of_keeping_everything_is_zero() -> None:
    x = reward_inputs(similarity=[1.0], compression_ratio=[0.0])
    assert ThresholdReward()(x) == 0.0


def test_linear_is_the_weighted_sum() -> None:
    x = reward_inputs(similarity=[1.0, 0.0], compression_ratio=[0.5, 1.0])
    np.testing.assert_allclose(LinearReward(2.0, 0.5)(x), [2.25, 0.5])


def test_band_borders_belong_to_the_band() -> None:
    ratios = [0.2, 0.4, 0.19, 0.41, 0.3]
    x = reward_inputs(similarity=[0.7] * 5, compression_ratio=ratios)
    rewards = BandReward(target_ratio=0.3, tolerance=0.1)(x)
    np.testing.assert_array_equal(rewards, [0.7, 0.7, -0.1, -0.1, 0.7])


def test_band_punishes_emptied_prompts_most_even_inside_a_wide_band() -> None:
    x = reward_inputs(similarity=[1.0, 1.0, 1.0], compression_ratio=[0.89, 0.9, 1.0])
    np.testing.assert_array_equal(BandReward(tolerance=0.5)(x), [1.0, -0.4, -0.4])


def test_likelihood_needs_no_answers() -> None:
    reward = LikelihoodReward(ratio_weight=2.0)
    assert reward.needs_likelihood
    assert not reward.needs_answers
    x = reward_inputs(log_likelihood=[-1.0], compression_ratio=[0.25])
    np.testing.assert_array_equal(reward(x), [-0.5])


@pytest.mark.parametrize("name", ["threshold", "linear", "band", "likelihood"])
def test_rewards_by_name_follow_the_protocol(name: str) -> None:
    reward = make_reward(name)
    assert reward.name == name
    assert isinstance(reward, Reward)
    x = RewardInputs(*(np.linspace(0, 1, 5) for _ in range(5)))
    values = reward(x)
    assert values.shape == (5,)
    assert values.dtype == np.float64
    assert make_reward(reward) is reward


def test_a_reward_of_ones_own_has_the_default_measure_and_no_threshold() -> None:
    class Mine(Reward):
        name, needs_answers, needs_likelihood = "mine", True, False

        def __call__(self, x: RewardInputs) -> np.ndarray:
            return x.similarity

    mine = Mine()
    assert make_reward(mine) is mine
    assert (mine.measure, mine.similarity_threshold) == ("unicode_rouge_l", None)
    mine.measure = "rouge_l"
    assert make_reward(mine).measure == "rouge_l"

    class Unfinished(Reward):
        name, needs_answers = "unfinished", True

        def __call__(self, x: RewardInputs) -> np.ndarray:
            return x.similarity

    with pytest.raises(
        ValueError, match=r"without needs_likelihood\): .*subclass of pcrl_gym\.Reward"
    ):
        make_reward(Unfinished())


@pytest.mark.parametrize("spec", ["fame", "", None, object(), ThresholdReward])
def test_unknown_rewards_are_refused_with_the_known_names(spec: object) -> None:
    with pytest.raises(ValueError, match="threshold, linear, band, likelihood"):
        make_reward(spec)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (ThresholdReward, {"threshold": 1.0}),
        (ThresholdReward, {"threshold": float("nan")}),
        (ThresholdReward, {"penalty": float("inf")}),
        (LinearReward, {"ratio_weight": float("nan")}),
        (BandReward, {"target_ratio": 1.5}),
        (BandReward, {"tolerance": -0.1}),
        (BandReward, {"collapse_ratio": 0.5}),
        (LikelihoodReward, {"ratio_weight": float("nan")}),
        (FaithfulReward, {"tolerance": -0.1}),
        (FaithfulReward, {"penalty": float("inf")}),
    ],
)
def test_settings_out_of_range_are_refused(kind: type, settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        kind(**settings)


def test_terms_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="equal length"):
        reward_inputs(similarity=[1.0], drop_rate=[0.5, 0.5])
    with pytest.raises(ValueError, match="equal length"):
        reward_inputs()


def test_rewards_take_settings() -> None:
    assert make_reward("threshold:penalty=0") == ThresholdReward(penalty=0)
    assert make_reward("band:target_ratio=0.3") == BandReward(target_ratio=0.3)
    assert make_reward("likelihood:ratio_weight=1.5") == LikelihoodReward(ratio_weight=1.5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("treshold:penalty=0", r"unknown reward .*; did you mean threshold\?"),
        ("threshold:penalties=0", r"no setting 'penalties'; did you mean penalty\?"),
        (
            "threshold:tau=0.5",
            "no setting 'tau'; known: threshold, penalty, measure",
        ),
        ("threshold:threshold=high", r"threshold\.threshold: expected a valid number, .*'high'"),
        ("threshold:threshold=true", r"threshold\.threshold: expected a valid number, got True"),
        ("threshold:threshold=2", r"threshold must be in \[0, 1\)"),
        ("linear:measure=bleu", "measure must be one of unicode_rouge_l, rouge_l"),
        ("likelihood:measure=rouge_l", "no setting 'measure'"),
    ],
)
def test_wrong_settings_of_rewards_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_reward(spec)
