"""The identity of a generator: every part that decides answers changes it, nothing else does."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

import models
from pcrl_gym.generators.base import Answer
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.scoring.answers import Answers
from pcrl_gym.storage.disk_cache import DiskCache

PROMPTS = ["Please sort 3 14 15.", "Is it true?"]


def load(folder: Path, **settings: Any) -> HFGenerator:
    return HFGenerator.from_pretrained(str(folder), device="cpu", **settings)


def edit(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Changes a JSON file of a model's folder."""

    def edited(folder: Path) -> None:
        path = folder / name
        value = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        change(value)
        path.write_text(json.dumps(value), encoding="utf-8")

    return edited


def other_weight(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.lm_head.weight.data[0, 0] += 1e-4
    model.save_pretrained(folder)


def other_chat_template(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = models.CHAT_TEMPLATE.replace("| trim", "")
    tokenizer.save_pretrained(folder)


def added_token(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["or"])  # a piece of the vocabulary, which now splits "sort"
    tokenizer.save_pretrained(folder)


CHANGES = {
    "a weight": other_weight,
    "the end of answers": edit("generation_config.json", lambda c: c.update(eos_token_id=[2, 40])),
    "padding": edit("tokenizer_config.json", lambda c: c.update(pad_token="<unk>")),
    "rotary positions": edit("config.json", lambda c: c["rope_parameters"].update(rope_theta=500)),
    "the activation": edit("config.json", lambda c: c.update(hidden_act="gelu")),
    "a normalization": edit("config.json", lambda c: c.update(rms_norm_eps=1e-2)),
    "the context": edit("config.json", lambda c: c.update(max_position_embeddings=64)),
    "the chat template": other_chat_template,
    "an added token": added_token,
    "a special token": edit("tokenizer_config.json", lambda c: c.update(bos_token="<unk>")),
    "how text is split": edit(
        "tokenizer.json", lambda c: c.update(normalizer={"type": "Lowercase"})
    ),
}


@pytest.fixture(scope="module")
def llama_identity(llama_folder: Path) -> str:
    return load(llama_folder).fingerprint


@pytest.mark.parametrize("change", CHANGES)
def test_each_part_that_decides_answers_is_in_the_identity(
    change: str, llama_folder: Path, llama_identity: str, tmp_path: Path
) -> None:
    shutil.copytree(llama_folder, tmp_path, dirs_exist_ok=True)
    assert load(tmp_path).fingerprint == llama_identity
    CHANGES[change](tmp_path)
    assert load(tmp_path).fingerprint != llama_identity


def test_data_type_attention_and_class_are_in_the_identity(
    llama_folder: Path, gpt2_folder: Path, t5_folder: Path, llama_identity: str
) -> None:
    eager = load(llama_folder)
    eager.model.set_attn_implementation("eager")
    others = [load(llama_folder, dtype="bfloat16"), eager, load(gpt2_folder), load(t5_folder)]
    assert len({llama_identity, *(generator.fingerprint for generator in others)}) == 5


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_the_same_generator_saved_elsewhere_or_used_has_the_same_identity(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    generator = load(request.getfixturevalue(f"{kind}_folder"))
    # The digest is computed once, so the object that was used before is another one.
    used = HFGenerator(copy.deepcopy(generator.model), generator.tokenizer, name="mine")
    used.tokenizer(PROMPTS, truncation=True, max_length=4)
    used.generate(PROMPTS, 4)
    used.log_likelihood(PROMPTS, used.generate_from(PROMPTS, ["", ""], 4))
    generator.model.save_pretrained(tmp_path / "again")
    generator.tokenizer.save_pretrained(tmp_path / "again")
    assert generator.fingerprint == used.fingerprint == load(tmp_path / "again").fingerprint


def test_a_cache_keeps_no_answers_of_another_model(llama_folder: Path, tmp_path: Path) -> None:
    """The same weights and tokenizer, but another end token."""

    def answer(folder: Path, cache: DiskCache | None) -> Answer:
        return Answers(load(folder), 8, cache=cache)(PROMPTS[:1], [""])[0][0]

    changed = tmp_path / "changed"
    shutil.copytree(llama_folder, changed)
    with DiskCache(tmp_path / "a.db") as cache:
        before = answer(llama_folder, cache)
        GenerationConfig(eos_token_id=before.token_ids[1]).save_pretrained(changed)
        after = answer(changed, cache)
    assert after == answer(changed, None)
    assert after.token_ids == before.token_ids[: len(after.token_ids)] != before.token_ids


def test_the_identity_of_weights_is_that_of_their_bytes(gpt2_folder: Path) -> None:
    one, other = load(gpt2_folder), load(gpt2_folder)
    with torch.no_grad():
        weight = other.model.transformer.h[0].ln_1.weight
        weight.copy_(torch.nextafter(weight, torch.tensor(2.0)))
    assert one.fingerprint != other.fingerprint


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
def test_adapters_that_are_not_merged_count_with_their_scaling(llama_folder: Path) -> None:
    peft = pytest.importorskip("peft")

    def adapted(alpha: int, active: str = "first") -> HFGenerator:
        model = AutoModelForCausalLM.from_pretrained(llama_folder)
        torch.manual_seed(0)
        for name in ("first", "second"):
            settings = peft.LoraConfig(
                r=2, target_modules=["q_proj", "v_proj"], lora_alpha=alpha, init_lora_weights=False
            )
            model.add_adapter(settings, name)
        model.set_adapter(active)
        return HFGenerator(model, AutoTokenizer.from_pretrained(llama_folder))

    first = adapted(8)
    assert adapted(8).fingerprint == first.fingerprint
    for other in (adapted(64), adapted(8, "second")):
        assert other.generate(PROMPTS, 8) != first.generate(PROMPTS, 8)
        assert other.fingerprint != first.fingerprint
