from __future__ import annotations

import copy
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
)

import models
from fakes import CountingGenerator
from pcrl_gym.errors import GeneratorError, PromptTooLongError
from pcrl_gym.generators.base import Answer, Generator
from pcrl_gym.generators.batching import pad_rows
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.generators.pretrained import choose_device

KINDS = ("gpt2", "llama", "t5")
NEW = 12
PROMPTS = [
    "Instruction: Write the words in reverse order.\nInput: apple, banana\nOutput: \n",
    "Is it true?",
    "",
    " ",
    "x",
    "🙂 猫は好きです مرحبا \u0000 \u200b",
    "Output: </s><|endoftext|> <s> <pad> <unk> end",
    "Please sort the numbers from the smallest to the largest: 3 14 15 92 65 35. " * 3,
]


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(f"{request.param}_folder")


@pytest.fixture
def generator(folder: Path) -> HFGenerator:
    return HFGenerator.from_pretrained(str(folder), device="cpu")


@pytest.fixture
def gpt2(gpt2_folder: Path) -> HFGenerator:
    return HFGenerator.from_pretrained(str(gpt2_folder), device="cpu")


def raw(folder: Path):  # type: ignore[no-untyped-def]
    """Model and tokenizer as a user of transformers would load them."""
    auto = AutoModelForSeq2SeqLM if "t5" in folder.name else AutoModelForCausalLM
    return auto.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def model_ids(generator: HFGenerator, prompt: str) -> list[int]:
    return generator._codec.prompts([prompt])[0]


def test_follows_the_protocol(generator: HFGenerator) -> None:
    assert isinstance(generator, Generator)
    assert load_generator(generator) is generator


def test_answers_equal_plain_generate_one_by_one(folder: Path, generator: HFGenerator) -> None:
    model, tokenizer = raw(folder)
    answers = generator.generate(PROMPTS, NEW)
    assert len({answer.token_ids for answer in answers}) > 3
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        ids = torch.tensor([model_ids(generator, prompt)])
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False
        )[0]
        start = 1 if generator.is_encoder_decoder else ids.shape[1]
        assert answer.token_ids == tuple(output[start:].tolist())
        text = tokenizer.decode(output[start:], skip_special_tokens=True)
        assert answer.text == text.strip()


@pytest.mark.parametrize("batch_size", [1, 3, "auto"])
def test_answers_do_not_depend_on_the_batch(generator: HFGenerator, batch_size: int) -> None:
    expected = [generator.generate([prompt], NEW)[0] for prompt in PROMPTS]
    generator.batch_size = batch_size
    assert generator.generate(PROMPTS, NEW) == expected
    assert generator.generate(PROMPTS[::-1], NEW) == expected[::-1]


def test_plain_prompts_are_framed_as_the_tokenizer_frames_them(
    folder: Path, generator: HFGenerator
) -> None:
    _, tokenizer = raw(folder)
    assert model_ids(generator, PROMPTS[0]) == tokenizer(PROMPTS[0])["input_ids"]
    assert generator.count_tokens(PROMPTS[:2]) == [
        len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in PROMPTS[:2]
    ]


def test_frames(gpt2: HFGenerator, llama_folder: Path, t5_folder: Path) -> None:
    llama = HFGenerator.from_pretrained(str(llama_folder), device="cpu")
    t5 = HFGenerator.from_pretrained(str(t5_folder), device="cpu")
    assert model_ids(llama, "a")[0] == llama.tokenizer.bos_token_id
    assert model_ids(llama, "")[0] == llama.tokenizer.bos_token_id
    assert model_ids(gpt2, "") == [gpt2.tokenizer.bos_token_id]
    assert model_ids(gpt2, "a") == gpt2.tokenizer("a")["input_ids"]
    assert model_ids(t5, "a")[-1] == t5.tokenizer.eos_token_id
    assert model_ids(t5, "") == [t5.tokenizer.eos_token_id]


def test_a_tokenizer_that_closes_texts_does_not_stop_a_causal_model(gpt2: HFGenerator) -> None:
    closing = HFGenerator(copy.deepcopy(gpt2.model), models.roberta_tokenizer())
    begin, end = closing.tokenizer.bos_token_id, closing.tokenizer.eos_token_id
    assert model_ids(closing, "a")[0] == begin
    assert end not in model_ids(closing, "a")


def test_an_encoder_gets_its_end_even_if_the_tokenizer_adds_none(t5_folder: Path) -> None:
    model, tokenizer = raw(t5_folder)
    tokenizer.backend_tokenizer.post_processor = None
    assert tokenizer("a")["input_ids"][-1] != tokenizer.eos_token_id
    generator = HFGenerator(model, tokenizer)
    assert model_ids(generator, "a")[-1] == tokenizer.eos_token_id


def test_special_tokens_in_prompts_stay_text(generator: HFGenerator) -> None:
    tokenizer = generator.tokenizer
    text = "say " + " ".join(tokenizer.all_special_tokens) + " twice"
    ids = model_ids(generator, text)
    frame = model_ids(generator, "x")
    control = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    assert [i for i in ids if i in control] == [i for i in frame if i in control]
    assert len(generator.generate([text], NEW)) == 1


def test_saved_generation_settings_do_not_leak(folder: Path) -> None:
    model, tokenizer = raw(folder)
    plain = HFGenerator(copy.deepcopy(model), tokenizer).generate(PROMPTS, NEW)
    model.generation_config.update(
        do_sample=True,
        temperature=3.0,
        top_k=5,
        num_beams=3,
        repetition_penalty=2.5,
        no_repeat_ngram_size=1,
        min_new_tokens=NEW,
        forced_eos_token_id=9,
    )
    assert HFGenerator(model, tokenizer).generate(PROMPTS, NEW) == plain


def test_every_end_token_of_the_model_ends_the_answer(folder: Path) -> None:
    model, tokenizer = raw(folder)
    [answer] = HFGenerator(copy.deepcopy(model), tokenizer).generate(PROMPTS[:1], NEW)
    assert len(answer.token_ids) > 3
    stop = answer.token_ids[2]
    model.generation_config = GenerationConfig(
        eos_token_id=[tokenizer.eos_token_id, stop],
        decoder_start_token_id=model.generation_config.decoder_start_token_id,
    )
    answers = HFGenerator(model, tokenizer).generate([*PROMPTS[:1], *PROMPTS], NEW)
    first = answer.token_ids.index(stop)
    assert answers[0].token_ids == answer.token_ids[: first + 1]
    assert all(stop not in a.token_ids[:-1] for a in answers)


def test_model_is_frozen(generator: HFGenerator) -> None:
    before = {name: value.clone() for name, value in generator.model.state_dict().items()}
    answers = generator.generate(PROMPTS, NEW)
    generator.log_likelihood(PROMPTS, answers)
    assert not generator.model.training
    assert not any(p.requires_grad or p.grad is not None for p in generator.model.parameters())
    for name, value in generator.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_log_likelihood_equals_a_plain_forward_pass(folder: Path, generator: HFGenerator) -> None:
    # In float64, because tiny random models magnify rounding; the answers come from elsewhere.
    model = raw(folder)[0].double()
    generator.model.double()
    answers = generator.generate(PROMPTS[::-1], NEW)
    values = generator.log_likelihood(PROMPTS, answers)
    for prompt, answer, value in zip(PROMPTS, answers, values, strict=True):
        ids, target = model_ids(generator, prompt), list(answer.token_ids)
        with torch.no_grad():
            if generator.is_encoder_decoder:
                labels = torch.tensor([target])
                expected = -model(input_ids=torch.tensor([ids]), labels=labels).loss.item()
            else:
                logits = model(torch.tensor([ids + target])).logits[0, len(ids) - 1 : -1]
                chosen = logits.log_softmax(-1)[range(len(target)), target]
                expected = chosen.mean().item()
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)
        assert value < 0.0


def test_log_likelihood_does_not_depend_on_the_batch(generator: HFGenerator) -> None:
    generator.model.double()
    answers = [
        Answer(a.text, a.token_ids[: 1 + i]) for i, a in enumerate(generator.generate(PROMPTS, NEW))
    ]
    together = generator.log_likelihood(PROMPTS, answers)
    alone = [generator.log_likelihood([p], [a])[0] for p, a in zip(PROMPTS, answers, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)


def test_the_greedy_answer_is_the_most_likely_first_token(generator: HFGenerator) -> None:
    [best] = generator.generate(PROMPTS[:1], 1)
    others = [Answer("", (i,)) for i in range(0, len(generator.tokenizer), 7)]
    prompts = PROMPTS[:1] * (len(others) + 1)
    values = generator.log_likelihood(prompts, [best, *others])
    assert values[0] == max(values)


def test_empty_batches_and_empty_answers(generator: HFGenerator) -> None:
    assert generator.generate([], NEW) == []
    assert generator.count_tokens([]) == []
    assert generator.count_tokens([""]) == [0]
    assert generator.log_likelihood([], []) == []
    assert generator.log_likelihood(["a"], [Answer("")]) == [0.0]


def test_context_leaves_room_for_the_answer(gpt2: HFGenerator, llama_folder: Path) -> None:
    llama = HFGenerator.from_pretrained(str(llama_folder), device="cpu")
    assert gpt2.max_prompt_tokens == models.CONTEXT
    assert llama.max_prompt_tokens == models.CONTEXT - 1
    for generator in (gpt2, llama):
        limit = generator.max_prompt_tokens
        assert limit is not None
        fits = "x" * models.CONTEXT
        while generator.count_tokens([fits])[0] > limit - 5:
            fits = fits[:-1]
        [answer] = generator.generate([fits], 5)
        assert answer.token_ids
        generator.log_likelihood([fits], [answer])
        with pytest.raises(PromptTooLongError, match=r"'xxx.*256 tokens"):
            generator.generate(["a", fits], 6)
        with pytest.raises(PromptTooLongError, match="256 tokens"):
            generator.log_likelihood([fits], [Answer("", (1,) * 6)])


def test_relative_positions_have_no_limit(t5_folder: Path) -> None:
    # Old T5 checkpoints save the length they were trained with; it is not a limit.
    path = t5_folder / "config.json"
    assert "relative_attention_num_buckets" in json.loads(path.read_text())
    generator = HFGenerator.from_pretrained(str(t5_folder), device="cpu")
    assert generator.max_prompt_tokens is None
    assert generator.generate(["word " * 1000], 2)[0].token_ids


def break_head(generator: HFGenerator) -> None:
    with torch.no_grad():
        generator.model.lm_head.weight.fill_(float("nan"))


def test_nan_is_an_error_and_never_an_answer(generator: HFGenerator) -> None:
    answers = generator.generate(["a"], 2)
    break_head(generator)
    with pytest.raises(GeneratorError, match="NaN"):
        generator.generate(["a"], 2)
    with pytest.raises(GeneratorError, match="not finite"):
        generator.log_likelihood(["a"], answers)


def test_failures_name_their_cause(gpt2: HFGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**kwargs: object) -> None:
        raise RuntimeError("device on fire")

    monkeypatch.setattr(gpt2.model, "generate", fail)
    with pytest.raises(GeneratorError, match=r"2 prompts.*RuntimeError: device on fire") as caught:
        gpt2.generate(["a", "b"], 2)
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: g.generate(["a"], 0), "max_new_tokens"),
        (lambda g: g.log_likelihood(["a"], []), "one answer per prompt"),
        (lambda g: g.log_likelihood(["a"], [Answer("x", (10**6,))]), "outside"),
        (lambda g: g.log_likelihood(["a"], [Answer("x", (-1,))]), "outside"),
        (lambda g: HFGenerator(g.model, g.tokenizer, batch_size=0), "batch_size"),
        (lambda g: HFGenerator(g.model, g.tokenizer, batch_size="many"), "batch_size"),
        (lambda g: load_generator(3), "unknown generator"),
        (lambda g: load_generator(HFGenerator), "unknown generator"),
        (lambda g: load_generator("no/such-model-anywhere"), "cannot load"),
        (lambda g: load_generator(g.name, dtype="int3"), "dtype"),
        (lambda g: load_generator(g.name, device="toaster"), "toaster"),
    ],
)
def test_bad_input_is_refused(
    gpt2: HFGenerator, call: Callable[[HFGenerator], object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call(gpt2)


def test_encoders_are_refused(bert_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="causal or an encoder-decoder"):
        load_generator(str(bert_folder), device="cpu")
    shutil.copytree(bert_folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((bert_folder / "config.json").read_text())
    config["architectures"] = ["BertForMaskedLM"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="BertForMaskedLM"):
        load_generator(str(tmp_path), device="cpu")


def test_loading(gpt2_folder: Path) -> None:
    generator = load_generator(gpt2_folder, device="cpu", batch_size=2)
    assert isinstance(generator, HFGenerator)
    assert generator.name == str(gpt2_folder)
    assert generator.model.dtype == torch.float32
    half = load_generator(str(gpt2_folder), device="cpu", dtype="bfloat16")
    assert isinstance(half, HFGenerator)
    assert half.model.dtype == torch.bfloat16
    assert half.generate(["a"], 2)[0].token_ids
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") in ("cpu", "cuda", "mps")


def test_pickled_generators_answer_alike(generator: HFGenerator) -> None:
    twin = pickle.loads(pickle.dumps(generator))
    assert twin.generate(PROMPTS, NEW) == generator.generate(PROMPTS, NEW)


def test_chat_prompts_keep_the_control_tokens_of_the_template(llama_folder: Path) -> None:
    generator = HFGenerator.from_pretrained(str(llama_folder), device="cpu")
    tokenizer = generator.tokenizer
    for content in ("Say yes.", "Say <|im_end|> </s>."):
        message = [{"role": "user", "content": content}]
        text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        ids = model_ids(generator, text)
        ends = [i for i in ids if i == tokenizer.convert_tokens_to_ids("<|im_end|>")]
        assert len(ends) == 1
        assert ids.count(tokenizer.bos_token_id) == 1
        assert tokenizer.eos_token_id not in ids


def test_padding_goes_to_the_chosen_side() -> None:
    ids, mask = pad_rows([[1, 2], [3]], 9, left=True, device=torch.device("cpu"))
    assert ids.tolist() == [[1, 2], [9, 3]]
    assert mask.tolist() == [[1, 1], [0, 1]]
    ids, mask = pad_rows([[1, 2], [3]], 9, left=False, device=torch.device("cpu"))
    assert ids.tolist() == [[1, 2], [3, 9]]
    assert mask.tolist() == [[1, 1], [1, 0]]


def test_an_object_that_passes_all_on_to_a_generator_is_one() -> None:
    class Proxy:
        def __init__(self, inner: CountingGenerator) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

    proxy = Proxy(CountingGenerator())
    assert load_generator(proxy) is proxy
