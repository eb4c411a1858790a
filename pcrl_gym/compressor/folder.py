"""Find, read, and write the folder of a saved compressor."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcrl_gym.compressor.certificate import Certificate
from pcrl_gym.compressor.expected_loss import LossModel
from pcrl_gym.compressor.model_card import card_text
from pcrl_gym.compressor.network_files import (
    CONFIG_FILE,
    GRAPH_FILE,
    INT8_GRAPH_FILE,
    WEIGHTS_FILE,
)
from pcrl_gym.errors import did_you_mean
from pcrl_gym.instruct import policy_folder
from pcrl_gym.micro import weights_folder
from pcrl_gym.prompts.template import AlpacaTemplate, ChatTemplate
from pcrl_gym.storage.atomic import replace_folder
from pcrl_gym.storage.model_folder import check_tokenizer, loading, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from transformers import PreTrainedTokenizerFast

    from pcrl_gym.compressor.model_card import PolicyCard
    from pcrl_gym.compressor.network import KeepNetwork
    from pcrl_gym.prompts.template import Template

FORMAT = 2
"""Version 2 added `template_frame`; folders of version 1 can be read."""
SETTINGS_FILE = "compressor.json"
CARD_FILE = "README.md"
REQUIRED = (SETTINGS_FILE, CONFIG_FILE, WEIGHTS_FILE, "tokenizer.json", "tokenizer_config.json")
FILES = (
    *REQUIRED, CARD_FILE, GRAPH_FILE, INT8_GRAPH_FILE,
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
)  # fmt: skip
"""The only files that are written or downloaded from the Hub: no pickles and no code."""

SHIPPED = {"micro": lambda: weights_folder("policy"), "instruct": policy_folder}
"""Folder of each policy that ships with the package, by name."""

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def find_folder(spec: str | Path, revision: str | None = None) -> Path:
    """Return the folder of a saved compressor, downloaded from the Hugging Face Hub if needed.

    Raises:
        ValueError: If the folder or repository does not exist, or lacks files.
    """
    if spec in SHIPPED:
        folder = SHIPPED[str(spec)]()
        if not folder.is_dir():
            raise ValueError(
                f"this installation of pcrl_gym does not include the trained {spec} policy: pass "
                "the folder or hub id of another one"
            )
    else:
        folder = Path(spec)
    if not folder.is_dir():
        if folder.exists() or not isinstance(spec, str) or not _HUB_ID.fullmatch(spec):
            raise ValueError(f"there is no folder {str(spec)!r} with a saved compressor")
        from huggingface_hub import snapshot_download

        hint = "There is no such folder either" + did_you_mean(spec, list(SHIPPED))
        with loading("a compressor from", spec, hint):
            fetched = snapshot_download(spec, revision=revision, allow_patterns=list(FILES))
        folder = Path(str(fetched))
    missing = [name for name in REQUIRED if not (folder / name).is_file()]
    if missing:
        trained = any((folder / name).exists() for name in ("config.yaml", "training.safetensors"))
        trained |= (folder / WEIGHTS_FILE).exists() and SETTINGS_FILE in missing
        hint = "; `python -m agents export RUN FOLDER` creates one from a training run"
        raise ValueError(
            f"{spec} does not contain a saved compressor: {', '.join(missing)} missing"
            f"{hint if trained else ''}"
        )
    return folder


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the contents of `compressor.json`: the arguments of the compressor, and its `card`.

    Raises:
        ValueError: If it is not valid JSON of a compressor, or its version is not supported.
    """
    path = folder / SETTINGS_FILE
    with loading("the compressor in", folder):
        settings = read_json(path)
    wanted = {
        "format_version": int, "template": str, "unit": str, "max_units": int,
        "force_keep": list, "keep_digits": bool, "card": dict,
    }  # fmt: skip
    for name, kind in wanted.items():
        value = settings.get(name)
        if not isinstance(value, kind):
            raise ValueError(f"{path} needs {name!r} of type {kind.__name__}, got {value!r}")
    limit = settings.get("max_tokens_per_word")  # not in older folders
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, float))):
        raise ValueError(
            f"{path} needs 'max_tokens_per_word' to be a number or null, got {limit!r}"
        )
    whole_words = settings.get("whole_words", False)  # not in older folders
    if not isinstance(whole_words, bool):
        raise ValueError(f"{path} needs 'whole_words' to be true or false, got {whole_words!r}")
    if settings["format_version"] > FORMAT:
        raise ValueError(
            f"{path} has format version {settings['format_version']}, but this version of pcrl_gym "
            f"only supports versions up to {FORMAT}: upgrade pcrl_gym"
        )
    del wanted["format_version"]
    known = {name: settings[name] for name in wanted}
    known |= {"max_tokens_per_word": limit, "whole_words": whole_words}
    certificate = settings.get("certificate")  # not in older folders
    if certificate is not None:
        try:
            certificate = Certificate.from_dict(certificate)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} contains an invalid certificate: {error}") from error
    known["certificate"] = certificate
    loss_model = settings.get("loss_model")  # not in older folders
    if loss_model is not None:
        try:
            known["loss_model"] = LossModel(**loss_model)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} contains an invalid loss model: {error}") from error
    frame = settings.get("template_frame")  # not in version 1
    if frame is not None:
        try:
            known["template"] = ChatTemplate.from_frame(frame, known["template"])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return known


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Return the tokenizer of a saved compressor, without importing torch.

    Raises:
        ValueError: If it cannot be loaded.
    """
    # Transformers imports torch only for `AutoTokenizer`.
    from transformers import PreTrainedTokenizerFast

    with loading("a tokenizer from", folder):
        check_tokenizer(str(folder))
        tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return tokenizer


def stored_template(template: Template) -> dict[str, Any]:
    """Return the entries of `compressor.json` from which a template can be restored.

    These are `template`, its name, and `template_frame`, the text before and after a user's message
    in a chat template, or None for `"alpaca"`.

    Raises:
        ValueError: If the template is of another kind.
    """
    if type(template) not in (AlpacaTemplate, ChatTemplate):
        raise ValueError(
            f"template {template.name!r} is a custom object and cannot be saved: only 'alpaca' and "
            "chat templates (`ChatTemplate`) can"
        )
    frame = list(template.frame) if isinstance(template, ChatTemplate) else None
    return {"template": template.name, "template_frame": frame}


def write_policy(
    folder: Path,
    name: str,
    network: KeepNetwork,
    tokenizer: PreTrainedTokenizerFast,
    settings: Mapping[str, Any],
    card: PolicyCard,
    *,
    dtype: torch.dtype | None = None,
    onnx: bool = False,
    overwrite: bool = False,
) -> None:
    """Write the folder of a compressor, completely or not at all; see its `save_pretrained`.

    The model card has the title `name`. `settings` are as returned by `read_settings`.

    Raises:
        MissingExtraError: If packages for `onnx` are not installed.
        ValueError: If `folder` holds a compressor and `overwrite` is not set, if it holds anything
            else, or if there are both a certificate and a `dtype`.
    """
    if settings.get("certificate") is not None and dtype is not None:
        raise ValueError(
            f"the certificate holds only for the current weights, got dtype={dtype}: leave out "
            "dtype, or calibrate a compressor that was saved with it"
        )
    if onnx:
        from pcrl_gym.compressor.onnx_graph import check_onnx, write_graphs

        check_onnx({dtype} if dtype else {weight.dtype for weight in network.parameters()})
    stored = {"format_version": FORMAT, **settings, "card": card.to_dict()}
    text = json.dumps(stored, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    size = sum(weight.numel() for weight in network.parameters())
    check_replaceable(folder, overwrite)
    with replace_folder(folder) as fresh:
        network.save_pretrained(fresh, dtype=dtype)
        if onnx:
            write_graphs(fresh)
        tokenizer.save_pretrained(fresh)
        for path in fresh.iterdir():  # only slow tokenizers need these
            if path.name not in FILES:
                path.unlink()
        (fresh / SETTINGS_FILE).write_text(text, encoding="utf-8")
        card_file = fresh / CARD_FILE
        card_file.write_text(card_text(card, settings, name, size), encoding="utf-8")
        for path in fresh.iterdir():  # safetensors creates files that only the owner can read
            shutil.copymode(card_file, path)


def check_replaceable(folder: Path, overwrite: bool) -> None:
    """Raise `ValueError` if a folder exists and its contents must not be replaced."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file and is not overwritten: choose another folder")
    names = sorted(path.name for path in folder.iterdir())
    foreign = [name for name in names if name not in FILES]
    if foreign or (names and SETTINGS_FILE not in names):
        raise ValueError(
            f"{folder} contains other files ({', '.join((foreign or names)[:3])}) and is not "
            "overwritten: choose a new folder"
        )
    if names and not overwrite:
        raise ValueError(
            f"{folder} already contains a saved compressor: choose another folder, or set "
            "overwrite=True (--overwrite on the command line) to replace it"
        )
