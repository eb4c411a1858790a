"""Hugging Face models as frozen, greedy, batched generators."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch

from pcrl_gym.episodes.tokenizers import load_tokenizer
from pcrl_gym.errors import GeneratorError, PcrlError
from pcrl_gym.generators.attribution import GATES, check_pieces, gate_slopes, with_neighbors
from pcrl_gym.generators.base import (
    Answer,
    Decided,
    DraftingGenerator,
    Drafts,
    SharedGenerator,
    check_new_tokens,
    check_pairs,
)
from pcrl_gym.generators.batch_invariance import decoded_logits, probe
from pcrl_gym.generators.batching import (
    Batcher,
    RunBatch,
    gradient_budget,
    is_out_of_memory,
    pad_rows,
    reading_budget,
    token_budget,
)
from pcrl_gym.generators.fingerprint import model_identity
from pcrl_gym.generators.generation_config import (
    STEERING,
    check_context,
    check_token_ids,
    check_vocabulary,
    context_length,
    control_ids,
    dropped_settings,
    greedy_config,
    refuse_nan,
)
from pcrl_gym.generators.likelihood import answer_logits
from pcrl_gym.generators.logits import mean_log_likelihoods
from pcrl_gym.generators.pretrained import load_pretrained
from pcrl_gym.generators.speculative.decoding import DraftDecoder, length_keys
from pcrl_gym.generators.speculative.kv_cache import SharedPrefix, prefix_groups
from pcrl_gym.generators.speculative.partial_text import GrowingText
from pcrl_gym.generators.token_codec import TokenCodec
from pcrl_gym.generators.torch_state import own_state
from pcrl_gym.micro import MICRO, weights_folder
from pcrl_gym.storage.gguf import model_name

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


class HFGenerator(SharedGenerator, DraftingGenerator):
    """A causal or encoder-decoder model of the transformers library as a `Generator`.

    The generator takes over the model: it switches it to eval mode, disables gradients, and
    replaces its saved generation settings (sampling, beams, penalties), so that every answer is
    the plain argmax continuation. Only settings for tokens that an answer must not contain or must
    begin with are kept (`generation_config.STEERING`). The weights are never changed.

    Prompts are sorted by length, padded to the longest in their batch (left for causal models,
    right for encoders), and answered in their original order. When loading a model,
    `batch_invariance.probe` checks whether padding or drafts change its answers; if so, they are
    not used, and a warning is issued. Special-token strings in prompts are plain text, see
    `TextEncoder`; for BOS and EOS see `TokenCodec`.

    Args:
        model: A model with a language modeling head, on the device to run on.
        tokenizer: The fast tokenizer that the model was trained with.
        name: Name in tables; `None` for the ID or folder that the model was loaded from.
        batch_size: Prompts per batch, or "auto" for as many as `batching.token_budget` allows.
            Halved when memory runs out, without losing a prompt.

    Attributes:
        max_prompt_tokens: The model's context minus BOS and EOS; `None` for relative positions.

    Raises:
        ValueError: If the model cannot generate, fails to generate, or is an encoder-decoder
            without a decoder start token, the tokenizer is not fast or has tokens unknown to the
            model, or the batch size is not "auto" or positive.

    Example:
        >>> generator = HFGenerator.from_pretrained("google/flan-t5-small")  # doctest: +SKIP
        >>> generator.generate(["Is fire hot?"], max_new_tokens=8)[0].text  # doctest: +SKIP
        'yes'
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        name: str | None = None,
        batch_size: int | Literal["auto"] = "auto",
    ) -> None:
        if batch_size != "auto" and not (isinstance(batch_size, int) and batch_size >= 1):
            raise ValueError(f'batch_size must be "auto" or at least 1, got {batch_size!r}')
        if not model.can_generate():
            raise ValueError(
                f"{type(model).__name__} cannot answer prompts: expected a causal or an "
                "encoder-decoder language model"
            )
        self.model = cast("Any", model)  # transformers leaves much of it unannotated
        self.model.eval().requires_grad_(False)
        self.tokenizer = load_tokenizer(tokenizer)
        self.name = name or model.name_or_path or type(model).__name__
        self.batches = Batcher(batch_size, token_budget(self.model))
        self.readings = Batcher(batch_size, reading_budget(self.model))
        self.is_encoder_decoder = bool(model.config.is_encoder_decoder)
        check_vocabulary(self.model, self.tokenizer)
        # Together with the weights, these determine the answers.
        self._ids = control_ids(self.model, self.tokenizer)
        pad, eos = self._ids["pad_token_id"], self._ids["eos_token_id"] or ()
        self._codec = TokenCodec(self.tokenizer, self.is_encoder_decoder, pad, eos)
        context = context_length(model.config)
        [framed], [bare] = self._codec.prompts(["a"]), self.count_tokens(["a"])
        self.max_prompt_tokens = None if context is None else context - (len(framed) - bare)
        if dropped := dropped_settings(self.model.generation_config):
            warnings.warn(
                f"{self.name!r}: answers use plain greedy decoding, without the saved generation "
                f"settings {dropped}",
                stacklevel=2,
            )
        # `generate` takes values missing in its config from the model's: leave nothing to leak.
        self.model.generation_config = greedy_config(**self._ids)
        self._invariance = probe(self.model, self._ids, self._codec, context)
        if self._invariance.problems:
            warnings.warn(
                f"{self.name!r} ({type(model).__name__}) runs slower than other models, according "
                f"to a probe: {'; '.join(self._invariance.problems)}",
                stacklevel=2,
            )

    @classmethod
    def from_pretrained(
        cls,
        spec: str,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int | Literal["auto"] = "auto",
        name: str | None = None,
    ) -> HFGenerator:
        """Load a micro generator or SmolLM2 by name, or a model by Hub ID, folder, or GGUF file.

        See `load_generator` for the arguments and errors. `name` defaults to `spec`, or for a GGUF
        file to the name of the file.
        """
        source = spec
        if spec in MICRO:
            source = str(weights_folder(MICRO[spec]))
            dtype = "float32" if dtype == "auto" else dtype
        model, tokenizer = load_pretrained(source, device, dtype)
        return cls(model, tokenizer, name=name or model_name(spec), batch_size=batch_size)

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """SHA-256 of everything that determines the answers, see `fingerprint.model_identity`."""
        return model_identity(self.model, self.tokenizer, self._ids)

    @cached_property
    def _growing(self) -> GrowingText:
        return GrowingText(self.tokenizer)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, without BOS and EOS."""
        return self._codec.count(texts)

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[Answer]:
        """Answer each prompt greedily; see `Generator.generate`.

        Raises:
            ValueError: If `max_new_tokens` is below 1.
            PromptTooLongError: If a prompt and its answer exceed the context; raised upfront.
            GeneratorError: If the model fails or returns NaN.
        """
        check_new_tokens(max_new_tokens)
        rows = self._encode(prompts, [max_new_tokens] * len(prompts))
        config = greedy_config(max_new_tokens=max_new_tokens, **self._ids)
        answers = [Answer("")] * len(rows)

        def run(batch: list[int]) -> None:
            self._invariance.reset(self.model, self._ids)
            pad, left = self._ids["pad_token_id"], not self.is_encoder_decoder
            input_ids, mask = pad_rows([rows[i] for i in batch], pad, left, self.model.device)
            output = self.model.generate(
                input_ids=input_ids,
                attention_mask=mask,
                generation_config=config,
                logits_processor=[refuse_nan],
            )
            start = 1 if self.is_encoder_decoder else input_ids.shape[1]
            for i, padded in zip(batch, output[:, start:].tolist(), strict=True):
                answers[i] = self._codec.answer(padded)

        sizes = [len(row) + max_new_tokens for row in rows]
        lengths = [(len(row),) for row in rows]
        groups = self._invariance.groups(self._invariance.decoding, sizes, lengths)
        self._run("generate", self.batches, sizes, run, groups=groups)
        return answers

    def generate_from(
        self, prompts: Sequence[str], drafts: Drafts, max_new_tokens: int, decided: Decided = None
    ) -> list[Answer]:
        """Answer each prompt greedily; the more of its draft is correct, the faster.

        See `DraftingGenerator.generate_from`. The answers equal those of `generate`, which is used
        for models that cannot read drafts (`batch_invariance.probe`), such as those with sliding
        windows, recurrent states, or absolute positions in a decoder.

        Raises:
            ValueError: If the numbers of drafts and prompts differ, or `max_new_tokens` is below 1.
            PromptTooLongError: If a prompt and its answer exceed the context; raised upfront.
            GeneratorError: If the model fails or returns NaN.
        """
        decoder = self._decode(prompts, drafts, max_new_tokens, decided)
        if decoder is None:
            return self.generate(prompts, max_new_tokens)
        return self._answers_of(decoder)

    def generate_and_score(
        self,
        prompts: Sequence[str],
        drafts: Sequence[Answer],
        max_new_tokens: int,
        decided: Decided = None,
    ) -> tuple[list[Answer], list[float]]:
        """Answer prompts and score the drafts in the same passes.

        See `DraftingGenerator.generate_and_score`, and `generate_from` and `log_likelihood` for the
        errors.
        """
        check_token_ids(self.model, self.name, drafts)
        fits = all(len(draft.token_ids) <= max_new_tokens for draft in drafts)
        decoder = self._decode(prompts, drafts, max_new_tokens, decided, True) if fits else None
        if decoder is None:
            return super().generate_and_score(prompts, drafts, max_new_tokens, decided)
        scores = [decoder.scores.get(i, 0.0) for i in range(len(drafts))]
        return self._answers_of(decoder), scores

    def _decode(
        self,
        prompts: Sequence[str],
        drafts: Drafts,
        max_new_tokens: int,
        decided: Decided,
        scored: bool = False,
    ) -> DraftDecoder | None:
        """Return a decoder that has answered all prompts, or None if drafts cannot be used."""
        check_pairs("draft", drafts, prompts)
        takes_drafts = self._invariance.drafts and not set(STEERING) & set(self._ids)
        if not takes_drafts or max_new_tokens < 1:
            return None
        rows = self._encode(prompts, [max_new_tokens] * len(prompts))
        if any(self._invariance.exceeds(len(row) + max_new_tokens) for row in rows):
            return None
        draft_ids = self._codec.drafts(drafts, max_new_tokens)
        stop = None if decided is None else self._growing.decider(decided, max_new_tokens)
        limits = max_new_tokens, stop, self.batches.tokens, self._prefix(rows), scored
        decoder = DraftDecoder(self.model, self._ids, rows, draft_ids, *limits)
        keys = length_keys(rows, draft_ids, self.is_encoder_decoder)
        what, sizes = "generate_from", decoder.sizes
        unread = self._unread(sizes, decoder.prefix)
        self._run(what, self.readings, unread, decoder.read, keys=keys)
        self._run(what, self.batches, [max(sizes, default=0)], lambda _: decoder.complete())
        self._run(what, self.batches, sizes, decoder.read_alone, rows=decoder.evicted)
        return decoder

    def _answers_of(self, decoder: DraftDecoder) -> list[Answer]:
        return [
            self._growing.partial_answer(answer.tokens)
            if answer.partial
            else self._codec.answer(answer.tokens)
            for answer in (decoder.answers[i] for i in range(len(decoder.prompts)))
        ]

    def log_likelihood(self, prompts: Sequence[str], answers: Sequence[Answer]) -> list[float]:
        """Score given answers with one forward pass; see `Generator.log_likelihood`.

        The token IDs of the answers are used directly; their text is not retokenized.

        Raises:
            ValueError: If the numbers of answers and prompts differ, or a token ID is not in the
                model's vocabulary.
            PromptTooLongError: If a prompt and its answer exceed the context; raised upfront.
            GeneratorError: If the model fails or returns NaN.
        """
        check_pairs("answer", answers, prompts)
        check_token_ids(self.model, self.name, answers)
        lengths = [len(answer.token_ids) for answer in answers]
        rows = self._encode(prompts, lengths)
        values = [0.0] * len(rows)
        scored = [i for i, length in enumerate(lengths) if length]
        pairs = [(len(row), new) for row, new in zip(rows, lengths, strict=True)]
        sizes = [sum(pair) for pair in pairs]
        scoring = self._invariance.scoring
        if scoring is not None and self._shares_prefixes:
            own = [rows[i] for i in scored], [sizes[i] for i in scored]
            parts = prefix_groups(*own, self.readings.tokens)
            parts = [[scored[i] for i in part] for part in parts]
        else:
            parts = [scored]
        groups = self._invariance.groups(scoring or self._invariance.decoding, sizes, pairs)
        for part in parts:
            prefix = None if scoring is None else self._prefix([rows[i] for i in part])
            logits = decoded_logits if scoring is None else partial(answer_logits, prefix=prefix)

            def run(batch: list[int], logits: Any = logits) -> None:
                targets = [list(answers[i].token_ids) for i in batch]
                self._invariance.reset(self.model, self._ids)
                found = logits(self.model, self._ids, [rows[i] for i in batch], targets)
                for i, value in zip(batch, mean_log_likelihoods(found, targets), strict=True):
                    values[i] = value

            unread = self._unread(sizes, prefix)
            self._run("log_likelihood", self.readings, unread, run, groups=groups, rows=part)
        return values

    @property
    def gives_attributions(self) -> bool:
        """Whether `attributions` returns values instead of raising."""
        return self._shares_prefixes

    def attributions(
        self,
        prompts: Sequence[str],
        answers: Sequence[Answer],
        pieces: Sequence[Sequence[tuple[int, int]]],
        gates: Sequence[NDArray[np.float64]] | None = None,
    ) -> list[NDArray[np.float64]]:
        """Estimate how much each piece of a prompt raises the likelihood of an answer.

        See `pcrl_gym.generators.attribution` for the method.

        Args:
            prompts: The texts.
            answers: One answer per prompt, as returned by `generate`.
            pieces: Per prompt, character ranges `(start, end)` such as words, in order and without
                overlap.
            gates: Per prompt, the gate of each piece at which the derivative is taken, (pieces,),
                above 0. None averages over `attribution.GATES`, each used for all pieces.

        Returns:
            Per prompt float64 (pieces,), in nats per token of the answer; 0 for an answer without
            tokens. A piece in which no token begins gets the value of the piece in which its token
            begins, if any.

        Raises:
            ValueError: If the model is not a causal one whose cache can be continued, there is not
                one answer, list of pieces, and array of gates per prompt, pieces or gates are out
                of range, or a token ID is not in the model's vocabulary.
            PromptTooLongError: If a prompt and its answer exceed the context; raised upfront.
            GeneratorError: If the model fails or returns NaN.

        Example:
            >>> [answer] = generator.generate(["Is fire hot?"], max_new_tokens=8)  # doctest: +SKIP
            >>> generator.attributions(["Is fire hot?"], [answer], [[(0, 2), (2, 7), (7, 12)]])
            ... # doctest: +SKIP
            [array([0.02, 0.41, 0.35])]
        """
        if not self.gives_attributions:
            raise ValueError(
                f"{self.name!r} does not support attributions: expected a causal model whose cache "
                f"can be extended, got {type(self.model).__name__}"
            )
        check_pairs("answer", answers, prompts)
        check_pieces(prompts, pieces, gates)
        check_token_ids(self.model, self.name, answers)
        rows = self._encode(prompts, [len(answer.token_ids) for answer in answers])
        owners = self._codec.owners(prompts, pieces)
        scored = [i for i, answer in enumerate(answers) if answer.token_ids]
        found = [np.zeros(len(own)) for own in pieces]
        levels = (
            [[np.full(len(own), gate) for own in pieces] for gate in GATES]
            if gates is None
            else [gates]
        )
        # Up to the first piece, whose gates differ.
        firsts = [next((k for k, n in enumerate(own) if n >= 0), len(own)) for own in owners]
        prefix = self._prefix([rows[i][: firsts[i] + 1] for i in scored])

        def run(batch: list[int]) -> None:
            read = ([rows[i] for i in batch], [answers[i].token_ids for i in batch])
            belong = [owners[i] for i in batch]
            with torch.inference_mode(False), torch.enable_grad():
                slopes = [
                    gate_slopes(
                        self.model, self._ids, *read, belong, [level[i] for i in batch], prefix
                    )
                    for level in levels
                ]
            for i, *values in zip(batch, *slopes, strict=True):
                mean = torch.stack(values).mean(0).double().cpu().numpy()
                found[i] = with_neighbors(mean, owners[i])

        sizes = [len(r) + len(a.token_ids) for r, a in zip(rows, answers, strict=True)]
        batches = Batcher(self.readings.batch_size, gradient_budget(self.model))
        self._run("attributions", batches, self._unread(sizes, prefix), run, rows=scored)
        return found

    @property
    def _shares_prefixes(self) -> bool:
        plain = self._invariance.drafts and self._invariance.boundary is None
        return plain and not self.is_encoder_decoder

    def _prefix(self, rows: Sequence[list[int]]) -> SharedPrefix | None:
        """Read the common prefix of all rows, if the model's cache can be continued."""
        if not self._shares_prefixes:
            return None
        with own_state(self.model):
            return SharedPrefix.of(self.model, rows)

    def _unread(self, sizes: list[int], prefix: SharedPrefix | None) -> list[int]:
        """Return how much of the reading budget each row uses once its prefix has been read.

        The prefix takes no time, but it takes room in the cache of each row.
        """
        if prefix is None:
            return sizes
        share = self.readings.tokens / self.batches.tokens
        return [max(size - prefix.length, int(size * share)) for size in sizes]

    def _encode(self, prompts: Sequence[str], room: list[int]) -> list[list[int]]:
        """Encode prompts and check that each fits next to `room` tokens of answer."""
        rows = self._codec.prompts(prompts)
        check_context(self.model.config, self.name, prompts, rows, room)
        return rows

    def _run(
        self, what: str, batches: Batcher, sizes: list[int], run: RunBatch, **options: Any
    ) -> None:
        """Run a function on batches of rows and convert its exceptions to `GeneratorError`."""

        def checked(batch: list[int]) -> None:
            try:
                with own_state(self.model):
                    run(batch)
            except PcrlError:
                raise
            except Exception as error:
                if is_out_of_memory(error) and len(batch) > 1:
                    raise
                longest = max(sizes[i] for i in batch)
                raise GeneratorError(
                    f"{self.name!r} failed in {what} on a batch of {len(batch)} prompts of up to "
                    f"{longest} tokens, answers included: {type(error).__name__}: {error}"
                ) from error

        batches.run(sizes, checked, **options)
