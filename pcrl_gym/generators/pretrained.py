"""Pretrained causal or encoder-decoder models of the transformers library, by ID or folder."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from pcrl_gym.micro import MICRO
from pcrl_gym.storage.model_folder import (
    UnusableModelError,
    check_model,
    check_report,
    loading,
    locate,
    unused_weights,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

DTYPES = ("auto", "float32", "bfloat16", "float16")
_EXPECTED = "a causal or an encoder-decoder language model"
_OTHER_TASKS = (
    "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering",
    "ForMultipleChoice",
)  # fmt: skip


def load_pretrained(
    spec: str, device: str = "auto", dtype: str = "auto"
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load model and tokenizer from safetensors and JSON, without unpickling or executing code.

    Raises:
        ValueError: If the model cannot be loaded; see `load_generator`, also for the arguments.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    from pcrl_gym.episodes.tokenizers import load_tokenizer
    from pcrl_gym.generators.torch_state import initial_settings

    torch_device = choose_device(device)
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(map(repr, DTYPES))}, got {dtype!r}")
    with loading("generator", spec):
        source = locate(spec, MICRO)
        check_model(source)
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        _check_kind(config)
    tokenizer = load_tokenizer(source)
    auto: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with loading("generator", spec, _quantization_hint(config)), initial_settings():
        model, report = auto.from_pretrained(
            source,
            config=config,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, since transformers only logs them
            dtype=_choose_dtype(dtype, torch_device),
            use_safetensors=True,
            trust_remote_code=False,
        )
        check_report(report, model, _EXPECTED)
    if unused := unused_weights(report):
        warnings.warn(
            f"{spec!r} has weights that the {type(model).__name__} of its config.json does not use "
            f"({unused}): check that weights and config.json belong together",
            stacklevel=2,
        )
    return model.to(torch_device), tokenizer


def choose_device(device: str = "auto") -> str:
    """Return an available torch device.

    Raises:
        ValueError: If the device is unknown to torch or not available.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {device!r} cannot be used: expected 'auto', 'cpu', 'cuda', 'cuda:N', or "
            f"'mps'. Cause: {error}"
        ) from error
    return device


def _choose_dtype(dtype: str, device: str) -> str:
    import torch

    if dtype != "auto":
        return dtype
    if device == "cpu":
        return "float32"
    has_bfloat16 = device.startswith("cuda") and torch.cuda.is_bf16_supported()
    return "bfloat16" if has_bfloat16 else "auto"


def _check_kind(config: Any) -> None:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING

    known: Any = MODEL_FOR_CAUSAL_LM_MAPPING
    if config.is_encoder_decoder:
        known = MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING
    name = next(iter(config.architectures or []), f"model of type {config.model_type!r}")
    # AutoModelForCausalLM would load models such as BERT with a randomly initialized head.
    if type(config) not in known or name.endswith(_OTHER_TASKS):
        raise UnusableModelError(
            f"it is a {name}, which cannot answer text prompts: expected {_EXPECTED}"
        )


def _quantization_hint(config: Any) -> str:
    quantization = getattr(config, "quantization_config", None)
    if quantization is None:
        return ""
    method = dict(quantization).get("quant_method", "unknown")
    return (
        f"Its weights are quantized ({method}): install the package that reads them, which usually "
        "needs a GPU, or use the unquantized model"
    )
