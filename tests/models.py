"""Builders of tiny model folders: real tokenizers made from a few sentences, random weights.

Each builder writes the model and its fast tokenizer to a folder that `from_pretrained` can read,
and returns that folder. Nothing is downloaded; the same call always gives the same weights.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5ForConditionalGeneration,
)

CONTEXT = 256
"""Positions of the causal models and of the encoders: a longer prompt does not fit."""

SENTENCES = (
    "Instruction: Write the words in reverse order.",
    "Input: apple, banana, cherry and 12 plums",
    "Output: plums, cherry, banana, apple",
    "Please sort the numbers from the smallest to the largest: 3 14 15 92 65 35.",
    "Translate the following sentence to French: the cat is not on the table!",
    "What is the opposite of hot? Answer in one word, please.",
    "You are a helpful assistant. Could you list all but the first two items?",
    "Is it true that the sun rises in the east? Say yes or no.",
)

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)


def train_byte_level(special_tokens: list[str]) -> Tokenizer:
    """Return a byte-level BPE tokenizer, as GPT-2 and RoBERTa have."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=special_tokens,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def gpt2_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer with GPT-2's single special token and no padding token."""
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(
        tokenizer_object=train_byte_level([end]), bos_token=end, eos_token=end, unk_token=end
    )


def roberta_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer that frames texts with `<s>` and `</s>`, like RoBERTa's."""
    tokenizer = train_byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token="<mask>",
    )


def llama_tokenizer() -> PreTrainedTokenizerFast:
    """Return a BPE tokenizer with byte fallback, `<s>` and a chat template, like Llama's."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=480, special_tokens=["<unk>", "<s>", "</s>", *bytes_], show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    # The trainer takes the byte pieces as special tokens; in a Llama tokenizer they are ordinary.
    model = tokenizer.model
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        chat_template=CHAT_TEMPLATE,
    )


def bert_tokenizer() -> PreTrainedTokenizerFast:
    """Return an uncased WordPiece tokenizer that strips accents and control characters."""
    special_tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    # Not trained: the trainer breaks ties by chance. Words, and letters to spell other words with.
    words = set(re.findall(r"[a-z]{2,}|[0-9]+|[^\w\s]", " ".join(SENTENCES[:5]).lower()))
    letters = string.ascii_lowercase + string.digits
    pieces = sorted({*words, *letters, *(f"##{letter}" for letter in letters), "##ing", "##es"})
    vocab = {piece: index for index, piece in enumerate([*special_tokens, *pieces])}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def t5_tokenizer() -> PreTrainedTokenizerFast:
    """Return a Unigram tokenizer that normalizes (NFKC, runs of spaces), like T5's."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Metaspace()
    special_tokens = ["<pad>", "</s>", "<unk>", "<extra_id_0>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=260, special_tokens=special_tokens, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    # The trainer orders pieces by chance, and the last digits of their scores differ.
    vocab = json.loads(tokenizer.to_str())["model"]["vocab"]
    count = len(special_tokens)
    pieces = sorted((piece, round(score, 3)) for piece, score in vocab[count:])
    tokenizer.model = models.Unigram([*map(tuple, vocab[:count]), *pieces], unk_id=2)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=["<extra_id_0>"],
    )


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "gpt2": gpt2_tokenizer,
    "roberta": roberta_tokenizer,
    "llama": llama_tokenizer,
    "bert": bert_tokenizer,
    "t5": t5_tokenizer,
}
"""Builder of each kind of tokenizer, for tests that hold for every kind."""


def save(
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    model_class: Callable[[Any], PreTrainedModel],
    config: Any,
    seed: int,
) -> Path:
    """Write tokenizer and randomly initialised model to the folder and return it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
    model.eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


_HEADS = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64}
_BERT = _HEADS | {"num_attention_heads": 2}
ARCHITECTURES: dict[str, tuple[Any, Any, Any, dict[str, Any]]] = {
    # Weights wide enough that greedy answers differ from prompt to prompt.
    "gpt2": (gpt2_tokenizer, GPT2Config, GPT2LMHeadModel, {
        "n_positions": CONTEXT, "n_embd": 32, "n_layer": 2, "n_head": 2, "initializer_range": 0.5,
    }),
    "llama": (llama_tokenizer, LlamaConfig, LlamaForCausalLM, _HEADS | {
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT,
        "initializer_range": 0.3,
    }),
    # Tied embeddings would make a random decoder repeat its start token for ever.
    "t5": (t5_tokenizer, T5Config, T5ForConditionalGeneration, {
        "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2,
        "num_heads": 4, "tie_word_embeddings": False, "initializer_factor": 3.0,
        "decoder_start_token_id": 0,
    }),
    "bert": (bert_tokenizer, BertConfig, BertModel, _BERT | {"max_position_embeddings": CONTEXT}),
    # RoBERTa counts positions from padding_idx + 1 on.
    "roberta": (roberta_tokenizer, RobertaConfig, RobertaModel, _BERT | {
        "max_position_embeddings": CONTEXT + 2, "type_vocab_size": 1,
    }),
}  # fmt: skip
"""Tokenizer, classes and sizes by name. T5's positions are relative; Llama has a chat template."""


def build(architecture: str, folder: Path, seed: int = 0) -> Path:
    """Write a tiny model of one of `ARCHITECTURES`, with contexts of `CONTEXT` tokens."""
    make_tokenizer, config_class, model_class, sizes = ARCHITECTURES[architecture]
    tokenizer = make_tokenizer()
    special = {
        name: getattr(tokenizer, name)
        for name in ("pad_token_id", "bos_token_id", "eos_token_id")
        if getattr(tokenizer, name) is not None
    }
    config = config_class(vocab_size=len(tokenizer), **special, **sizes)
    return save(folder, tokenizer, model_class, config, seed)
