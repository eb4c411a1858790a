"""Compress texts with a trained policy, without a generator."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pcrl_gym.compressor.arguments import Call, check_count
from pcrl_gym.compressor.backends import Backend, check_backend, load_network, make_rater
from pcrl_gym.compressor.budget import kept_units
from pcrl_gym.compressor.calls import TextCompressor
from pcrl_gym.compressor.compression import Compression
from pcrl_gym.compressor.domain import tokens_per_word
from pcrl_gym.compressor.expected_loss import LossModel
from pcrl_gym.compressor.folder import (
    find_folder,
    read_settings,
    read_tokenizer,
    stored_template,
    write_policy,
)
from pcrl_gym.compressor.model_card import PolicyCard
from pcrl_gym.compressor.onnx_rater import OnnxRater
from pcrl_gym.compressor.selection import group_means, single_units
from pcrl_gym.compressor.windows import rate_units
from pcrl_gym.episodes.episode import EpisodeBuilder
from pcrl_gym.episodes.groups import word_groups
from pcrl_gym.episodes.tokenizers import load_tokenizer
from pcrl_gym.episodes.units import UnitKind
from pcrl_gym.prompts.template import make_template

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast
    from typing_extensions import Unpack

    from pcrl_gym.compressor.calibration import CalibrationOptions, Prompts
    from pcrl_gym.compressor.certificate import Certificate
    from pcrl_gym.compressor.network import KeepNetwork
    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.generators.base import Generator
    from pcrl_gym.prompts.template import Template


class Compressor(TextCompressor):
    """Compresses texts with a trained policy.

    A unit is dropped if the policy considers dropping it more likely than keeping it. With `rate=`
    or a certificate, that share of a text's droppable units is dropped, rounded down, those least
    likely to be kept first. With `target_tokens=`, as few units as possible are dropped to leave at
    most that many tokens. A text with more units than the policy reads at once is split into
    overlapping windows. Each unit is rated once, with context on both sides, and no unit is
    skipped.

    Policies do not generalize to kinds of text that they were not trained on. A policy may store
    the number of tokens per word of its training prompts (see `compressor.domain`); texts with more
    have `in_domain=False`. Text of another kind may still have few if its words are common.

    Args:
        network: The policy. It is moved to the device and set to evaluation mode. An `OnnxRater`
            rates units without torch.
        tokenizer: Tokenizer used in training: "micro", a Hugging Face id, a folder, or an object.
        template: The template that the policy was trained with: "alpaca", "chat" (the chat template
            of `tokenizer`, see `make_template`), or an object, such as the `ChatTemplate` of a
            generator with another tokenizer. The policy sees free text inside this template.
        unit: What the policy keeps or drops, "token" or "word".
        max_units: Maximum number of units that the policy reads at once, including the template.
        force_keep: Strings that were protected during training. They are always kept.
        keep_digits: Whether numbers were protected during training.
        whole_words: Whether the units of a word, a multi-word number, or a name (see
            `episodes.groups`) are dropped together or not at all, based on their mean logit.
        max_tokens_per_word: Tokens per word that 99.5% of its training prompts do not exceed,
            above 0, or None if unknown.
        card: Provenance of the policy for the model card, or None if unknown.
        certificate: Certificate that `calibrate` created for this policy, or None if not certified.
        loss_model: Cost model for dropping units, fitted by `calibrate`. If None, calls do not
            accept `tolerance`.
        device: "auto" (a GPU if there is one), "cpu", "cuda", ...

    Raises:
        ValueError: If a setting is unknown or out of range, or network and tokenizer do not match.

    Example:
        >>> compressor = Compressor.from_pretrained("micro", device="cpu")
        >>> compressor("Could you please sort these words: pear, fig").text
        ' sort pear fig'
    """

    def __init__(
        self,
        network: KeepNetwork | OnnxRater,
        tokenizer: str | Path | PreTrainedTokenizerFast,
        *,
        template: str | Template = "alpaca",
        unit: UnitKind = "token",
        max_units: int = 128,
        force_keep: Sequence[str] = (),
        keep_digits: bool = False,
        whole_words: bool = False,
        max_tokens_per_word: float | None = None,
        card: PolicyCard | None = None,
        certificate: Certificate | None = None,
        loss_model: LossModel | None = None,
        device: str = "auto",
    ) -> None:
        check_count("max_units", max_units)
        self.tokenizer = load_tokenizer(tokenizer)
        if network.vocabulary_size < len(self.tokenizer):
            raise ValueError(
                f"the network knows {network.vocabulary_size} token ids, but the tokenizer has "
                f"{len(self.tokenizer)}: pass the tokenizer that the policy was trained with"
            )
        if network.max_units is not None and network.max_units < max_units:
            raise ValueError(
                f"max_units={max_units} is too high: the network has {network.max_units} positions"
            )
        self.template = make_template(template, self.tokenizer)
        self.unit: UnitKind = unit
        self.max_units = max_units
        self.builder = EpisodeBuilder(self.tokenizer, self.template, unit, force_keep, keep_digits)
        self.force_keep = tuple(force_keep)
        self.keep_digits = keep_digits
        self.whole_words = whole_words
        if max_tokens_per_word is not None and not 0.0 < max_tokens_per_word < float("inf"):
            raise ValueError(
                "max_tokens_per_word must be a positive number or None, got "
                f"{max_tokens_per_word!r}"
            )
        self.max_tokens_per_word = max_tokens_per_word
        self.card = card or PolicyCard()
        self.certificate = certificate
        self.loss_model = loss_model
        self.network = network
        self._rater = make_rater(network, device)
        self.device = self._rater.device

    def _compressed(
        self, episodes: list[Episode], texts: list[str], call: Call
    ) -> list[Compression]:
        ratings = rate_units(self._rater, episodes, self.max_units, call.batch_size)
        groups = [
            word_groups(e.text, e.spans, e.droppable)
            if self.whole_words
            else single_units(e.droppable)
            for e in episodes
        ]
        logits = [group_means(*pair) for pair in zip(ratings, groups, strict=True)]
        free = [own >= 0 for own in groups]
        kept = kept_units(episodes, logits, groups, call, self.loss_model)
        # 1 / (1 + exp(-logit)) without overflow
        chances = [
            np.where(own, np.exp(-np.logaddexp(0.0, -values)), 1.0)
            for own, values in zip(free, logits, strict=True)
        ]
        shorter = [episode.compress(mask) for episode, mask in zip(episodes, kept, strict=True)]
        counts = call.count(
            [*(episode.text for episode in episodes), *shorter]
            + [episode.template_text for episode in episodes]
        )
        in_domain = self._in_domain(texts)
        n = len(episodes)
        return [
            Compression(
                original=str(episode.text),
                text=str(shorter[i]),
                units=episode.spans,
                keep_probabilities=tuple(chances[i].tolist()),
                droppable=tuple(free[i].tolist()),
                kept=tuple(kept[i].tolist()),
                original_tokens=counts[i],
                compressed_tokens=counts[n + i],
                template_tokens=counts[2 * n + i],
                in_domain=in_domain[i],
                episode=episode,
            )
            for i, episode in enumerate(episodes)
        ]

    def _in_domain(self, texts: list[str]) -> list[bool | None]:
        if self.max_tokens_per_word is None:
            return [None] * len(texts)
        return [
            bool(value <= self.max_tokens_per_word)
            for value in tokens_per_word(texts, self.builder.encoder)
        ]

    def calibrate(
        self,
        prompts: Prompts,
        generator: str | Path | Generator,
        **options: Unpack[CalibrationOptions],
    ) -> Compressor:
        """Return a copy of this compressor with a certificate of how many answers it loses.

        The certified rate is the highest one that loses at most a share `risk` of the answers with
        the given `confidence`. It is the default for calls that do not specify how much to drop.
        If the generator provides likelihoods, calls also accept `tolerance`.

        Args:
            prompts: Texts, `Prompt` objects, or a dataset as in `load_prompts`, from the same
                distribution as the texts to compress.
            generator: The model that answers, as in `load_generator`.
            **options: `risk=0.05`, `confidence=0.95`, and other options of `calibration.certify`.

        Raises:
            ValueError: If an option is out of range, or there are too few prompts.
            GeneratorError: If the generator fails.

        Example:
            >>> safe = compressor.calibrate("micro", "micro", risk=0.1)  # doctest: +SKIP
            >>> safe.certificate.rate  # doctest: +SKIP
            0.6
        """
        from pcrl_gym.compressor.calibration import certify

        calibrated = copy.copy(self)
        calibrated.certificate, calibrated.loss_model = certify(
            self, prompts, generator, device=str(self.device), **options
        )
        return calibrated

    def save_pretrained(
        self,
        folder: str | Path,
        dtype: torch.dtype | None = None,
        *,
        onnx: bool = False,
        overwrite: bool = False,
    ) -> None:
        """Save as a folder of safetensors and JSON files, with the tokenizer and a model card.

        The folder is written completely or not at all.

        Args:
            folder: The target folder.
            dtype: Data type of the stored weights, such as `torch.float16` to halve the file size.
                If None, it is unchanged. Loaded weights are always float32.
            onnx: Whether to also write `network.onnx` and `network.int8.onnx`, which let
                `from_pretrained` work without torch. They read the same weights, which must be
                float32 or float16.
            overwrite: Whether to replace a compressor saved in the folder before.

        Raises:
            MissingExtraError: If `onnx` is set and the extra of that name is not installed.
            ValueError: If the folder holds a compressor and `overwrite` is not set, or it holds
                anything else; if the template is neither `"alpaca"` nor a `ChatTemplate`; if
                `dtype` is set and there is a certificate, which covers only the current weights; or
                if the compressor was loaded without torch.
        """
        path = Path(folder).resolve()
        self._write(path, path.name, dtype, onnx=onnx, overwrite=overwrite)

    def _write(
        self,
        folder: Path,
        name: str,
        dtype: torch.dtype | None,
        *,
        onnx: bool,
        overwrite: bool = False,
    ) -> None:
        if isinstance(self.network, OnnxRater):
            raise ValueError(
                "a compressor loaded with backend='onnx' or 'int8' cannot be saved: load it with "
                "backend='torch', or copy its folder"
            )
        settings = {
            **stored_template(self.template),
            "unit": self.unit,
            "max_units": self.max_units,
            "force_keep": list(self.force_keep),
            "keep_digits": self.keep_digits,
            "whole_words": self.whole_words,
            "max_tokens_per_word": self.max_tokens_per_word,
            "certificate": self.certificate and self.certificate.to_dict(),
            "loss_model": self.loss_model and asdict(self.loss_model),
        }
        parts = (self.network, self.tokenizer, settings, self.card)
        write_policy(folder, name, *parts, dtype=dtype, onnx=onnx, overwrite=overwrite)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | None = None,
        commit_message: str = "Upload compressor",
        dtype: torch.dtype | None = None,
        onnx: bool = False,
    ) -> str:
        """Upload the files of `save_pretrained` to the Hugging Face Hub in one commit.

        Args:
            repo_id: Name of the repository, which is created if it does not exist.
            private: Whether a new repository is private.
            token: Access token. If None, the one stored by `hf auth login`.
            commit_message: Message of the commit.
            dtype: See `save_pretrained`.
            onnx: See `save_pretrained`.

        Returns:
            URL of the commit.
        """
        from huggingface_hub import HfApi

        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / "policy"
            self._write(folder, repo_id, dtype, onnx=onnx)
            api = HfApi(token=token)
            api.create_repo(repo_id, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id, folder_path=str(folder), commit_message=commit_message
            )
            return str(commit.commit_url)

    @classmethod
    def from_pretrained(
        cls,
        spec: str | Path,
        *,
        device: str = "auto",
        backend: Backend = "auto",
        revision: str | None = None,
    ) -> Compressor:
        """Load a saved compressor, without running pickles or code from the folder.

        Args:
            spec: "instruct" (for prompts that people write to chat models) or "micro" (for prompts
                of the micro world), which ship with the package, a folder, or a Hugging Face id.
            device: "auto" (a GPU if there is one), "cpu", "cuda", ...
            backend: "torch", "onnx", "int8", or "auto" (torch if installed). ONNX Runtime starts
                faster, does not need torch, and runs on the CPU. It requires a folder saved with
                `onnx=True`. "int8" is ONNX Runtime with 8-bit integers: about half the time for
                single prompts of "instruct" on one core, but some units are decided differently.
            revision: Branch, tag, or commit on the Hub. If None, the main branch.

        Raises:
            MissingExtraError: If the backend is not installed.
            ValueError: If the compressor does not exist, is incomplete, or is broken, or if the
                backend is unknown or does not support the device, or if it is "int8" and the
                compressor has a certificate.
        """
        check_backend(backend, device)
        folder = find_folder(spec, revision)
        settings = read_settings(folder)
        card = PolicyCard.from_dict(settings.pop("card"))
        if backend == "int8" and settings["certificate"] is not None:
            raise ValueError(
                f"the certificate of {spec} does not hold for backend='int8', which decides some "
                "units differently: use backend='onnx'"
            )
        network = load_network(folder, backend, device)
        return cls(network, read_tokenizer(folder), card=card, device=device, **settings)
