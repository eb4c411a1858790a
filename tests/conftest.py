"""Fixtures shared by all tests: tiny model folders, built once per session, and no network."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

import models

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver import Chrome
    from transformers import PreTrainedTokenizerFast


# A loaded machine must not fail a test, and a failure must come back.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")


def _folder(architecture: str) -> Any:
    """A fixture: the folder of a tiny model with random weights, see `models.ARCHITECTURES`."""

    @pytest.fixture(scope="session", name=f"{architecture}_folder")
    def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
        return models.build(architecture, tmp_path_factory.mktemp(architecture))

    return folder


gpt2_folder, llama_folder, t5_folder, bert_folder, roberta_folder = map(
    _folder, ("gpt2", "llama", "t5", "bert", "roberta")
)


@pytest.fixture(scope="session", params=sorted(models.TOKENIZERS))
def any_tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    """A fast tokenizer of each kind in turn."""
    return models.TOKENIZERS[request.param]()


@pytest.fixture(scope="session")
def gpt2_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer."""
    return models.gpt2_tokenizer()


@pytest.fixture(scope="session")
def llama_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with byte fallback and a chat template."""
    return models.llama_tokenizer()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A headless Chromium; tests that use it are marked `browsing.needs_browser`."""
    import browsing

    yield from browsing.chromium(tmp_path_factory.mktemp("chromium"))
