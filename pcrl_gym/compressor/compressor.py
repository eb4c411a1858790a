"""The policy as a function: text in, shorter text out. No generator is needed."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, overload

import numpy as np
import torch

from pcrl_gym.compressor.compression import Compression
from pcrl_gym.compressor.domain import prompt_text, tokens_per_word
from pcrl_gym.compressor.folder import find_folder, read_settings, stored_template, write_policy
from pcrl_gym.compressor.model_card import PolicyCard
from pcrl_gym.compressor.network import KeepNetwork
from pcrl_gym.compressor.selection import dropped_units
from pcrl_gym.compressor.windows import rate_units
from pcrl_gym.episodes.episode import EpisodeBuilder
from pcrl_gym.episodes.protection import ForceKeep, Protection
from pcrl_gym.episodes.tokenizers import load_tokenizer
from pcrl_gym.episodes.units import UnitKind
from pcrl_gym.generators.pretrained import choose_device
from pcrl_gym.prompts.prompt import Prompt, text_problem
from pcrl_gym.prompts.template import make_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast
    from typing_extensions import Unpack

    from pcrl_gym.compressor.calibration import CalibrationOptions, Prompts
    from pcrl_gym.compressor.certificate import Certificate
    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.generators.base import Generator
    from pcrl_gym.prompts.template import Template

    class Options(TypedDict, total=False):
        """Arguments that every form of a call takes."""

        rate: float | None
        force_keep: ForceKeep
        keep_digits: bool
        batch_size: int


Texts = list[str] | tuple[str, ...]


class Compressor:
    """Shortens texts with a trained policy.

    A unit is dropped if the policy finds it likelier dropped than kept; with `rate=` exactly that
    share of a text's droppable units is dropped, those that it would keep least. A text with more
    units than the policy reads at once goes through in windows that overlap: each unit is rated
    once, with neighbors on both sides in view, and nothing is lost between windows.

    A policy is of no use for texts of a kind that it was not trained on. It may store how many
    tokens per word its training prompts had (see `compressor.domain`); a text with more has
    `in_domain=False`. A text of another kind may still have few, if its words are common.

    Args:
        network: The policy; it is moved to the device and set to evaluation mode.
        tokenizer: The one that it was trained with: "micro", Hugging Face id, folder or object.
        template: The template that it was trained with: "alpaca", "chat" (the chat template of
            `tokenizer`, see `make_template`) or an object, such as the `ChatTemplate` of a
            generator with another tokenizer. Free text is shown to the policy inside it.
        unit: What it keeps or drops, "token" or "word".
        max_units: Most units that it reads at once, template included.
        force_keep: Strings that were protected while it was trained: they always are.
        keep_digits: Whether numbers were.
        max_tokens_per_word: Most tokens per word of its training prompts, above 0; None: not known.
        card: Where it comes from, for the model card; None: nothing is known.
        certificate: What `calibrate` found for this policy; None: nothing is certified.
        device: "auto" (a GPU if there is one), "cpu", "cuda", ...

    Raises:
        ValueError: If a setting is unknown or out of range, or network and tokenizer do not fit.

    Example:
        >>> compressor = Compressor.from_pretrained("micro", device="cpu")
        >>> compressor("Could you please sort these words: pear, fig").text
        ' sort pear fig'
    """

    def __init__(
        self,
        network: KeepNetwork,
        tokenizer: str | Path | PreTrainedTokenizerFast,
        *,
        template: str | Template = "alpaca",
        unit: UnitKind = "token",
        max_units: int = 128,
        force_keep: Sequence[str] = (),
        keep_digits: bool = False,
        max_tokens_per_word: float | None = None,
        card: PolicyCard | None = None,
        certificate: Certificate | None = None,
        device: str = "auto",
    ) -> None:
        _check_count("max_units", max_units)
        self.tokenizer = load_tokenizer(tokenizer)
        if network.vocabulary_size < len(self.tokenizer):
            raise ValueError(
                f"the network knows {network.vocabulary_size} token ids, but the tokenizer has "
                f"{len(self.tokenizer)}: give the tokenizer that the policy was trained with"
            )
        if network.max_units is not None and network.max_units < max_units:
            raise ValueError(
                f"the network has {network.max_units} positions: max_units cannot be {max_units}"
            )
        self.template = make_template(template, self.tokenizer)
        self.unit: UnitKind = unit
        self.max_units = max_units
        self.builder = EpisodeBuilder(self.tokenizer, self.template, unit, force_keep, keep_digits)
        self.force_keep = tuple(force_keep)
        self.keep_digits = keep_digits
        if max_tokens_per_word is not None and not 0.0 < max_tokens_per_word < float("inf"):
            raise ValueError(
                "max_tokens_per_word must be a positive number or None, got "
                f"{max_tokens_per_word!r}"
            )
        self.max_tokens_per_word = max_tokens_per_word
        self.card = card or PolicyCard()
        self.certificate = certificate
        self.device = torch.device(choose_device(device))
        self.network = network.to(self.device).eval()

    @overload
    def __call__(self, text: str, **options: Unpack[Options]) -> Compression: ...

    @overload
    def __call__(self, text: Texts, **options: Unpack[Options]) -> list[Compression]: ...

    @overload
    def __call__(
        self, *, instruction: str, input: str = "", **options: Unpack[Options]
    ) -> Compression: ...

    @overload
    def __call__(
        self, *, instruction: Texts, input: Texts | None = None, **options: Unpack[Options]
    ) -> list[Compression]: ...

    def __call__(
        self,
        text: str | Texts | None = None,
        *,
        instruction: str | Texts | None = None,
        input: str | Texts | None = None,
        rate: float | None = None,
        force_keep: ForceKeep = (),
        keep_digits: bool = False,
        batch_size: int = 32,
    ) -> Compression | list[Compression]:
        r"""Compress one text or several.

        Give either `text`, or `instruction` with or without `input`: these are put in the template,
        and what comes back is the whole prompt, of which the template's own text is never dropped.

        Args:
            text: A text, or a list of texts.
            instruction: An instruction, or a list of them.
            input: The input of the instruction, or a list of as many.
            rate: Share of each text's droppable units to drop, 0 to 1, rounded down; None: that of
                the certificate or, without one, as many as the policy finds likelier dropped.
            force_keep: Strings and compiled regular expressions whose matches are kept, as whole
                words.
            keep_digits: Whether numbers are kept; see `pcrl_gym.episodes.protection`.
            batch_size: Windows that go through the network together.

        Returns:
            One compression, or a list of them where a list was given.

        Raises:
            ValueError: If an argument has the wrong form, or a text is no valid Unicode.

        Example:
            >>> done = compressor(["one text", "another"], rate=0.3)  # doctest: +SKIP
            >>> done = compressor(instruction="Please sort.", input="fig pear")  # doctest: +SKIP
            >>> done.text  # doctest: +SKIP
            'Instruction:  sort\nInput: fig pear\nOutput: \n'
        """
        if (text is None) == (instruction is None) or (text is not None and input is not None):
            raise ValueError("give either text, or instruction= with or without input=")
        if rate is not None and not (isinstance(rate, (int, float)) and 0.0 <= rate <= 1.0):
            raise ValueError(f"rate must be a share between 0 and 1 or None, got {rate!r}")
        _check_count("batch_size", batch_size)
        protection = self.builder.protection | Protection(force_keep, keep_digits)
        if instruction is None:
            own = _texts("text", text)
            episodes = self.builder.cut_texts(own, protection)
        else:
            pairs = _pairs(instruction, input)
            own = [prompt_text(*pair) for pair in pairs]
            prompts = [Prompt(str(i), *pair) for i, pair in enumerate(pairs)]
            episodes = self.builder(prompts, protection)
        certificate = self.certificate if rate is None else None
        if certificate is not None:
            rate = certificate.rate
        done = self._compressed(episodes, self._in_domain(own), rate, batch_size)
        if certificate is not None and not force_keep and not keep_digits:
            done = [replace(one, certificate=certificate) for one in done]
        return done[0] if isinstance(text, str) or isinstance(instruction, str) else done

    def _in_domain(self, texts: list[str]) -> list[bool | None]:
        if self.max_tokens_per_word is None:
            return [None] * len(texts)
        return [
            bool(value <= self.max_tokens_per_word)
            for value in tokens_per_word(texts, self.builder.encoder)
        ]

    def _compressed(
        self,
        episodes: list[Episode],
        in_domain: list[bool | None],
        rate: float | None,
        batch_size: int,
    ) -> list[Compression]:
        ratings = rate_units(self.network, episodes, self.max_units, batch_size)
        pairs = list(zip(episodes, ratings, strict=True))
        kept = [~dropped_units(logits, episode.droppable, rate) for episode, logits in pairs]
        # 1 / (1 + exp(-logit)) without overflow
        chances = [
            np.where(episode.droppable, np.exp(-np.logaddexp(0.0, -logits)), 1.0)
            for episode, logits in pairs
        ]
        originals = [episode.text for episode in episodes]
        texts = [episode.compress(mask) for episode, mask in zip(episodes, kept, strict=True)]
        templates = [episode.template_text for episode in episodes]
        ids = self.builder.encoder.prompt_ids(
            [*originals, *texts, *templates], add_special_tokens=False
        )
        n = len(episodes)
        return [
            Compression(
                original=str(episode.text),
                text=str(texts[i]),
                units=episode.spans,
                keep_probabilities=tuple(chances[i].tolist()),
                droppable=tuple(episode.droppable.tolist()),
                kept=tuple(kept[i].tolist()),
                original_tokens=len(ids[i]),
                compressed_tokens=len(ids[n + i]),
                template_tokens=len(ids[2 * n + i]),
                in_domain=in_domain[i],
                episode=episode,
            )
            for i, episode in enumerate(episodes)
        ]

    def calibrate(
        self,
        prompts: Prompts,
        generator: str | Path | Generator,
        **options: Unpack[CalibrationOptions],
    ) -> Compressor:
        """Return this compressor with a certificate of how many answers it costs.

        The rate of the certificate, the highest that loses at most a share `risk` of the answers
        with some `confidence`, is that of its calls without `rate`.

        Args:
            prompts: Texts, `Prompt` objects, or a dataset as in `load_prompts`; drawn like those
                that will be compressed.
            generator: The model that answers, as in `load_generator`.
            **options: `risk=0.05`, `confidence=0.95` and others of `calibration.certify`.

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
        calibrated.certificate = certify(
            self, prompts, generator, device=str(self.device), **options
        )
        return calibrated

    def save_pretrained(
        self, folder: str | Path, dtype: torch.dtype | None = None, *, overwrite: bool = False
    ) -> None:
        """Write a folder of safetensors and JSON, with the tokenizer and a model card.

        The folder appears as a whole or not at all.

        Args:
            folder: Where to.
            dtype: Data type of the stored weights, such as `torch.float16` to halve the file; None:
                as they are. They are float32 again when they are loaded.
            overwrite: Whether to replace a compressor that was saved in the folder before.

        Raises:
            ValueError: If the folder holds a compressor and `overwrite` is not set, or it holds
                anything else, the template is neither `"alpaca"` nor a `ChatTemplate`, or there is
                a certificate, which holds for the weights as they are, and a `dtype`.
        """
        self._write(Path(folder).resolve(), Path(folder).resolve().name, dtype, overwrite)

    def _write(
        self, folder: Path, name: str, dtype: torch.dtype | None, overwrite: bool = False
    ) -> None:
        settings = {
            **stored_template(self.template),
            "unit": self.unit,
            "max_units": self.max_units,
            "force_keep": list(self.force_keep),
            "keep_digits": self.keep_digits,
            "max_tokens_per_word": self.max_tokens_per_word,
            "certificate": self.certificate and self.certificate.to_dict(),
        }
        parts = (self.network, self.tokenizer, settings, self.card)
        write_policy(folder, name, *parts, dtype=dtype, overwrite=overwrite)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | None = None,
        commit_message: str = "Upload compressor",
        dtype: torch.dtype | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes to the Hugging Face hub, as one commit.

        Args:
            repo_id: Name of the repository, which is made if there is none.
            private: Whether a new repository is private.
            token: Access token; None: the one that `hf auth login` stored.
            commit_message: Message of the commit.
            dtype: See `save_pretrained`.

        Returns:
            Address of the commit.
        """
        from huggingface_hub import HfApi

        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / "policy"
            self._write(folder, repo_id, dtype)
            api = HfApi(token=token)
            api.create_repo(repo_id, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id, folder_path=str(folder), commit_message=commit_message
            )
            return str(commit.commit_url)

    @classmethod
    def from_pretrained(
        cls, spec: str | Path, *, device: str = "auto", revision: str | None = None
    ) -> Compressor:
        """Return a saved compressor. Neither pickles nor code from the folder are run.

        Args:
            spec: "micro" (it comes with the package), a folder, or a Hugging Face hub id.
            device: "auto" (a GPU if there is one), "cpu", "cuda", ...
            revision: Branch, tag or commit on the hub; None: its main branch.

        Raises:
            ValueError: If there is no such compressor, or it is incomplete or broken.
        """
        device = choose_device(device)
        folder = find_folder(spec, revision)
        settings = read_settings(folder)
        card = PolicyCard.from_dict(settings.pop("card"))
        with torch.random.fork_rng(devices=[]):  # weights are drawn before they are loaded
            network = KeepNetwork.from_pretrained(folder)
        return cls(network, folder, card=card, device=device, **settings)


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


def _texts(name: str, value: Any) -> list[str]:
    """Return the texts of an argument, which is one or a list of them."""
    if not isinstance(value, (str, list, tuple)):
        raise ValueError(f"{name} must be a string or a list of strings, got {value!r}")
    texts = [value] if isinstance(value, str) else list(value)
    for i, text in enumerate(texts):
        if problem := text_problem(text):
            place = name if isinstance(value, str) else f"{name}[{i}]"
            raise ValueError(f"{place} {problem}")
    return texts


def _pairs(instruction: Any, input: Any) -> list[tuple[str, str]]:
    """Return (instruction, input) of each prompt; no input is an empty one."""
    instructions = _texts("instruction", instruction)
    if input is None:
        return [(row, "") for row in instructions]
    inputs = _texts("input", input)
    if isinstance(instruction, str) != isinstance(input, str) or len(inputs) != len(instructions):
        raise ValueError(
            "instruction and input must both be strings or lists of the same length, got "
            f"{len(instructions)} and {len(inputs)}"
        )
    return list(zip(instructions, inputs, strict=True))
