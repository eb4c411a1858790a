"""Words, numbers and names are dropped as a whole, whatever the tokens are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
from pcrl_gym.episodes.episode import Episode, EpisodeBuilder
from pcrl_gym.episodes.groups import word_groups
from pcrl_gym.prompts.template import AlpacaTemplate

TOKENIZER = models.gpt2_tokenizer()


def cut(text: str, unit: str = "token", **protection: object) -> Episode:
    builder = EpisodeBuilder(TOKENIZER, AlpacaTemplate(), unit, **protection)  # type: ignore[arg-type]
    return builder.cut_texts([text])[0]


def grouped(episode: Episode) -> list[str]:
    """The text of each group, in order."""
    groups = word_groups(episode.text, episode.spans, episode.droppable)
    return [
        "".join(
            episode.text[start:end]
            for (start, end), own in zip(episode.spans, groups, strict=True)
            if own == group
        )
        for group in range(groups.max() + 1)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unbelievable, no?", ["unbelievable,", " no?"]),
        ("pay 1 250,75 now", ["pay", " 1 250,75", " now"]),
        ("Ask Dr. Ada B. Lovelace. Is Bob?", ["Ask", " Dr. Ada B. Lovelace.", " Is", " Bob?"]),
        ("in New York City, USA", ["in", " New York City,", " USA"]),
        ("我爱你 ok", ["我", "爱", "你", " ok"]),
        ("a\n\nb", ["a", "\n\nb"]),
    ],
)  # fmt: skip
def test_groups_by_hand(text: str, expected: list[str]) -> None:
    assert grouped(cut(text)) == expected


def test_a_group_with_a_protected_unit_is_protected() -> None:
    episode = cut("Meet Ms Ada Lovelace today", "word", force_keep=["Ada"])
    groups = word_groups(episode.text, episode.spans, episode.droppable)
    kept = {episode.text[a:b] for (a, b), g in zip(episode.spans, groups, strict=True) if g < 0}
    assert {word.strip() for word in kept} >= {"Ms", "Ada", "Lovelace"}
    assert [group.strip() for group in grouped(episode)] == ["Meet", "today"]


@given(st.text(alphabet=st.sampled_from("aB 1.,\n我é"), max_size=30))
def test_droppable_units_are_in_one_group_and_groups_are_in_order(text: str) -> None:
    episode = cut(text)
    groups = word_groups(episode.text, episode.spans, episode.droppable)
    assert groups.shape == (len(episode),)
    assert (groups[~episode.droppable] == -1).all()
    free = groups[groups >= 0]
    assert (np.diff(free) >= 0).all()
    assert set(free) == set(range(len(set(free))))
