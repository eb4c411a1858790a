"""Smaller text encoder: the first layers of a pretrained one, and the tokens that prompts use.

Most weights of a small encoder are embeddings of words that no prompt contains. A word whose token
was removed is split into the remaining pieces, down to single characters.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from pcrl_gym.compressor.folder import SETTINGS_FILE
from pcrl_gym.compressor.network import KeepNetwork, pretrained_encoder
from pcrl_gym.episodes.tokenizers import TextEncoder, load_tokenizer
from pcrl_gym.generators.base import check_integer
from pcrl_gym.storage.atomic import replace_folder


def prune_encoder(
    source: str | Path, out: str | Path, texts: Iterable[str], *, layers: int, min_count: int = 2
) -> None:
    """Write the first layers of an encoder, with the tokens that texts use, to a new folder.

    Args:
        source: Hugging Face ID or folder of an encoder with a WordPiece tokenizer, such as BERT or
            MiniLM, or the folder of an exported policy that has one.
        out: Folder to pass as `encoder=` and `tokenizer=`.
        texts: Texts that determine which tokens are kept.
        layers: Number of layers to keep, at least 1.
        min_count: Minimum number of occurrences of a token in the texts. Special tokens and single
            characters are always kept.

    Raises:
        ValueError: If the encoder does not exist, has fewer layers, or another kind of tokenizer, a
            number is below 1, or the folder exists.

    Example:
        >>> prune_encoder("google-bert/bert-base-uncased", "small", texts, layers=2)
        ... # doctest: +SKIP
    """
    check_integer("layers", layers, 1)
    check_integer("min_count", min_count, 1)
    out = Path(out)
    if out.exists():
        raise ValueError(f"{out} already exists: choose another folder, or remove it")
    policy = (Path(source) / SETTINGS_FILE).is_file()
    encoder = KeepNetwork.from_pretrained(source).encoder if policy else pretrained_encoder(source)
    tokenizer = load_tokenizer(source)
    blocks = getattr(getattr(encoder, "encoder", None), "layer", None)
    if not isinstance(blocks, nn.ModuleList) or layers > len(blocks):
        have = f"has {len(blocks)} layers" if isinstance(blocks, nn.ModuleList) else "is not one"
        raise ValueError(
            f"expected a BERT-like encoder with at least {layers} layers, but {source} {have}"
        )
    pruned, kept = _pruned_tokenizer(tokenizer, texts, min_count)
    del blocks[layers:]
    embeddings = cast("nn.Embedding", encoder.get_input_embeddings())
    rows = embeddings.weight.detach()[torch.tensor(kept)].clone()
    encoder.set_input_embeddings(
        nn.Embedding.from_pretrained(rows, freeze=False, padding_idx=pruned.pad_token_id)
    )
    encoder.config.update(
        {
            "vocab_size": len(kept),
            "num_hidden_layers": layers,
            "pad_token_id": pruned.pad_token_id,
        }
    )
    with replace_folder(out) as folder:
        cast("PreTrainedModel", encoder).save_pretrained(folder)
        pruned.save_pretrained(folder)


def _pruned_tokenizer(
    tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], min_count: int
) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """Return a tokenizer without rare tokens, and the old ID of each remaining token."""
    state: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    model = state["model"]
    if model["type"] != "WordPiece":
        raise ValueError(f"expected a WordPiece tokenizer, such as BERT's, got {model['type']}")
    counts = Counter(
        i for encoding in TextEncoder(tokenizer).encodings(list(texts)) for i in encoding.ids
    )
    vocabulary: Mapping[str, int] = model["vocab"]
    special = {token["content"] for token in state["added_tokens"]}
    if outside := sorted(special - set(vocabulary)):
        raise ValueError(f"expected added tokens from the WordPiece vocabulary, got {outside}")
    mark = model["continuing_subword_prefix"]
    kept = sorted(
        (old, token)
        for token, old in vocabulary.items()
        if counts[old] >= min_count or token in special or len(token.removeprefix(mark)) == 1
    )
    ids = model["vocab"] = {token: new for new, (_, token) in enumerate(kept)}
    for token in state["added_tokens"]:
        token["id"] = ids[token["content"]]
    # Whatever its kind, only the tokens that it puts around a text are needed.
    around = tokenizer.convert_ids_to_tokens(tokenizer("")["input_ids"])
    before = around[: len(around) - len(around) // 2]
    state["post_processor"] = None
    backend = Tokenizer.from_str(json.dumps(state))
    if around:
        backend.post_processor = TemplateProcessing(
            single=[*before, "$A", *around[len(before) :]],
            special_tokens=[(token, ids[token]) for token in dict.fromkeys(around)],
        )
    pruned = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=tokenizer.model_max_length,
        **tokenizer.special_tokens_map,
    )
    return pruned, [old for old, _ in kept]
