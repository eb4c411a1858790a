"""The scorer: the only path from episodes and keep masks to rewards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcrl_gym.errors import GeneratorError, PromptTooLongError
from pcrl_gym.generators.base import check_new_tokens
from pcrl_gym.prompts.prompt import text_problem
from pcrl_gym.scoring.answers import Answers, check_count, generator_errors
from pcrl_gym.scoring.leaks import leaks_answer
from pcrl_gym.scoring.ratio import compression_ratio, drop_rate
from pcrl_gym.scoring.rewards import FloatArray, RewardInputs
from pcrl_gym.scoring.rouge import measure_by_name

if TYPE_CHECKING:
    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.generators.base import Answer, Generator
    from pcrl_gym.scoring.rewards import Reward
    from pcrl_gym.storage.disk_cache import DiskCache

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

SURVIVAL_THRESHOLD = 0.9
"""Similarity that an answer must exceed to survive, as in PCRL."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a batch of compressions, one entry per episode.

    Attributes:
        reward: (batch,) float64.
        similarity: (batch,) float64 in [0, 1], similarity of the two complete answers; NaN if the
            reward does not need answers or the answer is partial.
        survived: (batch,) bool, whether the similarity exceeds the reward's threshold, or 0.9 if it
            has none; also set for partial answers. All False if the reward does not need answers.
        compression_ratio: (batch,) float64, at most 1, `1 - (n' - f) / (n - f)` with the counts
            below; see `scoring.ratio`.
        drop_rate: (batch,) float64 in [0, 1], dropped over droppable units; 0.0 if none are
            droppable.
        log_likelihood: (batch,) float64 in nats; NaN if the reward does not need it.
        likelihood_loss: (batch,) float64 in nats per token, see `RewardInputs`; NaN if the reward
            does not need it.
        original_tokens: (batch,) int64, n, generator tokens of the original prompt.
        compressed_tokens: (batch,) int64, n', generator tokens of the compressed prompt.
        template_tokens: (batch,) int64, f, generator tokens of the template's own text.
        prompts: The original prompts as rendered.
        compressed_prompts: The compressed prompts.
        outputs: The generator's answers to the original prompts.
        compressed_outputs: Its answers to the compressed prompts; empty strings if the reward does
            not need answers.
        partial: (batch,) bool, whether the answer to the compressed prompt was left unfinished
            because the reward was decided; only with early stopping.
        answered: Whether compressed prompts were answered, i.e. whether the reward needs answers.
        kept: Per episode bool (n_units,), which units are kept.
        leaked: (batch,) bool, whether the compressed prompt contains the answer, see
            `scoring.leaks`; such a prompt earns nothing. Only for texts that match no keep mask.
    """

    reward: FloatArray
    similarity: FloatArray
    survived: BoolArray
    compression_ratio: FloatArray
    drop_rate: FloatArray
    log_likelihood: FloatArray
    likelihood_loss: FloatArray
    original_tokens: IntArray
    compressed_tokens: IntArray
    template_tokens: IntArray
    prompts: list[str]
    compressed_prompts: list[str]
    outputs: list[str]
    compressed_outputs: list[str]
    partial: BoolArray
    answered: bool
    kept: list[BoolArray]
    leaked: BoolArray

    def __len__(self) -> int:
        """Return the number of scored episodes."""
        return len(self.prompts)

    def info(self, i: int) -> dict[str, Any]:
        """Return the terms of episode `i` by name, without those that the reward did not need."""
        terms: dict[str, Any] = {
            "prompt": str(self.prompts[i]),
            "compressed_prompt": str(self.compressed_prompts[i]),
            "output": self.outputs[i],
            "compression_ratio": float(self.compression_ratio[i]),
            "drop_rate": float(self.drop_rate[i]),
            "original_tokens": int(self.original_tokens[i]),
            "compressed_tokens": int(self.compressed_tokens[i]),
        }
        if self.answered:
            terms["compressed_output"] = self.compressed_outputs[i]
            terms["similarity"] = float(self.similarity[i])
            terms["survived"] = bool(self.survived[i])
            terms["partial"] = bool(self.partial[i])
        for name in ("log_likelihood", "likelihood_loss"):
            if not np.isnan(value := float(getattr(self, name)[i])):
                terms[name] = value
        return terms


class Scorer:
    """Scores batches of keep masks with a generator and a reward function.

    Each answer is generated once. Answers to original prompts are kept for the lifetime of the
    scorer (with a cache: the latest in memory, all on disk), so a mask that keeps all units costs
    nothing. The most recently used answers to compressed prompts are kept as well.

    Args:
        generator: The frozen model that answers.
        reward: The reward function; its `measure` names the similarity.
        max_new_tokens: Maximum length of an answer in generator tokens, at least 1.
        early_stopping: Whether to stop an answer as soon as it is certain whether its similarity
            exceeds the reward's `similarity_threshold`. The rewards are the same but faster to
            compute. If the threshold is None, answers are always completed.
        cache: Stores answers to original prompts across runs; `None` for no cache.

    Raises:
        ValueError: If `max_new_tokens` is below 1 or leaves no room for a prompt, there is a cache
            but the generator has no `fingerprint`, the reward's measure is unknown, or the reward
            needs log-likelihoods and the generator's `gives_likelihoods` is false.

    Example:
        >>> scores = Scorer(generator, make_reward("threshold"))(episodes, masks)  # doctest: +SKIP
        >>> scores.reward  # doctest: +SKIP
        array([ 0.25, -0.01])
    """

    def __init__(
        self,
        generator: Generator,
        reward: Reward,
        max_new_tokens: int = 30,
        *,
        early_stopping: bool = False,
        cache: DiskCache | None = None,
    ) -> None:
        check_new_tokens(max_new_tokens)
        if reward.needs_likelihood and not generator.gives_likelihoods:
            raise ValueError(
                f"reward {reward.name!r} needs log-likelihoods, but {generator.name!r} does not "
                "provide them: choose another reward, or a local generator"
            )
        limit = generator.max_prompt_tokens
        if limit is not None and max_new_tokens >= limit:
            raise ValueError(
                f"max_new_tokens={max_new_tokens} leaves no room for a prompt in the context of "
                f"{generator.name!r} ({limit} tokens): lower it"
            )
        self.generator = generator
        self.reward = reward
        self.cache = cache
        self.max_new_tokens = max_new_tokens
        stop_at = reward.similarity_threshold
        self._survival_threshold = SURVIVAL_THRESHOLD if stop_at is None else stop_at
        measure = measure_by_name(reward.measure)
        stop_at = stop_at if early_stopping else None
        scored = reward.needs_likelihood
        self._answers = Answers(generator, max_new_tokens, stop_at, cache, measure, scored)
        self._token_counts: dict[str, int] = {}
        self._original_likelihoods: dict[tuple[str, Answer], float] = {}

    @property
    def max_prompt_tokens(self) -> int | None:
        """Maximum generator tokens of a prompt such that its answer fits; `None` if unlimited."""
        limit = self.generator.max_prompt_tokens
        return None if limit is None else limit - self.max_new_tokens

    @property
    def max_original_tokens(self) -> int | None:
        """Maximum generator tokens of a prompt to compress; `None` if unlimited.

        It is a sixteenth less than `max_prompt_tokens`, because the compressed text is retokenized
        and may take a few tokens more than the original.
        """
        limit = self.max_prompt_tokens
        return None if limit is None else limit - limit // 16

    def longer_than(self, limit: int, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether each text has more than `limit` generator tokens; (len(texts),)."""
        return self._count(texts) > limit

    def __call__(
        self, episodes: Sequence[Episode], masks: Sequence[ArrayLike] | NDArray[Any]
    ) -> Scores:
        """Score one keep mask per episode.

        Args:
            episodes: The prompts; duplicates are allowed.
            masks: Per episode a keep mask over its first units, 1 = keep. Protected units and units
                past the end of the mask are always kept.

        Returns:
            The scores, in the order of `episodes`.

        Raises:
            ValueError: If the numbers of masks and episodes differ, a mask is not a vector of bools
                or integers, or a reward is not finite.
            PromptTooLongError: If a prompt and its answer do not fit the generator's context;
                raised before anything is generated.
            GeneratorError: If the generator fails. A failure never becomes a reward.
        """
        if len(episodes) != len(masks):
            raise ValueError(f"expected one mask per episode, got {len(masks)} for {len(episodes)}")
        kept = [episode.kept(mask) for episode, mask in zip(episodes, masks, strict=True)]
        compressed = [e.compress(keep) for e, keep in zip(episodes, kept, strict=True)]
        return self._score(episodes, compressed, kept, np.zeros(len(episodes), np.bool_))

    def score_texts(self, episodes: Sequence[Episode], texts: Sequence[str]) -> Scores:
        """Score compressed versions of the user's text, which may be rewritten.

        A text that results from a keep mask is scored like that mask. For any other text,
        `matching.nearest_mask` decides which units count as dropped. If such a text leaks the
        answer (see `scoring.leaks`), it is scored as if the compression ratio and the similarity
        were 0 and nothing of the user's text were left.

        Args:
            episodes: The prompts; duplicates are allowed.
            texts: Per episode the text that replaces its `body_span`.

        Returns:
            The scores, in the order of `episodes`.

        Raises:
            ValueError: If the numbers of texts and episodes differ, a text is not valid Unicode, or
                a reward is not finite.
            PromptTooLongError: If a prompt, original or compressed, and its answer do not fit the
                generator's context; raised before anything is generated.
            GeneratorError: If the generator fails. A failure never becomes a reward.

        Example:
            >>> scores = scorer.score_texts(episodes, ["Sort: b a"])  # doctest: +SKIP
            >>> scores.compression_ratio, scores.leaked  # doctest: +SKIP
            (array([0.5]), array([False]))
        """
        if len(episodes) != len(texts):
            raise ValueError(f"expected one text per episode, got {len(texts)} for {len(episodes)}")
        for i, text in enumerate(texts):
            if problem := text_problem(text):
                raise ValueError(f"texts[{i}] {problem}")
        pairs = [episode.with_body(text) for episode, text in zip(episodes, texts, strict=True)]
        compressed, kept = [text for text, _ in pairs], [mask for _, mask in pairs]
        self._counts(episodes, compressed)  # reject texts that are too long first
        answers = self.original_answers(episodes)
        leaked = np.array([
            text != episode.compress(mask) and leaks_answer(answer.text, episode.text, text)
            for answer, episode, (text, mask) in zip(answers, episodes, pairs, strict=True)
        ], np.bool_)  # fmt: skip
        return self._score(episodes, compressed, kept, leaked)

    def _score(
        self,
        episodes: Sequence[Episode],
        left: list[str],
        kept: list[BoolArray],
        leaked: BoolArray,
    ) -> Scores:
        """Score compressed prompts, given the kept units and whether they leak the answer."""
        prompts = [episode.text for episode in episodes]
        compressed = [
            episode.with_body("")[0] if leak else text
            for episode, text, leak in zip(episodes, left, leaked, strict=True)
        ]
        answered = self.reward.needs_answers
        similarity = likelihood = loss = np.full(len(episodes), np.nan)
        outputs, partial = [""] * len(episodes), np.zeros(len(episodes), np.bool_)
        with _prompt_ids_in_errors(episodes, compressed):
            n, n_compressed = self._counts(episodes, compressed)
            n_compressed = np.where(leaked, n, n_compressed)
            f = self._count([episode.template_text for episode in episodes])
            expected = [episode.prompt.output for episode in episodes]
            originals, compared = self._answers(prompts, expected, compressed if answered else None)
            if answered:
                outputs = [c.answer.text for c in compared]
                similarity = np.array([c.similarity for c in compared], np.float64)
                partial = np.array([c.answer.partial for c in compared], np.bool_) & ~leaked
                similarity[leaked] = 0.0
            if self.reward.needs_likelihood_loss:
                before = self._likelihood_of_originals(prompts, originals)
            if self.reward.needs_likelihood:
                known = [c.log_likelihood for c in compared] or [None] * len(compressed)
                likelihood = self._log_likelihood(compressed, originals, known)
            if self.reward.needs_likelihood_loss:
                loss = before - likelihood
        ratio = compression_ratio(n, n_compressed, f)
        rates = [drop_rate(e.droppable, keep) for e, keep in zip(episodes, kept, strict=True)]
        terms = RewardInputs(similarity, ratio, np.array(rates, np.float64), likelihood, loss)
        return Scores(
            reward=self._rewards(terms),
            similarity=np.where(partial, np.nan, similarity),
            survived=similarity > self._survival_threshold,
            compression_ratio=ratio,
            drop_rate=terms.drop_rate,
            log_likelihood=likelihood,
            likelihood_loss=loss,
            original_tokens=n,
            compressed_tokens=n_compressed,
            template_tokens=f,
            prompts=prompts,
            compressed_prompts=left,
            outputs=[answer.text for answer in originals],
            compressed_outputs=outputs,
            partial=partial,
            answered=answered,
            kept=kept,
            leaked=leaked,
        )

    def answer_ahead(self, episodes: Sequence[Episode]) -> int:
        """Answer original prompts in advance, storing the answers only in the cache file.

        Prompts with a cached answer are skipped. Returns the number of prompts answered.

        Raises:
            GeneratorError: If the generator fails.
        """
        prompts = [episode.text for episode in episodes]
        with _prompt_ids_in_errors(episodes, prompts):
            expected = [episode.prompt.output for episode in episodes]
            return self._answers.cache_originals(prompts, expected)

    def original_answers(self, episodes: Sequence[Episode]) -> list[Answer]:
        """Return the generator's answers to original prompts, each generated once.

        Raises:
            GeneratorError: If the generator fails.
        """
        prompts = [episode.text for episode in episodes]
        with _prompt_ids_in_errors(episodes, prompts):
            return self._answers(prompts, [episode.prompt.output for episode in episodes], None)[0]

    def _count(self, texts: Sequence[str]) -> IntArray:
        """Return token counts; each text is counted once in the lifetime of the scorer."""
        if new := [text for text in dict.fromkeys(texts) if text not in self._token_counts]:
            self._token_counts.update(zip(new, self._ask_counts(new), strict=True))
        return np.array([self._token_counts[text] for text in texts], np.int64)

    def _ask_counts(self, texts: list[str]) -> list[int]:
        with generator_errors(self.generator, "count_tokens"):
            counts = self.generator.count_tokens(texts)
        check_count(self.generator, "token counts", counts, texts)
        return counts

    def _counts(
        self, episodes: Sequence[Episode], compressed: list[str]
    ) -> tuple[IntArray, IntArray]:
        """Return token counts of original and compressed prompts, which must fit the context."""
        counts = (
            self._count([episode.text for episode in episodes]),
            np.array(self._ask_counts(compressed), np.int64),
        )
        limit = self.max_prompt_tokens
        for episode, n in zip(episodes, np.maximum(*counts), strict=True):
            if limit is not None and n > limit:
                raise PromptTooLongError(
                    f"prompt {episode.prompt.id!r} has {n} tokens, but {self.generator.name!r} "
                    f"takes at most {limit} to leave room for {self.max_new_tokens} new ones: "
                    "shorten or leave out the prompt, or lower max_new_tokens"
                )
        return counts

    def _log_likelihood(
        self, compressed: list[str], originals: list[Answer], known: Sequence[float | None] = ()
    ) -> FloatArray:
        pairs = list(zip(compressed, originals, strict=True))
        given = {pair: v for pair, v in zip(pairs, known, strict=False) if v is not None}
        asked = self._original_likelihoods
        given |= {pair: asked[pair] for pair in pairs if pair in asked}
        distinct = [pair for pair in dict.fromkeys(pairs) if pair not in given]
        texts, answers = [text for text, _ in distinct], [answer for _, answer in distinct]
        with generator_errors(self.generator, "log_likelihood"):
            values = self.generator.log_likelihood(texts, answers) if distinct else []
        check_count(self.generator, "log-likelihoods", values, distinct)
        by_pair = given | dict(zip(distinct, values, strict=True))
        result = np.array([by_pair[pair] for pair in pairs], np.float64)
        if not np.isfinite(result).all():
            raise GeneratorError(
                f"{self.generator.name!r} returned a log-likelihood that is not a finite number"
            )
        return result

    def likelihood_loss(
        self, prompts: list[str], compressed: list[str], answers: list[Answer]
    ) -> FloatArray:
        """Return the likelihood loss of given answers, see `RewardInputs`.

        Args:
            prompts: The original prompts.
            compressed: The compressed prompts.
            answers: One answer per prompt, such as the gold one, with the generator's token IDs.

        Raises:
            GeneratorError: If the generator fails or gives no log-likelihoods.
        """
        before = self._likelihood_of_originals(prompts, answers)
        return before - self._log_likelihood(compressed, answers)

    def _likelihood_of_originals(self, prompts: list[str], answers: list[Answer]) -> FloatArray:
        """Return log-likelihoods given original prompts, each computed once."""
        pairs, known = list(zip(prompts, answers, strict=True)), self._original_likelihoods
        if new := [pair for pair in dict.fromkeys(pairs) if pair not in known]:
            texts, given = [text for text, _ in new], [answer for _, answer in new]
            known.update(zip(new, self._log_likelihood(texts, given).tolist(), strict=True))
        return np.array([known[pair] for pair in pairs], np.float64)

    def _rewards(self, terms: RewardInputs) -> FloatArray:
        rewards = np.asarray(self.reward(terms), np.float64)
        shape = terms.compression_ratio.shape
        if rewards.shape != shape or not np.isfinite(rewards).all():
            raise ValueError(
                f"reward {self.reward.name!r} must return a finite number per prompt, shape "
                f"{shape}, got {rewards}"
            )
        return rewards


@contextmanager
def _prompt_ids_in_errors(episodes: Sequence[Episode], texts: list[str]) -> Iterator[None]:
    """Add prompt IDs to an error that only has their texts, original or compressed."""
    try:
        yield
    except GeneratorError as error:
        failed = set(error.prompts)
        pairs = zip(episodes, texts, strict=True)
        ids = list(dict.fromkeys(e.prompt.id for e, text in pairs if failed & {e.text, text}))
        if not ids:
            raise
        # Several prompts may have the same compressed text; any of them will do.
        named = ids[: len(failed)]
        what = f"prompt {named[0]!r}" if len(named) == 1 else f"prompts {named}"
        raise type(error)(f"{what}: {error}", prompts=error.prompts) from error
