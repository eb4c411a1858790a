"""The identity of a generator: a digest of everything that determines its answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_NOT_DECIDING = {
    # The origin of a model. Its class and the data types of its weights are hashed from the model
    # itself.
    "_name_or_path", "name_or_path", "transformers_version", "architectures", "dtype",
    "torch_dtype", "use_cache", "return_dict", "output_attentions", "output_hidden_states",
    "id2label", "label2id", "problem_type", "finetuning_task", "task_specific_params",
    "base_model_name_or_path", "revision", "peft_version", "inference_mode",
}  # fmt: skip


def model_identity(
    model: Any, tokenizer: PreTrainedTokenizerFast, control: Mapping[str, Any]
) -> str:
    """Return the hexadecimal SHA-256 of everything that determines a model's answers.

    It covers the class, configuration, attention implementation, and weights of the model (name,
    data type, shape, and bytes of each), the settings of unmerged PEFT adapters, the tokenizer with
    its special tokens and chat template, and the generation settings. It does not depend on the
    model's source and device. `control` is the result of `generation_config.control_ids`.
    """
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    del backend["truncation"], backend["padding"]  # left over from the latest call
    parts = {
        "class": type(model).__name__,
        # Without the defaults shared by all models, since later versions may add to them.
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
    if adapters := getattr(model, "peft_config", None):  # their scaling is not part of the weights
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
    """Remove settings that do not affect answers, also in nested configurations."""
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
