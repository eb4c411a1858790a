"""What is wrong with a model's folder or name is told in a few lines, before slow work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.compressor.network import KeepNetwork, pretrained_encoder
from pcrl_gym.episodes.tokenizers import load_tokenizer
from pcrl_gym.generators.loading import load_generator

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 134\n"
MODEL = "model.safetensors"


def cut(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:-1000])

    return change


def put(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8") and None


def config(**settings: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    return change


def only(*files: str) -> Callable[[Path], None]:
    """Leaves tokenizer and configuration beside some new files; no weights."""

    def change(folder: Path) -> None:
        (folder / MODEL).unlink()
        for file in files:
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text("{}")

    return change


def empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def lost_shard(folder: Path) -> None:
    weights = load_file(folder / MODEL)
    first, last = list(weights)[:3], list(weights)[3:]
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    save_file({name: weights[name] for name in first}, folder / names[0])
    index = {name: names[name in last] for name in weights}
    (folder / f"{MODEL}.index.json").write_text(json.dumps({"weight_map": index}))
    (folder / MODEL).unlink()


def lost_weight(folder: Path) -> None:
    weights = load_file(folder / MODEL)
    del weights["transformer.h.0.attn.c_attn.weight"]
    save_file(weights, folder / MODEL, metadata={"format": "pt"})


GENERATORS: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut": (
        cut(MODEL),
        r"model\.safetensors is damaged or incomplete .* download or save it again",
    ),
    "empty file": (put(MODEL, ""), r"model\.safetensors is damaged"),
    "pointer": (put(MODEL, POINTER), "Git LFS pointer: run `git lfs pull`"),
    "pointer to a tokenizer": (
        put("tokenizer.json", POINTER),
        r"tokenizer\.json is only a Git LFS pointer",
    ),
    "adapter": (
        only("adapter_config.json", "adapter_model.safetensors"),
        "it is an adapter: merge",
    ),
    "GGUF": (only("model.Q4_1.gguf"), "a GGUF model: pass the path"),
    "pickle": (only("pytorch_model.bin"), "pickles are not loaded: save the model again"),
    "compressor": (only("compressor.json"), "it is a compressor, .* Compressor.from_pretrained"),
    "training": (only("checkpoint-10/config.json"), "model folders: pass one of them"),
    "empty": (empty, "the folder is empty"),
    "shard": (lost_shard, r"1 of its 2 weight files are missing \(model-00002-of-00002"),
    "weight": (lost_weight, r"lacks weights .*c_attn.* expected a causal"),
    "no JSON": (put("config.json", '{"model_type": '), r"config\.json is not valid JSON"),
    "a list": (put("config.json", "[]"), r"config\.json does not contain a JSON object"),
    "no type": (put("config.json", "{}"), "does not specify a `model_type`"),
    "no settings": (
        put("generation_config.json", "{"),
        r"generation_config\.json is not valid JSON",
    ),
    "new type": (config(model_type="gpt99"), "gpt99"),
    "other sizes": (config(n_embd=64), "has wrong shapes for weights .* expected a causal"),
    "code": (config(model_type="x", auto_map={"AutoConfig": "a.B"}), "trust_remote_code|custom"),
    "images": (
        put("config.json", '{"model_type": "llava", "architectures": ["LlavaForX"]}'),
        "it is a LlavaForX, which cannot answer text prompts",
    ),
    "quantized": (
        config(quantization_config={"quant_method": "gptq", "bits": 4}),
        r"weights are quantized \(gptq\): .* use the unquantized model",
    ),
    "tokenizer": (put("tokenizer.json", '{"version": "1.0"}'), "cannot load a tokenizer from"),
    "no tokenizer": (
        lambda folder: [file.unlink() for file in folder.glob("tokenizer*")] and None,
        r"tokenizer\.json is missing",
    ),
}


@pytest.mark.parametrize("fault", GENERATORS)
def test_a_generator_that_cannot_be_loaded(
    fault: str, gpt2_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(gpt2_folder, folder)
    change, message = GENERATORS[fault]
    change(folder)
    capfd.readouterr()
    with pytest.raises(ValueError, match=message) as error:
        load_generator(str(folder), device="cpu")
    assert str(folder) in str(error.value)
    assert len(str(error.value)) < 700 + len(str(folder))
    assert str(error.value).count("\n") < 3
    assert capfd.readouterr() == ("", "")  # nor is anything else printed


def test_weights_that_the_model_does_not_use_are_told(gpt2_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(gpt2_folder, folder)
    config(n_layer=1)(folder)
    with pytest.warns(UserWarning, match=r"does not use \(transformer\.h\.1\."):
        load_generator(str(folder), device="cpu")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()
    with pytest.raises(ValueError, match=r"it is a file, expected a \.gguf file or a model folder"):
        load_generator(str(tmp_path / "model.bin"))


@pytest.mark.parametrize("fault", ["cut", "pointer", "pickle", "no JSON", "new type"])
def test_an_encoder_that_cannot_be_loaded(fault: str, bert_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(bert_folder, tmp_path, dirs_exist_ok=True)
    change, message = GENERATORS[fault]
    change(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        pretrained_encoder(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_an_encoder_without_its_weights_is_refused(bert_folder: Path, tmp_path: Path) -> None:
    """transformers would draw them at random; a pooler is not needed."""
    shutil.copytree(bert_folder, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / MODEL)
    needed = {name: value for name, value in weights.items() if "pooler" not in name}
    save_file(needed, tmp_path / MODEL, metadata={"format": "pt"})
    assert pretrained_encoder(tmp_path).config.hidden_size == 32
    del needed["encoder.layer.0.output.dense.weight"]
    save_file(needed, tmp_path / MODEL, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks weights .* expected a text encoder"):
        pretrained_encoder(tmp_path)


def other_network(folder: Path) -> None:
    weights = load_file(folder / "network.safetensors")
    save_file({name: torch.zeros(3) for name in weights}, folder / "network.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut("network.safetensors"), r"network\.safetensors is damaged or incomplete"),
        (put("network.safetensors", POINTER), "git lfs pull"),
        (put("compressor.json", POINTER), "git lfs pull"),
        (put("network.json", "{"), r"network\.json is not valid JSON"),
        (put("network.json", "{}"), "cannot load the network in"),
        (put("tokenizer.json", POINTER), "git lfs pull"),
        (other_network, "RuntimeError: Error"),
    ],
)
def test_a_compressor_that_cannot_be_loaded(
    change: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "policy"
    Compressor.from_pretrained("micro", device="cpu").save_pretrained(folder)
    change(folder)
    with pytest.raises(ValueError, match=message) as error:
        Compressor.from_pretrained(folder, device="cpu")
    assert str(folder) in str(error.value)
    assert len(str(error.value)) < 500 + len(str(folder))


LOADERS: dict[str, Callable[[str], object]] = {
    "generator": lambda name: load_generator(name, device="cpu"),
    "tokenizer": load_tokenizer,
    "encoder": pretrained_encoder,
}


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    "name", ["./models/mine", "/models/mine", "~/mine", "a/b/c", "my model", ""]
)
def test_a_path_is_not_looked_for_on_the_hub(
    loader: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket", None)
    with pytest.raises(
        ValueError, match=r"there is no such folder, and it is not a valid .* Hub id"
    ):
        LOADERS[loader](name)


@pytest.mark.parametrize("loader", LOADERS)
def test_the_hub_is_asked_once_for_a_name_it_may_have(
    loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi

    asked = []

    def unreachable(self: object, repo_id: str, timeout: float) -> None:
        asked.append((repo_id, timeout))
        raise ConnectionError("no route")

    monkeypatch.setattr(HfApi, "model_info", unreachable)
    with pytest.raises(
        ValueError, match=r"no such folder, and .* reached .*ConnectionError: no rou"
    ):
        LOADERS[loader]("someone/model")
    assert asked == [("someone/model", 5.0)]


def test_a_model_that_the_hub_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    from unittest.mock import Mock

    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    error = RepositoryNotFoundError("401", response=Mock())
    monkeypatch.setattr(HfApi, "model_info", Mock(side_effect=error))
    with pytest.raises(
        ValueError, match="no such folder, and the Hugging Face Hub has no such mod"
    ):
        load_generator("someone/model")


def test_names_that_are_nearly_right(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, meant in (("mirco", "micro"), ("micro_seq2seq", "micro-seq2seq")):
        for load in (load_generator, load_tokenizer):
            with pytest.raises(ValueError, match=rf"did you mean {meant}\?"):
                load(name)


def test_a_model_in_the_cache_is_loaded_though_the_hub_cannot_be_reached(
    gpt2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = tmp_path / "models--someone--model"
    shutil.copytree(gpt2_folder, repo / "snapshots" / "abc")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    generator = load_generator("someone/model", device="cpu")
    assert generator.name == "someone/model"
    assert len(generator.generate(["Is it true?"], 3)) == 1


def test_loading_prints_nothing_and_leaves_the_settings_of_transformers(
    gpt2_folder: Path, bert_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    assert logging.is_progress_bar_enabled()
    before = logging.get_verbosity()
    load_generator(str(gpt2_folder), device="cpu")
    KeepNetwork(pretrained_encoder(bert_folder))
    Compressor.from_pretrained("micro", device="cpu")
    assert capfd.readouterr() == ("", "")
    assert logging.is_progress_bar_enabled()
    assert logging.get_verbosity() == before
    list(logging.tqdm(range(3), desc="shown again"))
    assert "shown again" in capfd.readouterr().err
