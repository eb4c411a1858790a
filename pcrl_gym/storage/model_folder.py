"""Saved models: locating them, validating their folders, and clear error messages."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from pcrl_gym.errors import PcrlError, did_you_mean, excerpt
from pcrl_gym.process_state import Undo, hold
from pcrl_gym.storage.gguf import SMOLLM2, gguf_file, unpacked

HUB_SECONDS = 5.0
"""Timeout in seconds for asking the Hugging Face Hub whether it has a model."""

_CAUSE_SIZE = 200
_LFS_POINTER = b"version https://git-lfs"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "*.model", "vocab.*")
_LOADED_FILES = ("*.json", *_TOKENIZER_FILES, "model*.safetensors", "network.safetensors")

# Files that identify folders which are not loadable models.
_OTHER_KINDS = {
    "adapter_config.json": "it is an adapter: merge it into its base model (`merge_and_unload` in "
    "PEFT) and save the result",
    "compressor.json": "it is a compressor, not a language model: load it with "
    "Compressor.from_pretrained",
    "network.json": "it is the policy network of an agent, not a language model",
    "identity.json": "it is a training run: `python -m agents export` creates a compressor from it",
    "model_index.json": "it is a diffusers pipeline, not a language model",
    "*.gguf": "it contains a GGUF model: pass the path of the .gguf file",
    "pytorch_model*.bin": "its weights are pickled, and pickles are not loaded: save the model "
    "again with transformers, or use its safetensors version",
    "*.pt*": "its weights are pickled, and pickles are not loaded: save them as safetensors",
    "*/config.json": "it contains model folders: pass one of them",
    "snapshots/*": "it is part of the Hugging Face Hub cache: pass the folder below `snapshots`",
}


class UnusableModelError(ValueError):
    """A saved model cannot be used; `loading` adds its kind and source to the message."""


def locate(spec: str | Path, names: Iterable[str]) -> str:
    """Return the folder of a saved model, or its ID if it is on the Hub.

    For "smollm2" and GGUF files, this is the folder into which they are unpacked. For an ID, it is
    the cached folder if the Hub is unreachable. Error messages suggest `names`, which the caller
    accepts in addition to folders and IDs.

    Raises:
        UnusableModelError: If there is no such folder, or the Hub does not have the model.
    """
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    text = os.fspath(spec)
    if (file := gguf_file(text)) is not None:
        return str(unpacked(file))
    path = Path(text).expanduser()
    if text and path.is_dir():
        return str(path)
    if path.is_file():
        raise UnusableModelError("it is a file, expected a .gguf file or a model folder")
    try:
        _ask_hub(text)
    except Exception as error:
        if isinstance(error, HFValidationError):
            reason = "it is not a valid Hugging Face Hub id ('owner/name')"
        elif isinstance(error, RepositoryNotFoundError):
            reason = "the Hugging Face Hub has no such model or requires `hf auth login`"
        elif (cached := _cached(text)) is not None:
            return cached
        else:
            reason = f"the Hugging Face Hub cannot be reached ({_one_line(error)})"
        raise UnusableModelError(
            f"there is no such folder, and {reason}{did_you_mean(text, [*names, SMOLLM2])}"
        ) from error
    return text


@lru_cache(maxsize=64)
def _ask_hub(repo_id: str) -> None:
    # When asked for a file without network, the Hub's client retries for half a minute.
    from huggingface_hub import HfApi

    HfApi().model_info(repo_id, timeout=HUB_SECONDS)


def _cached(repo_id: str) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    names = ("config.json", "tokenizer_config.json", "tokenizer.json")
    files = (try_to_load_from_cache(repo_id, name) for name in names)
    return next((str(Path(file).parent) for file in files if isinstance(file, str)), None)


def check_model(source: str) -> None:
    """Check the files of a model folder before a library reads them; IDs are not checked.

    Raises:
        UnusableModelError: If configuration or weights are missing, incomplete, or of another kind.
    """
    folder = Path(source)
    if not folder.is_dir():
        return
    _check_pointers(folder)
    for index in folder.glob("model*.safetensors.index.json"):
        shards = set(read_json(index).get("weight_map", {}).values())
        missing = sorted(name for name in shards if not (folder / name).is_file())
        if missing:
            raise UnusableModelError(
                f"{len(missing)} of its {len(shards)} weight files are missing "
                f"({', '.join(missing[:3])}): download or save the model again"
            )
    weights = sorted(folder.glob("model*.safetensors"))
    if not weights or not (folder / "config.json").is_file():
        lacks = "config.json" if weights else "model.safetensors"
        raise UnusableModelError(f"{lacks} is missing{_other_kind(folder)}")
    if not isinstance(read_json(folder / "config.json").get("model_type"), str):
        raise UnusableModelError("its config.json does not specify a `model_type`")
    if (settings := folder / "generation_config.json").is_file():
        read_json(settings)  # transformers silently ignores it if it cannot be read
    for file in weights:
        check_weights(file)


def check_weights(file: Path) -> None:
    """Check that a weights file is complete.

    Raises:
        UnusableModelError: If it is damaged or incomplete.
    """
    from safetensors import SafetensorError, safe_open

    _check_pointer(file)
    try:
        with safe_open(file, framework="numpy"):  # reads the header and checks the size
            pass
    except SafetensorError as error:
        raise UnusableModelError(
            f"{file.name} is damaged or incomplete ({_one_line(error)}): download or save it again"
        ) from error


def check_report(report: Mapping[str, Any], model: object, expected: str) -> None:
    """Check that all weights were loaded, by transformers' report (`output_loading_info=True`).

    Raises:
        UnusableModelError: If weights are missing, which transformers initializes randomly, or
            their sizes do not match the configuration.
    """
    for key, fault in (("missing_keys", "lacks"), ("mismatched_keys", "has wrong shapes for")):
        if report[key]:
            raise UnusableModelError(
                f"it {fault} weights that a {type(model).__name__} needs ({_names(report[key])}): "
                f"expected {expected} with all its weights"
            )


def unused_weights(report: Mapping[str, Any]) -> str:
    """Return the names of saved weights that the loaded model does not use, "" if none."""
    return _names(report["unexpected_keys"])


def _names(keys: Iterable[object]) -> str:
    return excerpt(", ".join(sorted(map(str, keys))), _CAUSE_SIZE)


def check_tokenizer(source: str) -> None:
    """Check the files of a tokenizer folder before a library reads them.

    Raises:
        UnusableModelError: If the files are missing or cannot be read.
    """
    folder = Path(source)
    if not folder.is_dir():
        return
    _check_pointers(folder)
    if not any(any(folder.glob(pattern)) for pattern in _TOKENIZER_FILES):
        raise UnusableModelError(f"tokenizer.json is missing{_other_kind(folder)}")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            read_json(folder / name)


@contextmanager
def loading(what: str, spec: str | Path, hint: str = "") -> Iterator[None]:
    """Run a block that loads a model without progress bars and with concise errors.

    Raises:
        ValueError: If loading fails.
    """
    with hold("transformers", _quiet):
        try:
            yield
        except (PcrlError, MemoryError):
            raise
        except Exception as error:
            known = isinstance(error, UnusableModelError)
            problem = str(error) if known else _one_line(error) + (f". {hint}" if hint else "")
            source = repr(excerpt(str(spec), _CAUSE_SIZE))
            raise ValueError(f"cannot load {what} {source}: {problem}") from error


def _quiet() -> Undo:
    """Silence transformers except for errors, keeping the Hub's download progress bars."""
    from transformers.utils import logging

    def hidden(factory: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return factory(*args, **{**kwargs, "disable": True})

    hook, verbosity = logging.set_tqdm_hook(hidden), logging.get_verbosity()
    logging.set_verbosity_error()

    def undo() -> None:
        logging.set_tqdm_hook(hook)
        logging.set_verbosity(verbosity)

    return undo


def _one_line(error: Exception) -> str:
    return excerpt(f"{type(error).__name__}: {' '.join(str(error).split())}", _CAUSE_SIZE)


def _other_kind(folder: Path) -> str:
    for pattern, kind in _OTHER_KINDS.items():
        if any(folder.glob(pattern)):
            return f"; {kind}"
    return "" if any(folder.iterdir()) else "; the folder is empty"


def _check_pointers(folder: Path) -> None:
    for pattern in _LOADED_FILES:
        for file in filter(Path.is_file, sorted(folder.glob(pattern))):
            _check_pointer(file)


def _check_pointer(file: Path) -> None:
    with file.open("rb") as stream:
        if stream.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise UnusableModelError(
                f"{file.name} is only a Git LFS pointer: run `git lfs pull` in that folder, or "
                "download the model again"
            )


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UnusableModelError: If the file does not contain a JSON object.
    """
    _check_pointer(file)
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnusableModelError(
            f"{file.name} is not valid JSON ({_one_line(error)}): download or save it again"
        ) from error
    if not isinstance(value, dict):
        raise UnusableModelError(
            f"{file.name} does not contain a JSON object: download or save it again"
        )
    return value
