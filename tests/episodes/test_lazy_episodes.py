from __future__ import annotations

import pickle

import pytest

import pcrl_gym.episodes.lazy_episodes
from env_fixtures import PROMPTS
from pcrl_gym.episodes.episode import EpisodeBuilder
from pcrl_gym.episodes.lazy_episodes import LazyEpisodes
from pcrl_gym.prompts.template import AlpacaTemplate


class CountingBuilder:
    """Passes batches on and remembers their prompts."""

    def __init__(self, builder: EpisodeBuilder) -> None:
        self.builder = builder
        self.batches: list[list[str]] = []

    def __call__(self, prompts):
        self.batches.append([prompt.id for prompt in prompts])
        return self.builder(prompts)


@pytest.fixture
def builder(gpt2_tokenizer) -> CountingBuilder:
    return CountingBuilder(EpisodeBuilder(gpt2_tokenizer, AlpacaTemplate()))


def test_each_is_built_once_and_missing_ones_together(builder: CountingBuilder):
    episodes = LazyEpisodes(PROMPTS, builder)
    assert not builder.batches
    ids = [episode.prompt.id for episode in episodes.take([3, 0, 3])]
    assert ids == ["unicode", "reverse", "unicode"]
    assert builder.batches == [["unicode", "reverse"]]
    assert episodes[0] is episodes[-5]
    assert [episode.prompt for episode in episodes[1:4]] == PROMPTS[1:4]
    assert builder.batches[1:] == [["sort", "opposite"]]


def test_only_the_latest_used_ones_are_kept(builder: CountingBuilder, monkeypatch):
    monkeypatch.setattr(pcrl_gym.episodes.lazy_episodes, "MAX_BUILT", 2)
    episodes = LazyEpisodes(PROMPTS, builder)
    first = episodes[0]
    episodes.take([1])
    assert episodes[0] is first
    episodes.take([2])  # 1 was used longest ago
    assert episodes[0] is first
    builder.batches.clear()
    # More than are kept may be asked for at once.
    assert [e.prompt for e in episodes.take([3, 1, 0, 1])] == [PROMPTS[i] for i in (3, 1, 0, 1)]
    assert builder.batches == [["unicode", PROMPTS[1].id]]
    assert len(episodes._built) == 2


def test_it_is_a_sequence(builder: CountingBuilder):
    episodes = LazyEpisodes(PROMPTS, builder)
    assert len(episodes) == 5
    assert [episode.prompt for episode in episodes] == PROMPTS
    assert [episode.prompt for episode in episodes[::-2]] == PROMPTS[::-2]
    with pytest.raises(IndexError):
        episodes[5]


def test_a_pickled_copy_starts_empty_and_builds_the_same(builder: CountingBuilder):
    episodes = LazyEpisodes(PROMPTS, builder)
    first = list(episodes)
    copy = pickle.loads(pickle.dumps(episodes))
    built_before = len(copy.builder.batches)
    assert [e.spans for e in copy[:]] == [e.spans for e in first]
    assert len(copy.builder.batches) == built_before + 1
