"""Call forms of compressors: texts, prompts, messages, and questions with context."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, overload

from pcrl_gym.compressor.arguments import (
    Amount,
    Call,
    Protect,
    Texts,
    check_count,
    check_form,
    check_text,
    given_pairs,
    given_rates,
    given_texts,
    make_protection,
)
from pcrl_gym.compressor.compression import Compression
from pcrl_gym.compressor.counting import CountWith, token_counter
from pcrl_gym.compressor.domain import prompt_text
from pcrl_gym.compressor.messages import (
    CompressedMessages,
    Messages,
    chosen_places,
    find_texts,
    replaced,
)
from pcrl_gym.compressor.question import CompressedContext
from pcrl_gym.episodes.protection import ForceKeep
from pcrl_gym.prompts.prompt import Prompt

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pcrl_gym.compressor.arguments import Options
    from pcrl_gym.compressor.certificate import Certificate
    from pcrl_gym.episodes.episode import Episode, EpisodeBuilder


class TextCompressor(ABC):
    """Base class of compressors, with their arguments and return types.

    Attributes:
        builder: Splits texts into units.
        certificate: Certificate of calls without other settings, which also sets their rate, or
            None if nothing is certified.
    """

    builder: EpisodeBuilder
    certificate: Certificate | None = None

    @abstractmethod
    def _compressed(
        self, episodes: list[Episode], texts: list[str], call: Call
    ) -> list[Compression]:
        """Compress episodes, given their texts without a template."""

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

    @overload
    def __call__(
        self,
        *,
        messages: Messages,
        roles: Sequence[str] = ("user",),
        cache_until: int | None = None,
        **options: Unpack[Options],
    ) -> CompressedMessages: ...

    @overload
    def __call__(
        self,
        *,
        question: str,
        context: Texts,
        context_rates: Sequence[float | None] | None = None,
        **options: Unpack[Options],
    ) -> CompressedContext: ...

    def __call__(
        self,
        text: str | Texts | None = None,
        *,
        instruction: str | Texts | None = None,
        input: str | Texts | None = None,
        messages: Messages | None = None,
        roles: Sequence[str] = ("user",),
        cache_until: int | None = None,
        question: str | None = None,
        context: Texts | None = None,
        context_rates: Sequence[float | None] | None = None,
        rate: float | None = None,
        target_tokens: int | None = None,
        tolerance: float | None = None,
        count_with: CountWith = None,
        force_keep: ForceKeep = (),
        keep_digits: bool = False,
        keep: ForceKeep = (),
        protect: Protect | None = None,
        batch_size: int = 32,
    ) -> Compression | list[Compression] | CompressedMessages | CompressedContext:
        r"""Compress texts, prompts, a conversation, or the context of a question.

        There are four forms:

        * `text`;
        * `instruction` with or without `input`: they are put in the template, and the result is the
          whole prompt. The template's own text is never dropped;
        * `messages` of a chat: messages of the given roles are compressed, one by one;
        * `question` with `context`: each text of the context is compressed independently of the
          question, which stays unchanged.

        Args:
            text: A text, or a list of texts.
            instruction: An instruction, or a list of them.
            input: The input of the instruction, or a list of the same length.
            messages: Mappings like `{"role": "user", "content": ...}`. The content is a text, or a
                list of parts, of which those like `{"type": "text", "text": ...}` are compressed.
            roles: Roles whose messages are compressed.
            cache_until: Index of the first message that may change, as in a slice. Earlier messages
                stay byte-identical, so the provider's prompt cache remains valid for them.
            question: The question.
            context: The context of the question, a list of texts.
            context_rates: The rate of each text of the context, instead of `rate`.
            rate: Share of each text's droppable units to drop, 0 to 1, rounded down. If None, the
                certificate's rate or, without one, all units that are more likely dropped than
                kept. If the policy drops whole words, it drops them in its order as long as their
                units do not exceed the share.
            target_tokens: Maximum number of remaining tokens, instead of `rate`: per text, or for
                all messages, or for question and context, together. Units are dropped in the
                policy's order until the remaining text fits; see `fit_budget`.
            tolerance: Accepted likelihood loss, instead of `rate`: as much of each text is dropped
                as is expected to lower the log-probability of the model's own answer by at most
                this many nats per token; see `LossModel`. Requires a calibrated policy.
            count_with: Token counter: the name of an OpenAI model (with tiktoken), a folder,
                Hugging Face id, or tokenizer, or a function from a text to its number of
                tokens. If None, the policy's tokenizer. See `token_counter`.
            force_keep: Strings and compiled regular expressions whose matches are kept, as whole
                words.
            keep_digits: Whether numbers are kept; see `pcrl_gym.episodes.protection`.
            keep: Regular expressions whose matches are kept, as whole words. Unlike in
                `force_keep`, strings are also regular expressions.
            protect: "constraints" keeps words such as "not", "at most", and "JSON", without which
                the answer would change; see `pcrl_gym.episodes.constraints`.
            batch_size: Number of windows per forward pass.

        Returns:
            A compression, or a list of them if a list was given; a `CompressedMessages` for
            `messages`, and a `CompressedContext` for `question`.

        Raises:
            MissingExtraError: If `count_with` needs tiktoken and it is not installed.
            ValueError: If an argument has the wrong form, a text is not valid Unicode, the
                protected units exceed `target_tokens`, or there is a `tolerance` but the policy has
                no loss model.

        Example:
            >>> done = compressor(["one text", "another"], rate=0.3)  # doctest: +SKIP
            >>> done = compressor(instruction="Please sort.", input="fig pear")  # doctest: +SKIP
            >>> done.text  # doctest: +SKIP
            'Instruction:  sort\nInput: fig pear\nOutput: \n'
        """
        check_form(
            *(text, instruction, input, messages, question, context),
            of_messages=(roles, cache_until) != (("user",), None),
            of_question=context_rates is not None,
        )
        check_count("batch_size", batch_size)
        call = Call(
            protection=self.builder.protection
            | make_protection(force_keep, keep_digits, keep, protect),
            amount=Amount(rate, target_tokens, tolerance),
            count=token_counter(count_with, self.builder.encoder),
            batch_size=batch_size,
            default_rate=None if self.certificate is None else self.certificate.rate,
        )
        if messages is not None:
            return self._messages(messages, roles, cache_until, call)
        if question is not None:
            return self._context(question, context, context_rates, call)
        if instruction is None:
            done = self._texts(given_texts("text", text), call)
        else:
            pairs = given_pairs(instruction, input)
            prompts = [Prompt(str(i), *pair) for i, pair in enumerate(pairs)]
            episodes = self.builder(prompts, call.protection)
            done = self._compressed(episodes, [prompt_text(*pair) for pair in pairs], call)
        # A calibration covers no other settings.
        if call.amount == Amount() and not (force_keep or keep_digits or keep or protect):
            done = [replace(one, certificate=self.certificate) for one in done]
        return done[0] if isinstance(text, str) or isinstance(instruction, str) else done

    def _texts(self, texts: list[str], call: Call) -> list[Compression]:
        return self._compressed(self.builder.cut_texts(texts, call.protection), texts, call)

    def _messages(
        self, messages: Messages, roles: Sequence[str], cache_until: int | None, call: Call
    ) -> CompressedMessages:
        texts = find_texts(messages)
        places = chosen_places(messages, list(texts), roles, cache_until)
        others = sum(call.count([text for place, text in texts.items() if place not in places]))
        chosen = [texts[place] for place in places]
        done = self._texts(chosen, replace(call, others=others))
        return CompressedMessages(
            messages=replaced(messages, places, [one.text for one in done]),
            compressions=tuple(done),
            places=places,
            **_tokens(done, others),
        )

    def _context(
        self,
        question: str,
        context: Texts | None,
        rates: Sequence[float | None] | None,
        call: Call,
    ) -> CompressedContext:
        check_text("question", question)
        if isinstance(context, str):
            raise ValueError(f"context must be a list of strings, got {context!r}")
        texts = given_texts("context", context)
        given = given_rates(rates, call.amount, len(texts))
        [others] = call.count([question])
        done = self._texts(texts, replace(call, others=others, rates=given))
        return CompressedContext(
            question=question,
            compressions=tuple(done),
            **_tokens(done, others),
        )


def _tokens(done: Sequence[Compression], others: int) -> dict[str, int]:
    """Return the token counts of compressed texts plus `others` unchanged tokens."""
    return {
        "original_tokens": others + sum(one.original_tokens for one in done),
        "compressed_tokens": others + sum(one.compressed_tokens for one in done),
    }
