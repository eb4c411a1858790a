from __future__ import annotations

import pytest

from pcrl_gym.rewards import BandReward, LikelihoodReward, ThresholdReward, make_reward
from pcrl_gym.specs import parse_spec


@pytest.mark.parametrize(
    ("spec", "settings"),
    [
        ("n", {}),
        ("n:a=1", {"a": 1}),
        ("n: a = 1.5 , b=-2e-3", {"a": 1.5, "b": -0.002}),
        ("n:a=true,b=false,c=null", {"a": True, "b": False, "c": None}),
        ('n:a="x, \\"y\\" = z",b=1', {"a": 'x, "y" = z', "b": 1}),
        ("n:a=runs/x:y/model", {"a": "runs/x:y/model"}),
        ("n:a=[1]", {"a": "[1]"}),
        ("n:a=", {"a": ""}),
    ],
)
def test_settings_follow_the_name(spec: str, settings: dict[str, object]) -> None:
    assert parse_spec(spec) == ("n", settings)


@pytest.mark.parametrize("spec", ["n:", "n:a", "n:a=1,a=2", "n:=1", 'n:a="x', "n:a=1,,b=2"])
def test_other_forms_are_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="expected n:KEY=VALUE"):
        parse_spec(spec)


def test_rewards_take_settings() -> None:
    assert make_reward("threshold:penalty=0") == ThresholdReward(penalty=0)
    assert make_reward("band:target_ratio=0.3") == BandReward(target_ratio=0.3)
    assert make_reward("likelihood:ratio_weight=1.5") == LikelihoodReward(ratio_weight=1.5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("treshold:penalty=0", "unknown reward"),
        ("threshold:tau=0.5", r"no setting 'tau'; there are: threshold, penalty, measure"),
        ("threshold:threshold=high", r"threshold must be like 0\.9"),
        ("threshold:threshold=true", r"threshold must be like 0\.9"),
        ("threshold:threshold=2", r"threshold must lie in \[0, 1\)"),
        ("linear:measure=bleu", "measure must be one of unicode_rouge_l, rouge_l"),
        ("likelihood:measure=rouge_l", "no setting 'measure'"),
    ],
)
def test_wrong_settings_of_rewards_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_reward(spec)
