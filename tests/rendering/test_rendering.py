from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from env_fixtures import ID, PROMPTS, options
from pcrl_gym.envs.env import PromptCompressionEnv
from pcrl_gym.errors import MissingExtraError
from pcrl_gym.rendering.frame import Frame, segments, visible
from pcrl_gym.rendering.text import render_ansi

WORDS = {"unit": "word", "max_units": 128}


@pytest.fixture
def make(gpt2_tokenizer):
    def _make(**changes: Any) -> PromptCompressionEnv:
        return PromptCompressionEnv(**options(gpt2_tokenizer, **WORDS | changes))

    return _make


def step_without(env: PromptCompressionEnv, *words: str, index: int = 0) -> dict[str, Any]:
    """Drop the units with these words and return the info."""
    _, info = env.reset(options={"index": index})
    units = [info["prompt"][a:b].strip() for a, b in info["spans"]]
    return env.step(np.array([unit not in words for unit in units]))[4]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_ansi_before_the_step_is_the_prompt(make):
    env = make(render_mode="ansi")
    _, info = env.reset(options={"index": 0})
    assert env.render() == "[reverse]\n" + info["prompt"].rstrip("\n")


def test_ansi_marks_what_was_dropped(make):
    env = make(render_mode="ansi")
    info = step_without(env, "Please", "the", "words")
    lines = env.render().splitlines()
    assert lines[:4] == [
        "[reverse]",
        "Instruction: ~~Please~~ write ~~the words~~ in reverse order",
        "Input: one two three",
        "Output: ",
    ]
    assert lines[4].endswith(info["output"])
    assert lines[5].endswith(info["compressed_output"])
    assert f"compression_ratio {info['compression_ratio']:.3f}" in lines[6]
    assert f"tokens {info['original_tokens']} -> {info['compressed_tokens']}" in lines[6]


def test_an_unfinished_answer_has_no_similarity():
    env = PromptCompressionEnv(render_mode="ansi", early_stopping=True, unit="word")
    for i in range(20):
        env.reset(options={"index": i})
        info = env.step(np.zeros(env.task.max_units, np.int8))[4]
        if info["partial"]:
            break
    assert info["partial"]
    assert np.isnan(info["similarity"])
    answer, terms = env.render().splitlines()[-2:]
    assert answer.endswith(f"{info['compressed_output']} [unfinished]")
    assert "survived False" in terms
    assert "similarity" not in terms
    assert "nan" not in terms


@pytest.mark.usefixtures("terminal")
def test_ansi_is_coloured_on_a_terminal(make):
    env = make(render_mode="ansi")
    step_without(env, "Please")
    assert "Instruction: \x1b[9;31mPlease\x1b[0m write" in env.render()


@pytest.mark.usefixtures("terminal")
def test_no_color_is_respected(make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    env = make(render_mode="ansi")
    step_without(env, "Please")
    assert "~~Please~~ write" in env.render()


def test_human_prints_every_step(make, capsys):
    env = make(render_mode="human", max_steps=2)
    env.reset(options={"index": 0})
    keep = np.ones(128)
    keep[1] = 0
    env.step(keep)
    first = capsys.readouterr().out
    assert "~~Please~~" in first
    assert "similarity" not in first
    env.step(np.ones(128))
    second = capsys.readouterr().out
    assert "~~Please~~" in second
    assert "similarity" in second
    assert env.render() is None
    assert not capsys.readouterr().out


def test_human_prints_to_any_encoding(make, monkeypatch: pytest.MonkeyPatch, tmp_path):
    with (tmp_path / "out.txt").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        step_without(make(render_mode="human"), index=3)
    assert "Say ?? and ????, na?ve ?" in (tmp_path / "out.txt").read_text()


def test_no_mode_renders_nothing_and_says_so(make):
    env = make()
    env.reset()
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None


def test_text_cannot_act_on_the_terminal(make):
    env = make(render_mode="ansi")
    step_without(env, index=3)
    shown = env.render()
    assert "\x1b" not in shown
    assert "\u241b[2J" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb", "a\nb"),
        ("a\rb", "a\u240db"),
        ("\x00\x7f\x9b", "\u2400\ufffd\ufffd"),
        ("\u202eabc\u2066", "\ufffdabc\ufffd"),
        ("\ud800", "\ufffd"),
        ("na\u00efve \u4f60\u597d \U0001f600", "na\u00efve \u4f60\u597d \U0001f600"),
    ],
)
def test_visible(text: str, shown: str):
    assert visible(text) == shown


def test_segments_hold_the_whole_prompt(make):
    env = make()
    rng = np.random.default_rng(0)
    for episode in env.task.episodes:
        frame = Frame(episode, episode.kept(rng.integers(0, 2, len(episode))))
        cut = segments(frame)
        assert "".join(text for text, _ in cut) == visible(episode.text)
        assert all(a != b for (_, a), (_, b) in pairwise(cut))
        kept = "".join(text for text, state in cut if state != "dropped")
        assert kept == visible(episode.compress(frame.kept))


def test_white_space_alone_is_marked_too(make):
    episode = make().task.episodes[0]
    spans = ((0, 11), (11, 12), (12, len(episode.text)))
    blank = type(episode)(
        episode.prompt, episode.text, spans, np.array([False, True, False]), np.arange(3), ""
    )
    assert "Instruction~~:~~ Please" in render_ansi(
        Frame(blank, np.array([True, False, True])), color=False
    )


def test_pictures_have_one_size_and_show_red_strokes(make):
    env = make(render_mode="rgb_array")
    for index in range(len(PROMPTS)):
        env.reset(options={"index": index})
        before = env.render()
        assert (before.dtype, before.shape) == (np.uint8, (540, 960, 3))
        assert red(before) == 0
        env.step(np.zeros(128))
        after = env.render()
        assert after.shape == before.shape
        assert red(after) > 50
        assert (after[-120:] != before[-120:]).any()  # the reward terms


def red(picture: np.ndarray) -> int:
    """Number of red pixels in the part with the prompt."""
    r, g, b = (picture[44:412, :, i].astype(int) for i in range(3))
    return int(((r > 150) & (g < 90) & (b < 90)).sum())


@pytest.mark.parametrize(
    "instruction",
    ["x" * 20_000, "word " * 5_000, "你" * 3_000, "\n" * 500 + "end", " " * 2_000, ""],
    ids=["no break", "words", "wide", "lines", "spaces", "empty"],
)
def test_any_amount_of_text_gives_a_picture(make, instruction: str):
    prompt = type(PROMPTS[0])("x" * 500, instruction + ".")
    env = make(render_mode="rgb_array", dataset=[prompt])
    env.reset()
    assert env.render().shape == (540, 960, 3)


def test_unknown_mode_is_refused_before_anything_is_loaded():
    with pytest.raises(ValueError, match=r"expected render_mode .*got 'svg'"):
        PromptCompressionEnv(render_mode="svg", dataset="/nowhere")


def test_missing_pillow_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pcrl-gym\[render\]'"):
        PromptCompressionEnv(render_mode="rgb_array", dataset="/nowhere")


def test_gymnasiums_render_collection(gpt2_tokenizer):
    env = gym.make(ID, render_mode="ansi_list", **options(gpt2_tokenizer))
    env.reset(seed=0)
    env.step(env.action_space.sample())
    assert len(env.render()) == 2
