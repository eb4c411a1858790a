"""Models of many architectures answer as their own `generate` does for each prompt alone."""

from __future__ import annotations

import copy
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

import models
from pcrl_gym.errors import PromptTooLongError
from pcrl_gym.generators.base import Answer
from pcrl_gym.generators.batch_invariance import difference, length_boundary
from pcrl_gym.generators.generation_config import context_length
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.generators.logits import logits_at

NEW = 10
PROMPTS = [
    "Is it true that the sun rises?",
    "x",
    "Write the words in reverse order, please: apple, banana and cherry.",
]
MODERN = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
}
GPT = {"n_positions": 256, "n_embd": 32, "n_layer": 2, "n_head": 2, "initializer_range": 0.3}
OPEN = {"hidden_size": 32, "num_hidden_layers": 2, "initializer_range": 0.3}
MAMBA = OPEN | {"state_size": 8}
LAYERS = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "init_std": 0.3,
    "decoder_start_token_id": 2,
}
BART = LAYERS | {"max_position_embeddings": 256}
T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "initializer_factor": 3.0,
    "decoder_start_token_id": 0,
}
LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": 32,
    "rope_theta": 10_000.0,
}
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10_000.0}

CAUSAL: dict[str, dict[str, Any]] = {
    "llama": MODERN,
    "gemma2": MODERN | {"query_pre_attn_scalar": 8, "final_logit_softcapping": 2.0},
    "cohere": MODERN | {"logit_scale": 0.25},
    "granite": MODERN | {"logits_scaling": 3.0},
    "mistral": MODERN | {"sliding_window": 8},
    "gpt_oss": MODERN | {"num_local_experts": 4, "sliding_window": 8},
    "gpt2": GPT,
    "openai-gpt": GPT,
    "ctrl": GPT | {"dff": 64},
    "codegen": GPT | {"n_ctx": 256, "n_head": 4, "rotary_dim": 4},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64, "initializer_range": 0.3},
    "rwkv": OPEN | {"attention_hidden_size": 32, "intermediate_size": 64},
    "mamba": MAMBA,
    "mamba2": MAMBA | {"num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 8},
    "jamba": MODERN
    | {
        "num_experts": 2,
        "mamba_d_state": 8,
        "mamba_dt_rank": 4,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "use_mamba_kernels": False,
    },
    "recurrent_gemma": MODERN
    | {"lru_width": 32, "attention_window_size": 16, "block_types": ["recurrent", "attention"]},
    "falcon": OPEN | {"num_attention_heads": 4, "alibi": True, "multi_query": False},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 256, "expansion_ratio": 2},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3},
    "opt": OPEN
    | {
        "word_embed_proj_dim": 32,
        "ffn_dim": 64,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "init_std": 0.3,
    },
    "biogpt": MODERN,
    "xglm": {
        "d_model": 32,
        "ffn_dim": 64,
        "num_layers": 2,
        "attention_heads": 4,
        "init_std": 0.3,
    },
    "phi3": MODERN | {"original_max_position_embeddings": 32, "rope_parameters": LONGROPE},
    "phimoe": MODERN
    | {
        "num_local_experts": 2,
        "original_max_position_embeddings": 32,
        "rope_parameters": LONGROPE | {"short_mscale": 1.0, "long_mscale": 1.3},
    },
    "qwen2": MODERN | {"max_position_embeddings": 32, "rope_parameters": DYNAMIC},
    "llama4_text": MODERN
    | {
        "intermediate_size_mlp": 64,
        "num_local_experts": 2,
        "no_rope_layers": [1, 0],
        "attention_chunk_size": 16,
        "floor_scale": 33,
        "attn_scale": 0.5,
    },
}
SEQ2SEQ: dict[str, dict[str, Any]] = {
    "t5": T5,
    "umt5": T5,
    "longt5": T5 | {"local_radius": 4},
    "bart": BART,
    "marian": BART | {"pad_token_id": 1},
    "pegasus": BART,
    "m2m_100": BART,
    "led": LAYERS
    | {
        "max_encoder_position_embeddings": 256,
        "max_decoder_position_embeddings": 64,
        "attention_window": 8,
    },
}
KINDS = [*CAUSAL, *SEQ2SEQ]


def build(kind: str, **changes: Any) -> tuple[Any, Any]:
    """A tiny model with random weights, and its tokenizer."""
    tokenizer = models.TOKENIZERS[
        "t5" if "t5" in kind else "roberta" if kind in SEQ2SEQ else "llama"
    ]()
    settings = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **(SEQ2SEQ if kind in SEQ2SEQ else CAUSAL)[kind],
        **changes,
    }
    config = AutoConfig.for_model(kind, **settings)
    auto: Any = AutoModelForSeq2SeqLM if kind in SEQ2SEQ else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = auto.from_config(config).eval()
    if kind in ("bart", "marian", "pegasus"):
        model.final_logits_bias = torch.linspace(-3.0, 3.0, len(tokenizer))[None]
    model.generation_config.forced_eos_token_id = None
    return model, tokenizer


def quietly(model: Any, tokenizer: Any) -> HFGenerator:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return HFGenerator(model, tokenizer)


def alone(model: Any, generator: HFGenerator, prompts: list[str], new: int) -> list[Answer]:
    """What `generate` of a model that has answered nothing yet says to each prompt."""
    answers = []
    for row in generator._codec.prompts(prompts):
        fresh = copy.deepcopy(model)
        ids = torch.tensor([row])
        output = fresh.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new,
            do_sample=False,
            pad_token_id=generator._ids["pad_token_id"],
        )[0]
        answers.append(
            generator._codec.answer(
                output[1 if generator.is_encoder_decoder else len(row) :].tolist()
            )
        )
    return answers


def drafts_of(answers: list[Answer]) -> list[list[Answer]]:
    """The answers themselves, with one wrong token, and those to other prompts."""
    wrong = [Answer("", (*a.token_ids[:3], 7, *a.token_ids[4:])) for a in answers]
    return [answers, wrong, answers[::-1]]


@pytest.mark.parametrize("kind", KINDS)
def test_company_and_drafts_change_no_answer(kind: str) -> None:
    model, tokenizer = build(kind)
    generator = quietly(copy.deepcopy(model), tokenizer)
    expected = alone(model, generator, PROMPTS, NEW)
    assert generator.generate(PROMPTS, NEW) == expected
    for drafts in drafts_of(expected):
        assert generator.generate_from(PROMPTS, drafts, NEW) == expected
    if kind != "marian":  # repeats itself
        assert len(set(expected)) == len(PROMPTS)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "xlnet"])
def test_likelihoods_are_those_of_a_plain_forward_pass(kind: str) -> None:
    model, tokenizer = build(kind)
    generator = quietly(copy.deepcopy(model), tokenizer)
    answers = generator.generate(PROMPTS[::-1], NEW)
    values = generator.log_likelihood(PROMPTS, answers)
    for row, answer, value in zip(generator._codec.prompts(PROMPTS), answers, values, strict=True):
        target = list(answer.token_ids)
        fresh = copy.deepcopy(model)
        with torch.no_grad():
            if generator.is_encoder_decoder:
                read = torch.tensor([[generator._ids["decoder_start_token_id"], *target[:-1]]])
                logits = fresh(torch.tensor([row]), decoder_input_ids=read).logits[0]
            else:
                logits = fresh(torch.tensor([[*row, *target]])).logits[0, len(row) - 1 : -1]
        right = logits.log_softmax(-1)[range(len(target)), target].mean().item()
        assert value == pytest.approx(right, abs=2e-3)


def test_scores_of_a_model_whose_forward_pass_is_no_prediction_come_from_decoding() -> None:
    """XLNet's forward pass sees the token that it is to predict."""
    model, tokenizer = build("xlnet")
    generator = quietly(model, tokenizer)
    assert generator._invariance.scoring is None
    [best] = generator.generate(PROMPTS[:1], 1)
    others = [Answer("", (i,)) for i in range(3, len(tokenizer), 40)]
    values = generator.log_likelihood(PROMPTS[:1] * (len(others) + 1), [best, *others])
    assert values[0] == max(values)
    every = [Answer("", (i,)) for i in range(len(tokenizer))]
    assert np.exp(generator.log_likelihood(["x"] * len(every), every)).sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("llama", ("padded", "padded", True, None)),
        ("bloom", ("padded", "padded", True, None)),
        ("t5", ("padded", "padded", True, None)),
        ("openai-gpt", ("padded", "padded", False, None)),  # no cache
        ("mistral", ("padded", "padded", False, None)),  # a window
        ("mamba", ("padded", "padded", False, None)),  # a state
        ("bart", ("padded", "padded", False, None)),  # absolute positions
        ("recurrent_gemma", ("equal", "equal", False, None)),
        ("xlnet", ("equal", None, False, None)),
        ("phi3", ("padded", "padded", True, 32)),
        ("qwen2", ("padded", "padded", True, 31)),
        ("llama4_text", ("padded", "padded", False, 32)),
    ],
)
def test_what_a_trial_finds_is_said_once(kind: str, found: tuple[Any, ...]) -> None:
    model, tokenizer = build(kind)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        generator = HFGenerator(model, tokenizer)
        generator.generate(PROMPTS, 2)
    assert torch.equal(torch.get_rng_state(), state)
    can = generator._invariance
    assert (can.decoding, can.scoring, can.drafts, can.boundary) == found
    slow = [str(w.message) for w in told if "slower" in str(w.message)]
    assert len(slow) == (found != ("padded", "padded", True, None))
    assert all(problem in slow[0] for problem in can.problems)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["llama", "t5", "bart", "marian", "openai-gpt", "mamba", "rwkv"])
def test_a_trial_finds_the_same_in_half_precision(kind: str, dtype: torch.dtype) -> None:
    model, tokenizer = build(kind)
    whole, half = quietly(copy.deepcopy(model), tokenizer), quietly(model.to(dtype), tokenizer)
    for name in ("decoding", "scoring", "drafts", "boundary"):
        assert getattr(half._invariance, name) == getattr(whole._invariance, name)


WORDS = [
    "Write the words in reverse order, please",
    "Is it true that the sun rises in the east? " * 3,
    "x",
    "What is the opposite of hot? Answer in one word, please. " * 2,
]


@pytest.mark.parametrize("kind", ["phi3", "phimoe", "qwen2", "llama4_text"])
@pytest.mark.parametrize("new", [1, 12])
def test_positions_that_depend_on_the_length_do_not_depend_on_company(kind: str, new: int) -> None:
    """Prompts shorter and longer than the boundary of 32 tokens, and answers that cross it."""
    model, tokenizer = build(kind)
    generator = quietly(copy.deepcopy(model), tokenizer)
    prompts = [*WORDS, *("q" * n for n in (17, 18, 19, 20, 22, 28, 29, 30, 31))]
    sizes = [len(row) for row in generator._codec.prompts(prompts)]
    assert 24 in sizes
    assert min(sizes) < 10
    assert max(sizes) > 40
    expected = alone(model, generator, prompts, new)
    assert generator.generate(prompts, new) == expected
    assert [generator.generate([p], new)[0] for p in reversed(prompts)] == expected[::-1]
    for drafts in drafts_of(expected):
        assert generator.generate_from(prompts, drafts, new) == expected
        short = [i for i, size in enumerate(sizes) if size + new <= 31]
        assert generator.generate_from(
            [prompts[i] for i in short], [drafts[i] for i in short], new
        ) == [expected[i] for i in short]
    together = generator.log_likelihood(prompts, expected)
    one_by_one = [
        quietly(copy.deepcopy(model), tokenizer).log_likelihood([p], [a])[0]
        for p, a in zip(prompts, expected, strict=True)
    ]
    np.testing.assert_allclose(together, one_by_one, atol=2e-3)


def test_the_boundary_of_plain_positions_is_none() -> None:
    assert length_boundary(build("llama")[0]) is None
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}
    assert length_boundary(build("llama", rope_parameters=scaled)[0]) is None


@pytest.mark.parametrize(
    "kind", ["llama", "gpt2", "gemma2", "cohere", "granite", "t5", "bart", "opt", "mamba", "bloom"]
)
def test_the_head_sees_the_wanted_positions_alone(kind: str) -> None:
    """Scaled, capped or biased after the head: the logits are those of a plain forward pass."""
    model, tokenizer = build(kind)
    ids = torch.arange(5, 29).reshape(2, 12)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    seen: list[torch.Size] = []
    hook = model.get_output_embeddings().register_forward_hook(
        lambda *a: seen.append(a[-1].shape[:-1])
    )
    with torch.inference_mode():
        logits, _ = logits_at(model, [range(3, 5), range(11, 12)], ids.shape, **inputs)
        hook.remove()
        plain = model(**inputs).logits
    assert [shape.numel() for shape in seen] == [3]
    torch.testing.assert_close(logits, plain[[0, 0, 1], [3, 4, 11]])
    # `generate` and users of the model see nothing of it.
    assert plain.shape == (2, 12, len(tokenizer))


@pytest.mark.parametrize("kind", ["llama", "t5", "bart"])
def test_padding_never_enters_the_head(kind: str) -> None:
    model, tokenizer = build(kind)
    generator = quietly(model, tokenizer)
    answers = generator.generate(PROMPTS, NEW)
    answers = [Answer("", a.token_ids[: 2 + 3 * i]) for i, a in enumerate(answers)]
    rows: list[int] = []
    model.get_output_embeddings().register_forward_hook(
        lambda *a: rows.append(a[-1].shape[:-1].numel())
    )
    generator.log_likelihood(PROMPTS, answers)
    assert rows == [sum(len(a.token_ids) for a in answers)]
    rows.clear()
    if generator._invariance.drafts:
        # The last wanted token is predicted, so of drafts of 2, 5 and 8 tokens these are read.
        generator.generate_from(PROMPTS, [Answer("", a.token_ids) for a in answers], 30)
        assert rows[0] == (2 + 1) + (5 + 1) + (8 + 1)


def test_threads_that_share_a_model_do_not_disturb_each_other() -> None:
    model, tokenizer = build("llama")
    generator = quietly(model, tokenizer)
    answers = generator.generate(PROMPTS, NEW)
    cases = [([p], [a]) for p in PROMPTS for a in answers]
    expected = [generator.log_likelihood(*case) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            assert list(pool.map(lambda case: generator.log_likelihood(*case), cases)) == expected


def test_limits_are_found_whatever_they_are_called() -> None:
    limits = {}
    for kind in ("xlnet", "bloom", "mpt", "opt", "openai-gpt", "t5", "led", "qwen2", "mamba"):
        limits[kind] = context_length(quietly(*build(kind)).model.config)
    assert limits == {
        "xlnet": None,
        "bloom": None,
        "mpt": 256,
        "opt": 256,
        "openai-gpt": 256,
        "t5": None,
        "led": 256,
        "qwen2": 128,  # four times what it was trained with
        "mamba": None,
    }


@pytest.mark.parametrize("kind", ["led", "openai-gpt", "opt", "bart", "mpt"])
def test_prompts_beyond_the_limit_are_told_before_any_work(kind: str) -> None:
    model, tokenizer = build(kind)
    generator = quietly(model, tokenizer)
    limit = generator.max_prompt_tokens
    assert limit is not None
    room = 0 if generator.is_encoder_decoder else 2
    # No piece of the tokenizers has two of it.
    fits = "q" * (limit - room - generator.count_tokens(["q"])[0] + 1)
    assert generator.count_tokens([fits])[0] == limit - room
    assert len(generator.generate([fits, "x"], 2)) == 2
    with pytest.raises(PromptTooLongError, match="256 tokens"):
        generator.generate(["x", fits + "q"], 2)
    if kind == "led":
        generator.generate(["x"], 64)
        with pytest.raises(PromptTooLongError, match="64 tokens"):
            generator.generate(["x"], 65)


@pytest.mark.parametrize("kind", ["llama", "bart"])
def test_a_padding_token_that_the_model_lacks_is_replaced(kind: str) -> None:
    model, tokenizer = build(kind)
    expected = quietly(copy.deepcopy(model), tokenizer).generate(PROMPTS, NEW)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert tokenizer.pad_token_id == model.get_input_embeddings().num_embeddings
    generator = quietly(model, tokenizer)
    assert generator.generate(PROMPTS, NEW) == expected
    assert len(generator.log_likelihood(PROMPTS, expected)) == len(PROMPTS)


@pytest.mark.parametrize("end", [-1, 99_999, [2, -1], [99_999, 2]])
@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_ends_that_the_model_cannot_write_are_left_out(kind: str, end: Any) -> None:
    model, tokenizer = build(kind)
    model.generation_config.eos_token_id = [2] if isinstance(end, list) else None
    model.config.eos_token_id = None
    tokenizer.eos_token = None
    expected = quietly(copy.deepcopy(model), tokenizer)
    model.generation_config.eos_token_id = end
    generator = quietly(model, tokenizer)
    assert generator._ids == expected._ids
    assert generator._invariance == expected._invariance
    assert generator.generate(PROMPTS, NEW) == expected.generate(PROMPTS, NEW)


@pytest.mark.parametrize(
    "add",
    [
        lambda tokenizer: tokenizer.add_tokens(["banana"]),
        lambda tokenizer: tokenizer.add_special_tokens({"bos_token": "<begin>"}),
        lambda tokenizer: tokenizer.add_special_tokens({"pad_token": "[P]", "eos_token": "[P]"}),
    ],
)
def test_tokens_that_the_model_lacks_are_told_when_loading(add: Any) -> None:
    model, tokenizer = build("llama")
    add(tokenizer)
    with pytest.raises(ValueError, match=r"1 tokens that the model does not know.*resize"):
        HFGenerator(model, tokenizer)


def test_embeddings_may_have_more_rows_than_the_tokenizer_has_tokens() -> None:
    _, tokenizer = build("llama")
    model, _ = build("llama", vocab_size=len(tokenizer) + 24)
    assert quietly(model, tokenizer).generate(PROMPTS, NEW)


@pytest.mark.parametrize("kind", ["bart", "m2m_100", "t5"])
def test_the_first_token_that_a_model_needs_is_kept(kind: str) -> None:
    """NLLB, M2M100 and mBART are told the language to answer in by it."""
    model, tokenizer = build(kind)
    model.generation_config.forced_bos_token_id = 9
    generator = quietly(copy.deepcopy(model), tokenizer)
    expected = alone(model, generator, PROMPTS, NEW)
    assert {answer.token_ids[0] for answer in expected} == {9}
    assert generator.generate(PROMPTS, NEW) == expected
    for drafts in drafts_of(expected):
        assert generator.generate_from(PROMPTS, drafts, NEW) == expected
    assert generator._ids["forced_bos_token_id"] == 9


def test_tokens_that_a_model_must_not_write_are_kept() -> None:
    model, tokenizer = build("llama")
    plain = quietly(copy.deepcopy(model), tokenizer).generate(PROMPTS, NEW)
    first, second = plain[0].token_ids[0], plain[2].token_ids[0]
    model.generation_config.update(suppress_tokens=[first], bad_words_ids=[[second]])
    generator = quietly(copy.deepcopy(model), tokenizer)
    expected = alone(model, generator, PROMPTS, NEW)
    assert expected != plain
    assert not {first, second} & {i for answer in expected for i in answer.token_ids}
    assert generator.generate(PROMPTS, NEW) == expected
    for drafts in [*drafts_of(expected), plain]:
        assert generator.generate_from(PROMPTS, drafts, NEW) == expected


def test_settings_that_are_dropped_are_said() -> None:
    model, tokenizer = build("llama")
    model.generation_config.update(min_new_tokens=3, temperature=0.7, do_sample=True)
    with pytest.warns(UserWarning, match=r"without the saved.*\{'min_new_tokens': 3\}"):
        HFGenerator(model, tokenizer)


def test_what_cannot_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = build("llama")

    def fail(**kwargs: object) -> None:
        raise IndexError("out of heads")

    with monkeypatch.context() as patch:
        patch.setattr(model, "generate", fail)
        with pytest.raises(ValueError, match=r"cannot be used.*IndexError: out of"):
            HFGenerator(model, tokenizer)
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"NaN.*float32"):
        HFGenerator(model, tokenizer)


def test_differences_are_measured_by_the_spread() -> None:
    right = torch.tensor([[0.0, 2.0], [0.0, 2.0]])
    assert difference(right, right) == 0.0
    assert difference(right + 5.0, right) == pytest.approx(0.0, abs=1e-6)
    assert difference(right * torch.tensor([[1.0], [2.0]]), right) > 0.5
    assert difference(torch.full_like(right, torch.nan), right) == float("inf")
