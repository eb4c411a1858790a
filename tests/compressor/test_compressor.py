"""The policy as a function: what comes back, long texts, protection, wrong arguments."""

from __future__ import annotations

import math
import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

import models
from pcrl_gym.compressor.compression import Compression
from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.compressor.selection import dropped_units
from pcrl_gym.compressor.windows import plan_windows
from pcrl_gym.envs.task import make_task
from pcrl_gym.prompts.prompt import Prompt
from policies import TEXT, Shouting, compressor, network
from texts import NASTY_TEXTS, nasty_text

TOKENIZER = models.gpt2_tokenizer()
HALF = compressor(TOKENIZER, max_units=24)
KEEP_ALL = compressor(TOKENIZER, bias=20.0, max_units=24)
DROP_ALL = compressor(TOKENIZER, bias=-20.0, max_units=24)


def check_consistent(done: Compression) -> None:
    """What holds for every result."""
    spans = sorted([*done.kept_spans, *done.dropped_spans])
    assert "".join(done.original[a:b] for a, b in spans) == done.original
    assert "".join(done.original[a:b] for a, b in done.units) == done.original
    assert all(a < b for a, b in done.units)
    assert "".join(done.original[a:b] for a, b in done.kept_spans) == done.text
    n = len(done.units)
    assert len(done.keep_probabilities) == len(done.droppable) == len(done.kept) == n
    assert all(0.0 <= p <= 1.0 for p in done.keep_probabilities)
    assert all(
        keep and chance == 1.0
        for keep, free, chance in zip(
            done.kept, done.droppable, done.keep_probabilities, strict=True
        )
        if not free
    )


def mixed_text(size: int) -> str:
    """Text of all scripts, of at least `size` bytes in UTF-8."""
    rng = random.Random(0)
    parts, length = [], 0
    pieces = [*(text for text in NASTY_TEXTS if len(text) < 100), *[TEXT] * 16]
    while length < size:
        codes = (rng.choice((0x7F, 0x7FF, 0xD7FF, 0x10FFFF)) for _ in range(rng.randint(0, 12)))
        strange = (chr(rng.randint(0, code)) for code in codes)
        drawn = "".join(c for c in strange if not "\ud800" <= c <= "\udfff")
        parts.append(rng.choice(pieces) + drawn + rng.choice(["", " ", "\n"]))
        length += len(parts[-1].encode())
    return "".join(parts)


def test_one_megabyte_comes_back_to_the_byte():
    text = mixed_text(10**6)
    reader = compressor(TOKENIZER, bias=20.0, max_units=128)
    done = reader(text)
    assert len(done.units) > 100 * reader.max_units
    assert done.text.encode() == text.encode()
    assert done.kept_spans == ((0, len(text)),)
    assert done.original_tokens == done.compressed_tokens


@given(nasty_text)
def test_keeping_all_returns_any_text(text: str):
    done = KEEP_ALL(text)
    check_consistent(done)
    assert done.text == text
    assert (done.compression_ratio, done.drop_rate) == (0.0, 0.0)


@given(nasty_text)
def test_dropping_all_leaves_nothing_but_white_space_alone(text: str):
    done = DROP_ALL(text)
    check_consistent(done)
    assert done.text == ("" if text.strip() else text)


@given(nasty_text, st.one_of(st.none(), st.floats(0, 1)), st.booleans())
def test_spans_are_a_partition_and_the_rate_is_exact(text: str, rate: float | None, digits: bool):
    done = HALF(text, rate=rate, keep_digits=digits)
    check_consistent(done)
    if rate is not None:
        assert done.kept.count(False) == math.floor(rate * sum(done.droppable) + 1e-9)
    else:
        expected = tuple(p > 0.5 for p in done.keep_probabilities)
        assert done.kept == expected


@pytest.mark.parametrize("text", NASTY_TEXTS[:-2])
def test_every_tokenizer_and_unit(any_tokenizer: PreTrainedTokenizerFast, text: str):
    for unit in ("token", "word"):
        done = compressor(any_tokenizer, unit=unit, max_units=24, bias=20.0)(text)
        check_consistent(done)
        assert done.text == text


def test_the_rate_drops_the_least_wanted_units_of_the_whole_text():
    text = " ".join([TEXT] * 5)
    whole = HALF(text)
    assert len(whole.units) > 3 * HALF.max_units
    done = HALF(text, rate=0.25)
    assert done.keep_probabilities == whole.keep_probabilities
    dropped = [p for p, keep in zip(done.keep_probabilities, done.kept, strict=True) if not keep]
    kept = [p for p, keep in zip(done.keep_probabilities, done.kept, strict=True) if keep]
    assert len(dropped) == len(done.units) // 4
    assert max(dropped) <= min(kept)


def test_numbers_by_hand():
    done = Compression(
        original="ab cd",
        text="ab",
        units=((0, 2), (2, 5)),
        keep_probabilities=(1.0, 0.25),
        droppable=(False, True),
        kept=(True, False),
        original_tokens=10,
        compressed_tokens=7,
        template_tokens=4,
    )
    assert done.compression_ratio == 0.5  # 1 - (7 - 4) / (10 - 4)
    assert done.drop_rate == 1.0
    assert replace(done, compressed_tokens=13).compression_ratio == -0.5
    assert replace(done, template_tokens=10).compression_ratio == 0.0
    assert str(done) == "ab"
    assert done.to_dict()["dropped_spans"] == [[2, 5]]


def test_tokens_are_counted_with_the_policy_tokenizer():
    done = HALF(TEXT, rate=0.5)
    for text, count in ((TEXT, done.original_tokens), (done.text, done.compressed_tokens)):
        assert count == len(TOKENIZER(text, add_special_tokens=False)["input_ids"])


def test_protected_units_are_kept():
    text = "Please keep 12 apples, ١٢ pears and Mr. Smith's <|endoftext|> house"
    done = DROP_ALL(
        text, force_keep=("Smith", re.compile(r"<\|\w+\|>"), re.compile("^Pl")), keep_digits=True
    )
    check_consistent(done)
    for wanted in ("12", "١٢", "Smith", "<|endoftext|>", "Pl"):
        assert wanted in done.text
    assert "house" not in done.text
    assert DROP_ALL(text, rate=1.0, keep_digits=True).drop_rate == 1.0


@pytest.mark.parametrize("unit", ["token", "word"])
def test_one_window_reads_what_the_environment_shows(unit: str):
    prompts = [
        Prompt("a", "Write the words in reverse order", "apple, banana and 12 plums"),
        Prompt("b", "What is the opposite of hot?"),
        Prompt("c", "Say 你好, naïve 🙂", "Input: <|endoftext|>"),
    ]
    rules = {"unit": unit, "force_keep": ("plums",), "keep_digits": True}
    task = make_task(
        dataset=prompts, generator="micro", tokenizer=TOKENIZER, max_units=128, **rules
    )
    policy = network(len(TOKENIZER))
    observations, _ = task.begin(list(task.episodes))
    keys = ("input_ids", "attention_mask", "droppable")
    with torch.inference_mode():
        logits, _ = policy(*(torch.as_tensor(observations[key]) for key in keys))
    ours = Compressor(policy, TOKENIZER, unit=unit, device="cpu")
    done = ours(
        instruction=[p.instruction for p in prompts],
        input=[p.input for p in prompts],
        force_keep=("plums",),
        keep_digits=True,
    )
    for episode, row, one in zip(task.episodes, logits, done, strict=True):
        check_consistent(one)
        assert (one.original, one.units) == (episode.text, episode.spans)
        assert one.droppable == tuple(episode.droppable.tolist())
        expected = torch.sigmoid(row[: len(episode)]).numpy()
        expected[~episode.droppable] = 1.0
        np.testing.assert_allclose(one.keep_probabilities, expected, atol=1e-5)
        assert one.text == episode.compress(row.numpy() > 0)
        assert one.template_tokens == len(
            TOKENIZER(episode.template_text, add_special_tokens=False)["input_ids"]
        )
    # Free text is read as an instruction; the white space around it changes nothing.
    free = ours("\n What is the opposite of hot? \t", keep_digits=True)
    plain = task.episodes[1]
    users = np.flatnonzero(plain.droppable)
    expected = torch.sigmoid(logits[1][users]).numpy()
    np.testing.assert_allclose(free.keep_probabilities, expected, atol=1e-5)
    assert free.units[0][0] == 0
    assert free.units[-1][1] == len("\n What is the opposite of hot? \t")


def test_the_template_is_never_dropped():
    done = DROP_ALL(instruction=TEXT, input="one two")
    assert done.text == "Instruction: \nInput: \nOutput: \n"
    assert done.compression_ratio > 0.9
    assert DROP_ALL(instruction="Input: Output: ").text == "Instruction: \nOutput: \n"
    assert KEEP_ALL(instruction="", input="").text == "Instruction: \nOutput: \n"
    long = KEEP_ALL(instruction=[TEXT * 9], input=[TEXT * 9])[0]
    assert long.text == f"Instruction: {TEXT * 9}\nInput: {TEXT * 9}\nOutput: \n"


def test_the_chat_template_of_the_tokenizer():
    tokenizer = models.llama_tokenizer()
    done = compressor(tokenizer, template="chat", bias=-20.0)(instruction=TEXT)
    assert done.text == "<s><|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n"
    assert done.original.count(TEXT) == 1
    assert compressor(tokenizer, template="chat", bias=20.0)(f" {TEXT}\n").text == f" {TEXT}\n"


def test_batches_change_nothing():
    texts = ["", TEXT, "x", " ".join([TEXT] * 4), "\n", "Sort b a."]
    alone = [HALF(text) for text in texts]
    for size in (1, 2, 100):
        together = HALF(texts, batch_size=size)
        for one, other in zip(alone, together, strict=True):
            assert one.text == other.text
            np.testing.assert_allclose(one.keep_probabilities, other.keep_probabilities, atol=1e-5)
    assert HALF([]) == []
    assert HALF(instruction=[], input=[]) == []
    assert HALF(tuple(texts[:2]))[1].text == alone[1].text


@given(st.integers(0, 300), st.integers(1, 40), st.integers(0, 19))
def test_windows_rate_every_unit_once_with_context(units: int, room: int, context: int):
    context = min(context, (room - 1) // 2)
    windows = plan_windows(units, room, context)
    rated = [unit for window in windows for unit in range(window.first, window.last)]
    assert rated == list(range(units))
    for window in windows:
        assert window.end - window.start == min(units, room)
        assert window.start == 0 or window.first - window.start >= context
        assert window.end == units or window.end - window.last >= context


def test_a_unit_inside_a_long_text_is_rated_in_its_neighbourhood():
    """What stands far away, in other windows, has no say."""
    words = [f"{word} " for word in TEXT.split() * 6]
    reader = compressor(TOKENIZER, unit="word", max_units=24)
    text = "".join(words)
    changed = "banana " * 12 + "".join(words[12:])
    before, after = reader(text), reader(changed)
    assert before.keep_probabilities[:12] != after.keep_probabilities[:12]
    np.testing.assert_allclose(
        before.keep_probabilities[40:], after.keep_probabilities[40:], atol=1e-5
    )


def test_every_unit_gets_its_own_rating_across_windows():
    """A network that looks at nothing but the unit itself shows up ratings that are misplaced."""
    policy = network(len(TOKENIZER))
    with torch.no_grad():
        for layer in policy.encoder.encoder.block:
            layer.layer[0].SelfAttention.o.weight.zero_()
    words = TEXT.split() * 20
    random.Random(1).shuffle(words)
    reader = Compressor(policy, TOKENIZER, unit="word", max_units=24, device="cpu")
    done = reader([" " + " ".join(words), *(f"x {word}" for word in words[:50])])
    by_word = {word: one.keep_probabilities[1] for word, one in zip(words, done[1:], strict=False)}
    assert len(set(by_word.values())) > 5
    expected = [by_word[word] for word in words]
    np.testing.assert_allclose(done[0].keep_probabilities, expected, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same():
    text = " ".join([TEXT] * 5)
    ours = Compressor(network(len(TOKENIZER)), TOKENIZER, max_units=24, device="cuda")
    np.testing.assert_allclose(
        ours(text).keep_probabilities, HALF(text).keep_probabilities, atol=1e-4
    )


def test_a_frozen_encoder_is_not_left_with_memories():
    policy = network(len(TOKENIZER))
    policy.freeze_encoder = True
    Compressor(policy, TOKENIZER, device="cpu")(TEXT)
    assert not policy._hidden


def test_a_network_of_nan_is_no_silent_choice():
    policy = network(len(TOKENIZER))
    with torch.no_grad():
        policy.keep_head[-1].weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        Compressor(policy, TOKENIZER, device="cpu")(TEXT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "pass exactly one of text, instruction="),
        ({"text": "a", "instruction": "b"}, "pass exactly one of text"),
        ({"text": "a", "input": "b"}, "pass exactly one of text"),
        ({"input": "b"}, "pass exactly one of text"),
        ({"text": 3}, "text must be a string or a list of strings, got 3"),
        ({"text": ["a", 3]}, r"text\[1\] must be a string, got int"),
        ({"text": "a\ud800"}, "unpaired surrogate at character 1"),
        ({"instruction": "a", "input": ["b"]}, "lists of the same length"),
        ({"instruction": ["a"], "input": ["b", "c"]}, "got 1 and 2"),
        ({"text": "a", "rate": 1.1}, "rate must be between 0 and 1"),
        ({"text": "a", "rate": float("nan")}, "rate must be between"),
        ({"text": "a", "batch_size": 0}, "batch_size must be an integer of at least 1"),
        ({"text": "a", "force_keep": "a"}, "force_keep must be a sequence"),
    ],
)
def test_wrong_arguments_are_told(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        HALF(**arguments)


def test_wrong_settings_are_told(bert_folder):
    with pytest.raises(ValueError, match=r"knows 7 token ids, but the tokenizer has \d+"):
        Compressor(network(7), TOKENIZER)
    with pytest.raises(ValueError, match="max_units must be an integer of at least 1, got 0"):
        compressor(TOKENIZER, max_units=0)
    with pytest.raises(ValueError, match="unit must be 'token' or 'word'"):
        compressor(TOKENIZER, unit="sentence")
    with pytest.raises(ValueError, match="template must be"):
        compressor(TOKENIZER, template="none")
    with pytest.raises(ValueError, match=r"the template alone has .* raise max_units"):
        compressor(TOKENIZER, max_units=3)(TEXT)

    from pcrl_gym.compressor.network import KeepNetwork, pretrained_encoder

    bert = KeepNetwork(pretrained_encoder(bert_folder))
    with pytest.raises(ValueError, match=f"has {models.CONTEXT} positions"):
        Compressor(bert, bert_folder, max_units=models.CONTEXT + 1)
    assert Compressor(bert, bert_folder, device="cpu")(TEXT, rate=0.0).text == TEXT


def test_threads_share_a_compressor_with_a_frozen_encoder(bert_folder):
    from concurrent.futures import ThreadPoolExecutor

    from pcrl_gym.compressor.network import KeepNetwork, pretrained_encoder

    bert = KeepNetwork(pretrained_encoder(bert_folder), freeze_encoder=True)
    shared = Compressor(bert, bert_folder, device="cpu")
    texts = [f"Please sort {n % 5} words: pear, fig" for n in range(200)]
    expected = [shared(text, rate=0.5).text for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: shared(text, rate=0.5).text, texts)) == expected
    assert not bert._hidden  # nothing is kept of what users send


def test_a_template_that_changes_the_text_is_refused_for_free_text():
    reader = compressor(TOKENIZER, template=Shouting(), bias=20.0)
    with pytest.raises(ValueError, match="template splits or changes an instruction"):
        reader("abc")
    assert reader(instruction="abc").text == ">ABC"


def test_units_that_are_dropped_by_hand():
    logits, free = np.array([1.0, 0.0, -1.0, -2.0, -3.0]), np.array([1, 1, 1, 1, 0], bool)
    assert dropped_units(logits, free, None).tolist() == [False, True, True, True, False]
    assert dropped_units(logits, free, 0.0).tolist() == [False] * 5
    assert dropped_units(logits, free, 0.49).tolist() == [False, False, False, True, False]
    assert dropped_units(logits, free, 1.0).tolist() == [True, True, True, True, False]
