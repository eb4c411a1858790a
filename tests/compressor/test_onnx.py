"""Compressors without torch: the same masks by ONNX Runtime, from any encoder and in threads."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import models
from imports import ROOT
from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.compressor.network import KeepNetwork, pretrained_encoder
from pcrl_gym.compressor.onnx_rater import OnnxRater
from pcrl_gym.compressor.torch_rater import TorchRater
from pcrl_gym.errors import MissingExtraError
from pcrl_gym.micro import weights_folder
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.datasets import pick_evenly
from policies import CERTIFICATE, TEXT, compressor, network

TOKENIZER = models.gpt2_tokenizer()
PROMPTS = load_prompts("micro", "train")


@pytest.fixture(scope="module")
def runtime() -> None:
    pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def writer(runtime: None) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def micro(runtime: None) -> dict[str, Compressor]:
    return {
        name: Compressor.from_pretrained("micro", backend=name, device="cpu")
        for name in ("torch", "onnx")
    }


@pytest.fixture(scope="module")
def saved(writer: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "policy"
    compressor(TOKENIZER, max_units=24, max_tokens_per_word=2.0).save_pretrained(folder, onnx=True)
    return folder


@pytest.mark.parametrize("settings", [{}, {"rate": 0.3}, {"target_tokens": 12}])
def test_both_backends_keep_the_same_units(micro: dict[str, Compressor], settings: dict):
    chosen = [PROMPTS[i] for i in pick_evenly(len(PROMPTS), 300)]
    given = {"instruction": [p.instruction for p in chosen], "input": [p.input for p in chosen]}
    if "target_tokens" in settings:
        settings = {"target_tokens": max(one.template_tokens for one in micro["onnx"](**given)) + 6}
    ours, theirs = (micro[name](**given, **settings) for name in ("torch", "onnx"))
    assert [one.kept for one in theirs] == [one.kept for one in ours]
    assert any(False in one.kept for one in ours)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.keep_probabilities, other.keep_probabilities, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "frozen"),
    [
        ("small", False),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [("bert", False), ("bert", True), ("roberta", True), ("t5", True)]
        ),
    ],
)
def test_any_encoder_rates_the_same(
    writer: None, kind: str, frozen: bool, tmp_path: Path, request: pytest.FixtureRequest
):
    made, tokenizer = network(len(TOKENIZER)), TOKENIZER
    if kind != "small":
        tokenizer = request.getfixturevalue(f"{kind}_folder")
        made = KeepNetwork(pretrained_encoder(tokenizer), freeze_encoder=frozen)
    with torch.no_grad():
        made.droppable_embedding.weight.normal_(generator=torch.Generator().manual_seed(0))
    Compressor(made, tokenizer, max_units=8, device="cpu").save_pretrained(
        tmp_path / "p", onnx=True
    )
    ours, theirs = TorchRater(made, "cpu"), OnnxRater(tmp_path / "p")
    assert theirs.vocabulary_size == made.vocabulary_size
    assert theirs.max_units == made.max_units
    rng = np.random.default_rng(0)
    for rows, longest in ((1, 1), (1, 7), (5, 2), (3, 30)):
        ids = rng.integers(0, made.vocabulary_size, (rows, longest))
        attended = np.arange(longest) < rng.integers(1, longest + 1, (rows, 1))
        droppable = attended & (rng.random((rows, longest)) < 0.5)
        expected = ours.rate(ids, attended, droppable)
        found = theirs.rate(ids, attended, droppable)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert found.dtype == np.float64
        assert not found[~droppable].any()


def test_a_saved_compressor_is_the_same_with_both(saved: Path):
    texts = [TEXT, " ".join([TEXT] * 5), "", "zzzzqqqq" * 9, "你好 <|endoftext|>"]
    ours = Compressor.from_pretrained(saved, backend="torch", device="cpu")
    theirs = Compressor.from_pretrained(saved, backend="onnx")
    assert (theirs.device, theirs.card, theirs.max_units) == ("cpu", ours.card, 24)
    for one, other in zip(ours(texts), theirs(texts), strict=True):
        assert (one.kept, one.in_domain, one.original_tokens) == (
            other.kept,
            other.in_domain,
            other.original_tokens,
        )


@pytest.mark.parametrize("name", ["micro", "instruct"])
def test_int8_rates_nearly_the_same(runtime: None, name: str):
    """And each prompt the same, whatever prompts come with it."""
    texts = [f"{p.instruction} {p.input}" for p in (PROMPTS[i] for i in range(0, 900, 30))]
    full, int8 = (Compressor.from_pretrained(name, backend=own) for own in ("onnx", "int8"))
    ours, theirs = full(texts, rate=0.3), int8(texts, rate=0.3)
    correlations = [
        np.corrcoef(one.keep_logits, other.keep_logits)[0, 1]
        for one, other in zip(ours, theirs, strict=True)
    ]
    assert np.mean(correlations) > 0.98
    pairs = zip(ours, theirs, strict=True)
    assert all(one.keep_probabilities != other.keep_probabilities for one, other in pairs)
    alone = [int8(text, rate=0.3) for text in texts]
    assert [one.keep_probabilities for one in alone] == [one.keep_probabilities for one in theirs]


def test_the_graph_reads_the_weights_that_torch_reads(saved: Path, tmp_path: Path):
    """So it is small, and other weights of the same network go with it."""
    micro = weights_folder("policy")
    assert 20 * (micro / "network.onnx").stat().st_size < sum(
        path.stat().st_size for path in micro.iterdir()
    )
    copy = shutil.copytree(saved, tmp_path / "policy")
    other = network(len(TOKENIZER), seed=1)
    other.save_pretrained(copy, dtype=torch.float16)
    pair = [
        Compressor.from_pretrained(copy, backend=own, device="cpu") for own in ("torch", "onnx")
    ]
    first, second = (np.array(own(TEXT).keep_probabilities) for own in pair)
    np.testing.assert_allclose(first, second, atol=1e-5)
    before = Compressor.from_pretrained(saved, backend="onnx")(TEXT).keep_probabilities
    assert np.abs(first - np.array(before)).max() > 0.01


def test_int8_claims_no_certificate(saved: Path, tmp_path: Path):
    """It was calibrated with other masks."""
    certified = Compressor.from_pretrained(saved, device="cpu")
    certified.certificate = CERTIFICATE
    certified.save_pretrained(tmp_path / "policy", onnx=True)
    assert Compressor.from_pretrained(tmp_path / "policy", backend="onnx").certificate
    with pytest.raises(ValueError, match=r"does not hold for backend='int8'.*backend='onnx'"):
        Compressor.from_pretrained(tmp_path / "policy", backend="int8")


def test_weights_of_another_network_are_told(saved: Path, tmp_path: Path):
    copy = shutil.copytree(saved, tmp_path / "policy")
    network(len(TOKENIZER) + 5).save_pretrained(copy)
    with pytest.raises(ValueError, match=r"cannot load the network in .*dimensions do not match"):
        Compressor.from_pretrained(copy, backend="onnx")
    (copy / "network.onnx").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot load the network in"):
        Compressor.from_pretrained(copy, backend="onnx")


SCRIPT = """
import json, sys
{hidden}
from pcrl_gym.compressor.compressor import Compressor
done = Compressor.from_pretrained("micro", backend="{backend}")({text!r}, rate=0.3)
print(json.dumps([done.text, "torch" in sys.modules and sys.modules["torch"] is not None]))
"""


@pytest.mark.parametrize(
    ("hidden", "backend"), [("", "onnx"), ("sys.modules['torch'] = None", "auto")]
)
def test_torch_is_not_imported(micro: dict[str, Compressor], hidden: str, backend: str):
    """In a fresh interpreter, with torch installed and, as far as it can tell, without."""
    script = SCRIPT.format(hidden=hidden, backend=backend, text=TEXT)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [micro["torch"](TEXT, rate=0.3).text, False]


def test_the_command_line_does_not_import_torch(micro: dict[str, Compressor]):
    script = (
        "import sys; from pcrl_gym.cli import main\n"
        "sys.argv[1:] = ['compress', '--backend', 'onnx', '--model', 'micro', '--exact']\n"
        "code = main(); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=f"{TEXT}\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{micro['torch'](TEXT).text}\n"


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_threads_share_a_compressor(micro: dict[str, Compressor], backend: str):
    shared = micro[backend]
    texts = [PROMPTS[i].instruction for i in pick_evenly(len(PROMPTS), 200)]
    expected = [shared(text, rate=0.3).kept for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: shared(text, rate=0.3).kept, texts)) == expected


def test_auto_takes_torch_where_it_is():
    assert isinstance(Compressor.from_pretrained("micro").network, KeepNetwork)


def test_without_torch_and_graph_the_way_out_is_told(tmp_path: Path, monkeypatch):
    folder = shutil.copytree(weights_folder("policy"), tmp_path / "policy")
    (folder / "network.onnx").unlink()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"has no network\.onnx: pip install torch"):
        Compressor.from_pretrained(folder)
    with pytest.raises(MissingExtraError, match="backend='torch' needs torch: pip install torch"):
        Compressor.from_pretrained("micro", backend="torch")


def test_without_a_graph_it_is_told_how_to_get_one(runtime: None, tmp_path: Path):
    folder = shutil.copytree(weights_folder("policy"), tmp_path / "policy")
    (folder / "network.onnx").unlink()
    with pytest.raises(ValueError, match=r"has no network\.onnx.*onnx=True"):
        Compressor.from_pretrained(folder, backend="onnx")


def test_packages_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="need ONNX Runtime: pip install onnxruntime"):
        Compressor.from_pretrained("micro", backend="onnx")
    with pytest.raises(MissingExtraError, match=r"pip install 'pcrl-gym\[onnx\]'"):
        compressor(TOKENIZER).save_pretrained(tmp_path / "policy", onnx=True)
    assert not list(tmp_path.iterdir())


def test_wrong_requests_are_told(micro: dict[str, Compressor], tmp_path: Path):
    with pytest.raises(
        ValueError, match=r"backend must be 'auto', 'torch', 'onnx', or 'int8', got 'jax'"
    ):
        Compressor.from_pretrained("micro", backend="jax")
    with pytest.raises(ValueError, match=r"runs on the CPU: device must be .* got 'cuda'"):
        Compressor.from_pretrained("micro", backend="onnx", device="cuda")
    with pytest.raises(ValueError, match=r"loaded with backend='onnx' or 'int8' cannot be saved"):
        micro["onnx"].save_pretrained(tmp_path / "policy")
    assert not list(tmp_path.iterdir())


def test_weights_without_a_type_of_numpy_are_told(writer: None, tmp_path: Path):
    with pytest.raises(ValueError, match=r"float32 or torch.float16 weights, got torch.bfloat16"):
        compressor(TOKENIZER).save_pretrained(tmp_path / "p", torch.bfloat16, onnx=True)
    assert not list(tmp_path.iterdir())


def test_a_graph_that_rates_otherwise_is_not_saved(
    writer: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(OnnxRater, "rate", lambda self, ids, *masks: np.ones(ids.shape))
    with pytest.raises(ValueError, match="ONNX Runtime and torch disagree"):
        compressor(TOKENIZER).save_pretrained(tmp_path / "policy", onnx=True)
    assert not list(tmp_path.iterdir())


def test_int8_that_rates_otherwise_is_not_saved(
    writer: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    true_rate = OnnxRater.rate

    def rate(self, ids, *masks):
        return true_rate(self, ids, *masks) * (1.0 if self._batched else 0.5)

    monkeypatch.setattr(OnnxRater, "rate", rate)
    with pytest.raises(ValueError, match=r"differ by up to .*e-.*those of int8 by [45]\d%"):
        compressor(TOKENIZER).save_pretrained(tmp_path / "policy", onnx=True)
    assert not list(tmp_path.iterdir())
