"""The identity of a generator: one digest of everything that decides its answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_NOT_DECIDING = {
    # Where a model came from and who saved it. The class and the types of the weights that are
    # used are hashed from the model itself.
    "_name_or_path", "name_or_path", "transformers_version", "architectures", "dtype",
    "torch_dtype", "use_cache", "return_dict", "output_attentions", "output_hidden_states",
    "id2label", "label2id", "problem_type", "finetuning_task", "task_specific_params",
    "base_model_name_or_path", "revision", "peft_version", "inference_mode",
}  # fmt: skip


def model_identity(
    model: Any, tokenizer: PreTrainedTokenizerFast, control: Mapping[str, Any]
) -> str:
    """Return the SHA-256, in hexadecimal, of what decides the answers of a model.

    That is: class, configuration, implementation of attention and weights of the model (name, data
    type, shape and bytes of each), and the settings of adapters of peft that are not merged; the
    tokenizer with its special tokens and chat template; and the generation settings. Where the
    model was loaded from and its device do not count. `control` is what
    `generation_config.control_ids` returns.
    """
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    del backend["truncation"], backend["padding"]  # left by the latest call, whoever made it
    parts = {
        "class": type(model).__name__,
        # Without the defaults that all models share, to which later versions may add.
        "config": _deciding(model.config.to_diff_dict()),
        "attention": getattr(model.config, "_attn_implementation", None),
        "control": dict(control),
        "generation": _deciding(model.generation_config.to_diff_dict()),
        "tokenizer": {
            "backend": backend,
            "special_tokens": tokenizer.special_tokens_map,
            "chat_template": tokenizer.chat_template,
        },
    }
    if adapters := getattr(model, "peft_config", None):  # how they are scaled is no weight
        active = model.active_adapters
        parts["adapters"] = {
            "active": active() if callable(active) else active,
            "settings": _deciding({name: own.to_dict() for name, own in adapters.items()}),
        }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _deciding(settings: Any) -> Any:
    """Leave out what does not decide answers, also in the configurations of parts."""
    if isinstance(settings, Mapping):
        return {
            str(key): _deciding(value)
            for key, value in settings.items()
            if key not in _NOT_DECIDING and value is not None
        }
    if isinstance(settings, (set, frozenset)):
        return sorted(map(str, settings))
    if isinstance(settings, (list, tuple)):
        return [_deciding(value) for value in settings]
    return settings
