"""Early stopping: bounds on the final similarity of an unfinished answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from pcrl_gym.episodes.words import lowered
from pcrl_gym.generators.base import Answer
from pcrl_gym.scoring.rouge import UNICODE_ROUGE_L, Measure

# Equal scores computed from different counts differ by a few rounding errors of about 1e-16 each.
# The slack is relative so that a bound of 0.0 stays exact.
_SLACK = 1e-9


@lru_cache(maxsize=4096)
def _reference_positions(measure: Measure, reference: str) -> tuple[int, dict[str, int]]:
    """Return the number of words in the reference and the positions of each as bits of an int."""
    words = measure.words(reference)
    positions: dict[str, int] = {}
    for position, word in enumerate(words):
        positions[word] = positions.get(word, 0) | 1 << position
    return len(words), positions


def similarity_bounds(
    text: str, reference: str, words_left: int, measure: Measure = UNICODE_ROUGE_L
) -> tuple[float, float]:
    r"""Return bounds on the similarity over all possible completions of a partial answer.

    A completion is the text without trailing U+FFFD, followed by any text with at most `words_left`
    new words, all stripped. If the text ends inside a word, that word is *open*: it may still be
    extended, which does not count as a new word.

    Let the reference have $r > 0$ words $R$ and the text $m$ words $C$; $C'$ is $C$ without an open
    word, and $A$ is `words_left`. With $a \le A$ words appended and $l$ in common, ROUGE-L F1 is
    $2 l / (m + a + r)$.

    *High.* A longest common subsequence splits $R$ at some $j$: the text matches in $R_{\le j}$ and
    the appended words in $R_{> j}$. So $l \le \text{LCS}(C, R_{\le j}) + \min(a, r - j)$, attained
    by copying the words after $j$. A further match never lowers the score: it adds 1 to $l$ and to
    a sum $m + a + r \ge l$. Hence $a_j = \min(A, r - j)$, and

    $$ \max_{0 \le j \le r} \frac{2 (\text{LCS}(C, R_{\le j}) + a_j)}{m + a_j + r} $$

    where an open word matches every word that starts with it, since it can become that word.

    *Low.* The matches of $C'$ cannot be lost. The open word may become one that matches nothing,
    and $A$ more such words may follow, which minimizes the numerator and maximizes the denominator
    at once:

    $$ \frac{2 \, \text{LCS}(C', R)}{m + A + r} $$

    *No words in the reference.* Only identity counts. It is possible as long as the stripped text
    equals the reference, or the left-stripped text is a prefix of it. It is never certain, because
    another character may follow. So the bounds are (0, 1) or (0, 0).

    *Trailing U+FFFD* stands for at least one byte of incomplete characters. They may extend an open
    word and begin at most one word per U+FFFD, counted in addition to $A$. Tokenizers with byte
    fallback decode a whole run of bytes to one U+FFFD each while its last character is incomplete.

    Both bounds are attained, up to a relative slack of 1e-9 for rounding, except with trailing
    U+FFFD, where any word is assumed to be possible.

    Args:
        text: The answer so far as decoded, not stripped.
        reference: The text to compare the answer with, stripped.
        words_left: Maximum number of new words that can follow, at least 0. It counts neither the
            open word nor words that trailing U+FFFD may become.
        measure: The similarity.

    Returns:
        (low, high) with `0 <= low <= similarity(answer, reference) <= high <= 1`.

    Example:
        The open word may become "three" or "throw"; once it is "throw", 0.9 is out of reach.

        >>> low, high = similarity_bounds("one two thr", "one two three four", words_left=1)
        >>> round(low, 3), round(high, 3)
        (0.5, 1.0)
        >>> low, high = similarity_bounds("one two throw ", "one two three four", words_left=1)
        >>> round(low, 3), round(high, 3)
        (0.5, 0.75)
    """
    start = text.rstrip("\ufffd")
    total, positions = _reference_positions(measure, reference)
    if not total:
        # With words in the reference, the formula already gives 1.0 for an identical answer.
        identical = reference.startswith(start.lstrip()) or reference == start.strip()
        return 0.0, 1.0 if identical else 0.0

    words = measure.words(start)
    is_open = measure.letter.match(lowered(start)[-1:]) is not None
    words_left += len(text) - len(start)

    # Bit-parallel LCS (Hyyrö 2004): after each word, bit i of `unmatched` is 0 iff the LCS with the
    # first i + 1 words of the reference is longer than with the first i.
    all_bits = (1 << total) - 1
    unmatched = all_bits
    closed = len(words) - is_open
    for word in words[:closed]:
        hits = unmatched & positions.get(word, 0)
        unmatched = ((unmatched + hits) | (unmatched - hits)) & all_bits
    common = total - unmatched.bit_count()
    low = 2 * common / (len(words) + words_left + total)

    if is_open:
        hits = 0
        for word, bits in positions.items():
            if word.startswith(words[-1]):
                hits |= bits
        hits &= unmatched
        unmatched = ((unmatched + hits) | (unmatched - hits)) & all_bits

    # Among splits with the same number of matches, the first leaves the most to append: split 0,
    # then the one after each match.
    matches = all_bits ^ unmatched
    split = matched = 0
    high = 0.0
    while True:
        appended = min(words_left, total - split)
        high = max(high, 2 * (matched + appended) / (len(words) + appended + total))
        if not matches:
            break
        split = (matches & -matches).bit_length()
        matches &= matches - 1
        matched += 1
    return low * (1 - _SLACK), min(1.0, high * (1 + _SLACK))


@dataclass(eq=False)
class EarlyStop:
    """Stops answers as soon as it is certain whether their similarity exceeds a threshold.

    Pass it as `decided` to `DraftingGenerator.generate_from`.

    Attributes:
        references: The answers to compare with.
        threshold: The similarity to exceed; if `None`, all answers are completed.
        measure: The similarity.
        bounds: The bound that decided, by index of the reference.
    """

    references: Sequence[str]
    threshold: float | None
    measure: Measure = UNICODE_ROUGE_L
    bounds: dict[int, float] = field(default_factory=dict, init=False)

    def __call__(self, i: int, text: str, words_left: int) -> bool:
        """Return whether `text`, the beginning of answer `i`, decides the comparison."""
        if self.threshold is None:
            return False
        low, high = similarity_bounds(text, self.references[i], words_left, self.measure)
        if low > self.threshold:
            self.bounds[i] = low
        elif high <= self.threshold:
            self.bounds[i] = high
        return i in self.bounds

    def similarity(self, i: int, answer: Answer) -> float:
        """Return the similarity of answer `i`, or the deciding bound if it is partial."""
        if answer.partial:
            return self.bounds[i]
        return self.measure(answer.text, self.references[i])
