"""Drafts change how fast a generator answers, never what it answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, MistralConfig, MistralForCausalLM

import models
from pcrl_gym.episodes.episode import Episode, EpisodeBuilder
from pcrl_gym.errors import GeneratorError
from pcrl_gym.generators.base import Answer, DraftingGenerator
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.generators.speculative.drafts import DraftedAnswer, verify_next
from pcrl_gym.generators.speculative.partial_text import GrowingText
from pcrl_gym.micro import micro_prompts
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import make_template
from pcrl_gym.scoring.rewards import ThresholdReward, make_reward
from pcrl_gym.scoring.scorer import Scorer

LIMIT = 30
KINDS = ("gpt2", "llama", "t5", "micro", "micro-seq2seq")
UNICODE = (
    Prompt(
        id="u0",
        instruction="Écris à l’envers: 🙂 猫は好きです",
        input="مرحبا \u200b x",
        output="猫",
    ),
    Prompt(id="u1", instruction="🏳️‍🌈 K K İ ß", input="", output="İ"),
    Prompt(id="u2", instruction="</s><|endoftext|> Input: <pad>", input="\t\u00a0", output=""),
)


@pytest.fixture(scope="module", params=KINDS)
def generator(request: pytest.FixtureRequest) -> HFGenerator:
    if request.param.startswith("micro"):
        return load_generator(request.param, device="cpu")
    folder: Path = request.getfixturevalue(f"{request.param}_folder")
    return HFGenerator.from_pretrained(str(folder), device="cpu")


def pairs_of(generator: HFGenerator, count: int, seed: int) -> list[tuple[Episode, np.ndarray]]:
    """Prompts with masks that drop nothing, everything, or a random share."""
    rng = np.random.default_rng(seed)
    builder = EpisodeBuilder(generator.tokenizer, make_template("alpaca"))
    prompts = [p for p in micro_prompts("train") if len(p.instruction + p.input) < 150]
    chosen = [*UNICODE, *(prompts[i] for i in rng.choice(len(prompts), count // 4))]
    pairs = []
    for episode in builder(chosen):
        rates = [0.0, 1.0, *rng.choice([0.05, 0.15, 0.3, 0.6], 3)]
        pairs += [(episode, rng.random(len(episode)) >= rate) for rate in rates]
    return pairs[:count]


def check_exact(generator: HFGenerator, count: int, seed: int) -> None:
    pairs = pairs_of(generator, count, seed)
    assert len(pairs) == count
    prompts = [episode.text for episode, _ in pairs]
    compressed = [episode.compress(episode.kept(mask)) for episode, mask in pairs]
    originals = generator.generate(prompts, LIMIT)
    expected = generator.generate(compressed, LIMIT)

    gold = [episode.prompt.output for episode, _ in pairs]
    assert generator.generate_from(prompts, gold, LIMIT) == originals
    assert generator.generate_from(compressed, originals, LIMIT) == expected
    # A draft from another prompt, and none.
    assert generator.generate_from(compressed, originals[::-1], LIMIT) == expected
    assert generator.generate_from(compressed, [""] * count, LIMIT) == expected

    episodes, masks = zip(*pairs, strict=True)
    full, early = (
        Scorer(generator, ThresholdReward(), LIMIT, early_stopping=not full)(episodes, masks)
        for full in (True, False)
    )
    np.testing.assert_array_equal(early.reward, full.reward)
    np.testing.assert_array_equal(early.survived, full.survived)
    np.testing.assert_array_equal(full.survived, full.similarity > 0.9)
    assert full.compressed_outputs == [answer.text for answer in expected]
    assert not full.partial.any()
    assert early.partial.any()
    for i in np.flatnonzero(early.partial):
        # A partial answer begins the full one, and has no similarity.
        assert full.compressed_outputs[i].startswith(early.compressed_outputs[i])
        assert np.isnan(early.similarity[i])
    complete = ~early.partial
    np.testing.assert_array_equal(early.similarity[complete], full.similarity[complete])


def test_answers_and_rewards_are_those_of_plain_decoding(generator: HFGenerator) -> None:
    check_exact(generator, count=100, seed=0)


@pytest.mark.slow
def test_answers_and_rewards_are_those_of_plain_decoding_on_10000_pairs(
    generator: HFGenerator,
) -> None:
    check_exact(generator, count=2_000, seed=1)  # of each of the five generators


class Passes:
    """Counts the forward passes of a model: the rows they read, the logits per row they form."""

    def __init__(self, generator: HFGenerator) -> None:
        self.rows: list[int] = []
        self.columns: list[float] = []
        head = generator.model.get_output_embeddings()
        self._handles = [
            generator.model.register_forward_pre_hook(self._begin, with_kwargs=True),
            head.register_forward_hook(self._count),
        ]

    def _begin(self, module: object, inputs: object, named: dict[str, Any]) -> None:
        read = named.get("decoder_input_ids")
        self.rows.append(len(named["input_ids"] if read is None else read))

    def _count(self, module: object, inputs: object, output: torch.Tensor) -> None:
        self.columns.append(output.shape[:-1].numel() / self.rows[-1])

    def __enter__(self) -> Passes:
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()


def test_a_draft_that_holds_takes_one_pass(generator: HFGenerator) -> None:
    prompts = [episode.text for episode, _ in pairs_of(generator, 20, seed=2)]
    answers = generator.generate(prompts, LIMIT)
    with Passes(generator) as passes:
        assert generator.generate_from(prompts, answers, LIMIT) == answers
    assert sum(passes.rows) == len(prompts)


def test_the_rest_of_a_draft_is_used_where_it_lines_up_again(generator: HFGenerator) -> None:
    prompts = list(dict.fromkeys(e.text for e, _ in pairs_of(generator, 60, seed=3)))
    answers = generator.generate(prompts, LIMIT)
    long = [i for i, answer in enumerate(answers) if len(set(answer.token_ids)) >= 8]
    assert long
    prompts, answers = [prompts[i] for i in long], [answers[i] for i in long]
    # One token of each draft is missing, one is too many, one is another.
    edits: list[Callable[[list[int]], list[int]]] = [
        lambda ids: ids[:3] + ids[4:],
        lambda ids: [*ids[:3], 7, *ids[3:]],
        lambda ids: [*ids[:3], 7, *ids[4:]],
    ]
    for edit in edits:
        drafts = [Answer("", tuple(edit(list(answer.token_ids)))) for answer in answers]
        with Passes(generator) as passes:
            assert generator.generate_from(prompts, drafts, LIMIT) == answers
            # Without lining up, every token after the third would take a pass.
        assert sum(passes.rows) < 0.8 * sum(len(answer.token_ids) - 2 for answer in answers)


def test_decided_rows_stop(generator: HFGenerator) -> None:
    prompts = [episode.text for episode, _ in pairs_of(generator, 20, seed=4)]
    full = generator.generate(prompts, LIMIT)
    asked: list[tuple[int, str, int]] = []

    def decided(i: int, text: str, words_left: int) -> bool:
        asked.append((i, text, words_left))
        return i % 2 == 0

    answers = generator.generate_from(prompts, [""] * 20, LIMIT, decided)
    for i, (answer, whole) in enumerate(zip(answers, full, strict=True)):
        if i % 2 == 0 and len(whole.token_ids) > 1:
            assert answer.partial
            assert answer.token_ids == whole.token_ids[:1]
        else:
            assert answer == whole
    most = GrowingText(generator.tokenizer).words_per_token
    assert most is not None
    assert max(left for _, _, left in asked) == (LIMIT - 1) * most
    for i, text, _ in asked:
        assert full[i].text.startswith(text.strip().rstrip("\ufffd"))


def test_what_must_not_be_skipped_is_not(generator: HFGenerator) -> None:
    assert isinstance(generator, DraftingGenerator)
    assert generator.generate_from([], [], 5) == []
    with pytest.raises(ValueError, match="one draft per prompt"):
        generator.generate_from(["a"], [], 5)
    with pytest.raises(ValueError, match="max_new_tokens"):
        generator.generate_from(["a"], [""], 0)
    assert not generator.generate_from(["a"], [""], 1, lambda *_: True)[0].partial
    [answer] = generator.generate_from(["a"], ["much longer than the limit allows"], 1)
    assert [answer] == generator.generate(["a"], 1)


def test_nan_is_an_error(gpt2_folder: Path) -> None:
    generator = HFGenerator.from_pretrained(str(gpt2_folder), device="cpu")
    with torch.no_grad():
        generator.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(GeneratorError, match="NaN"):
        generator.generate_from(["a", "b c"], ["x", ""], 4)


def build_mistral(folder: Path) -> Path:
    tokenizer = models.llama_tokenizer()
    config = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=8, max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.3,
    )  # fmt: skip
    return models.save(folder, tokenizer, MistralForCausalLM, config, seed=0)


def build_bart(folder: Path) -> Path:
    tokenizer = models.roberta_tokenizer()
    config = BartConfig(
        vocab_size=len(tokenizer), d_model=32, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64,
        decoder_ffn_dim=64, max_position_embeddings=256, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id, forced_eos_token_id=None, init_std=0.5,
    )  # fmt: skip
    return models.save(folder, tokenizer, BartForConditionalGeneration, config, seed=0)


@pytest.mark.parametrize("build", [build_mistral, build_bart])
def test_models_whose_cache_takes_nothing_back_decode_plainly(
    build: Callable[[Path], Path], tmp_path: Path
) -> None:
    generator = HFGenerator.from_pretrained(str(build(tmp_path)), device="cpu")
    prompts = ["Write the words in reverse order.", "Is it true? " * 5, "x"]
    plain = generator.generate(prompts, 12)
    assert generator.generate_from(prompts, [a.text for a in plain], 12) == plain
    assert generator.generate_from(prompts, plain[::-1], 12, lambda *_: True) == plain


def test_what_follows_an_end_in_a_draft_is_not_read(generator: HFGenerator) -> None:
    prompts = [episode.text for episode, _ in pairs_of(generator, 20, seed=6)]
    answers = generator.generate(prompts, LIMIT)
    longer = [Answer(a.text, (*a.token_ids, *a.token_ids)) for a in answers]
    assert generator.generate_from(prompts, longer, LIMIT) == answers


def test_the_last_answers_of_a_group_go_on_with_later_ones(
    generator: HFGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = list(dict.fromkeys(e.text for e, _ in pairs_of(generator, 200, seed=7)))
    expected = generator.generate(prompts, LIMIT)
    monkeypatch.setattr(generator.readings, "tokens", 256)
    monkeypatch.setattr(generator.batches, "tokens", 1024)
    groups: list[set[int]] = []

    def watched(reader: Any, answers: list[DraftedAnswer], *others: Any) -> list[DraftedAnswer]:
        groups.append({answer.index for answer in answers})
        return verify_next(reader, answers, *others)

    monkeypatch.setattr("pcrl_gym.generators.speculative.decoding.verify_next", watched)
    assert generator.generate_from(prompts, expected[::-1], LIMIT) == expected
    begun: set[int] = set()
    joined = False
    for group in groups:
        joined |= bool(group & begun and group - begun)
        begun |= group
    # Answers of random weights are equally long: nothing is left of a group.
    assert joined or not generator.name.startswith("micro")


def test_drafts_that_never_hold_are_soon_not_read(
    generator: HFGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [e.text for e, _ in pairs_of(generator, 200, seed=5)]
    answers = generator.generate(prompts, LIMIT)
    wrong = [Answer("", tuple((i + 1) % 90 for i in answer.token_ids)) for answer in answers]
    monkeypatch.setattr(generator.readings, "tokens", 512)  # many batches
    with Passes(generator) as passes:
        assert generator.generate_from(prompts, wrong, LIMIT) == answers
    assert passes.columns[0] > 6  # on average
    assert sorted(passes.columns)[-4] <= 4  # not in every batch


@pytest.mark.parametrize("reward", ["linear", "band", "likelihood"])
def test_rewards_without_a_threshold_see_full_answers(reward: str) -> None:
    generator = load_generator("micro", device="cpu")
    episodes, masks = zip(*pairs_of(generator, 40, seed=5), strict=True)
    scores = Scorer(generator, make_reward(reward), LIMIT, early_stopping=True)(episodes, masks)
    assert not scores.partial.any()


@pytest.mark.parametrize("failing", [2, 5, 9, 14])
def test_no_answer_is_lost_whenever_memory_runs_out(
    failing: int, generator: HFGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts are read in several batches, and answers wait for one another between them."""
    prompts = list(dict.fromkeys(e.text for e, _ in pairs_of(generator, 200, seed=7)))
    expected = generator.generate(prompts, LIMIT)
    for batches in (generator.readings, generator.batches):  # they shrink where memory is short
        monkeypatch.setattr(batches, "tokens", batches.tokens)
    generator.readings.tokens, generator.batches.tokens = 400, 1024  # two prompts and more
    forward, calls = generator.model.forward, []

    def short_of_memory(*args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs)
        if len(calls) == failing:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return forward(*args, **kwargs)

    monkeypatch.setattr(generator.model, "forward", short_of_memory)
    assert generator.generate_from(prompts, expected[::-1], LIMIT) == expected
    assert len(calls) > failing
