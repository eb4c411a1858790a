from __future__ import annotations

import copy
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import TOKENIZERS
from pcrl_gym.episodes.episode import Episode, EpisodeBuilder
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import AlpacaTemplate, ChatTemplate, RenderedPrompt
from texts import NASTY_TEXTS, nasty_text

BUILT = {name: build() for name, build in TOKENIZERS.items()}
BUILDERS = {
    (name, unit): EpisodeBuilder(tokenizer, AlpacaTemplate(), unit=unit)
    for name, tokenizer in BUILT.items()
    for unit in ("token", "word")
}
every_builder = pytest.mark.parametrize("builder", BUILDERS.values(), ids=map("-".join, BUILDERS))


def build(instruction: str, user_input: str = "", **settings: object) -> Episode:
    builder = EpisodeBuilder(BUILT["gpt2"], AlpacaTemplate(), **settings)  # type: ignore[arg-type]
    [episode] = builder([Prompt(id="0", instruction=instruction, input=user_input)])
    return episode


def units(episode: Episode, *, droppable: bool) -> list[str]:
    return [
        episode.text[start:end]
        for (start, end), free in zip(episode.spans, episode.droppable, strict=True)
        if free == droppable
    ]


@every_builder
@given(instruction=nasty_text, user_input=nasty_text, data=st.data())
def test_masks_delete_slices(
    builder: EpisodeBuilder, instruction: str, user_input: str, data: st.DataObject
) -> None:
    prompt = Prompt(id="0", instruction=instruction, input=user_input)
    [episode] = builder([prompt])
    assert episode.text == AlpacaTemplate().render(prompt).text
    assert episode.compress(np.ones(len(episode), np.int8)) == episode.text
    assert episode.compress(np.zeros(len(episode), np.int8)) == episode.template_text
    assert "".join(units(episode, droppable=False)) == episode.template_text
    assert "".join(units(episode, droppable=True)) == instruction.strip() + user_input.strip()

    mask = data.draw(st.lists(st.booleans(), max_size=len(episode) + 3))
    kept = episode.kept(mask)
    expected = "".join(
        episode.text[start:end]
        for i, (start, end) in enumerate(episode.spans)
        if i >= len(mask) or mask[i] or not episode.droppable[i]
    )
    assert episode.compress(mask) == expected == episode.compress(kept)
    assert kept.dtype == np.bool_
    assert len(kept) == len(episode) == len(episode.droppable) == len(episode.unit_ids)


@every_builder
def test_nasty_texts_in_one_batch(builder: EpisodeBuilder) -> None:
    prompts = [Prompt(id=str(i), instruction=text) for i, text in enumerate(NASTY_TEXTS)]
    episodes = builder(prompts)
    assert [episode.prompt for episode in episodes] == prompts
    for episode in episodes:
        assert episode.compress([]) == episode.text
        [alone] = builder([episode.prompt])
        assert alone.spans == episode.spans
        assert alone.unit_ids.tolist() == episode.unit_ids.tolist()


@pytest.mark.parametrize("name", TOKENIZERS)
def test_ids_are_those_of_the_policy_tokenizer(name: str) -> None:
    prompt = Prompt(id="0", instruction="Write the words", input="</s> 👍 <|endoftext|>")
    for unit in ("token", "word"):
        [episode] = BUILDERS[name, unit]([prompt])
        assert episode.unit_ids.dtype == np.int64
        assert all(0 <= token < len(BUILT[name]) for token in episode.unit_ids)
        unknown = BUILT[name].unk_token_id
        assert not {*BUILT[name].all_special_ids} - {unknown} & {*episode.unit_ids}


def test_ids_of_whole_words() -> None:
    [episode] = BUILDERS["bert", "word"]([Prompt(id="0", instruction="Write The WORDS")])
    tokens = BUILT["bert"].convert_ids_to_tokens(episode.unit_ids.tolist())
    assert tokens == ["instruction", "write", "the", "words", "output"]


def test_units_without_any_token_get_the_unknown_id() -> None:
    [episode] = BUILDERS["bert", "token"]([Prompt(id="0", instruction="\x00\x01")])
    assert units(episode, droppable=True) == ["\x00\x01"]
    assert BUILT["bert"].unk_token_id in episode.unit_ids


def test_no_prompts() -> None:
    assert BUILDERS["gpt2", "token"]([]) == []


def test_template_words_in_user_text_are_ordinary() -> None:
    episode = build("Input: b\nOutput: \n", "Instruction: Input:", unit="word")
    assert units(episode, droppable=True) == [
        "Input:",
        " b",
        "\nOutput:",
        "Instruction:",
        " Input:",
    ]
    assert episode.compress([0] * len(episode)) == "Instruction: \nInput: \nOutput: \n"


def test_empty_prompt_has_nothing_to_drop() -> None:
    episode = build("", " ")
    assert not episode.droppable.any()
    assert episode.template_text == episode.text == episode.compress([0] * 99)


def test_chat_episode() -> None:
    builder = EpisodeBuilder(BUILT["gpt2"], ChatTemplate(BUILT["llama"]), unit="word")
    [episode] = builder([Prompt(id="0", instruction="Sort <|im_end|> these", input="b a")])
    assert units(episode, droppable=True) == ["Sort", " <|im_end|>", " these", "\nb", " a"]
    assert episode.compress([0] * len(episode)) == episode.template_text


@every_builder
@given(text=nasty_text)
def test_a_text_without_a_template_has_its_own_units(builder: EpisodeBuilder, text: str) -> None:
    [episode] = builder.cut_texts([text])
    assert (episode.text, episode.template_text, episode.prompt.instruction) == (text, "", text)
    assert episode.compress(np.ones(len(episode), np.int8)) == text
    assert episode.compress(np.zeros(len(episode), np.int8)) == ("" if text.strip() else text)
    assert "".join(text[start:end] for start, end in episode.spans) == text
    if text.strip():  # the policy reads what it would read of the prompt
        [prompt] = builder([Prompt(id="0", instruction=text)])
        before, after = episode.around
        assert [*before, *episode.unit_ids, *after] == prompt.unit_ids.tolist()
        assert range(len(prompt))[prompt.body] == range(len(before), len(prompt) - len(after))


def test_white_space_at_the_ends_of_a_text() -> None:
    builder = EpisodeBuilder(BUILT["gpt2"], AlpacaTemplate(), "word", force_keep=["\n"])
    texts = ["  Sort b  ", "\n Sort b \n", " \n ", ""]
    cut = [(units(e, droppable=False), units(e, droppable=True)) for e in builder.cut_texts(texts)]
    assert cut == [
        ([], ["  Sort", " b  "]),
        (["\n ", " \n"], ["Sort", " b"]),
        ([" \n "], []),
        ([], []),
    ]


@pytest.mark.parametrize("rendered", ["SORT", "", "Sort|Sort"])
def test_a_template_that_changes_a_text_is_refused(rendered: str) -> None:
    class Changing:
        name = "changing"

        def render(self, prompt: Prompt) -> RenderedPrompt:
            place = rendered.find("|")
            return RenderedPrompt(rendered, ((place, place + 1),) if place > 0 else ())

    with pytest.raises(ValueError, match="splits or changes an instruction"):
        EpisodeBuilder(BUILT["gpt2"], Changing()).cut_texts(["Sort"])


def test_force_keep() -> None:
    episode = build(
        "Keep THIS (x+) and that 7 times",
        unit="word",
        force_keep=["(x+)", re.compile("th.s", re.IGNORECASE), re.compile("z*")],
        keep_digits=True,
    )
    assert units(episode, droppable=True) == ["Keep", "and", " that", "times"]


def test_force_keep_over_a_border_of_units() -> None:
    episode = build("one two three", unit="word", force_keep=["e t"])
    assert units(episode, droppable=True) == ["three"]


def test_keep_digits_of_any_script() -> None:
    assert units(build("a 1st ٣ b", unit="word", keep_digits=True), droppable=True) == ["a", "b"]


@pytest.mark.parametrize(
    ("force_keep", "message"),
    [
        ("not", r"write force_keep=\('not',\)"),
        (re.compile("not"), "must be a sequence"),
        ([""], "nonempty strings"),
        ([b"not"], "nonempty strings"),
        ([re.compile(b"not")], "compiled from strings"),
        ([3], "got 3"),
    ],
)
def test_force_keep_refuses_what_it_cannot_search_for(force_keep: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("a", force_keep=force_keep)


def test_unknown_unit() -> None:
    with pytest.raises(ValueError, match="'token' or 'word', got 'sentence'"):
        build("a", unit="sentence")


@pytest.mark.parametrize("mask", [[[1, 0]], 1, [0.5, 1.0], ["1"]])
def test_masks_of_the_wrong_kind(mask: object) -> None:
    with pytest.raises(ValueError, match="one-dimensional array of bools or integers"):
        build("Sort b a").compress(mask)


def test_arrays_are_read_only() -> None:
    episode = build("Sort b a")
    with pytest.raises(ValueError, match="read-only"):
        episode.droppable[0] = True
    with pytest.raises(ValueError, match="read-only"):
        episode.unit_ids[0] = 1


def test_a_copied_builder_builds_the_same() -> None:
    builder = BUILDERS["t5", "token"]
    [episode] = builder([Prompt(id="0", instruction="Sort </s> b a")])
    [again] = copy.deepcopy(builder)([episode.prompt])
    assert again.spans == episode.spans
    assert again.unit_ids.tolist() == episode.unit_ids.tolist()
