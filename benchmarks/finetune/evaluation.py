"""How well a tuned generator answers held-out prompts, beside the commonest answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import chain
from statistics import fmean, mode
from typing import Any

from benchmarks.finetune.contamination import overlaps
from benchmarks.gold import against_gold
from pcrl_gym.generators.base import Generator
from pcrl_gym.prompts.datasets import dataset_checksum
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import Template

_ANSWERS = {"answer": "", "majority": "majority_"}  # prefixes of figures, by key of the rows


def majority(prompts: Sequence[Prompt]) -> Callable[[Prompt], str]:
    """Return a function that answers a prompt with the commonest answer of its source in training.

    What a model scores above it, it owes to reading the prompt. A source that training did not have
    gets the commonest answer of all. Of equally common answers the first in the dataset counts.

    Args:
        prompts: Training prompts; those without an answer do not count.

    Raises:
        ValueError: If none has an answer.

    Example:
        >>> rows = [
        ...     Prompt(id=str(i), instruction="?", output=a, source="s")
        ...     for i, a in enumerate(["yes", "no", "no"])
        ... ]
        >>> majority(rows)(rows[0])
        'no'
    """
    answers: dict[str, list[str]] = defaultdict(list)
    for prompt in prompts:
        if prompt.output.strip():
            answers[prompt.source].append(prompt.output.strip())
    if not answers:
        raise ValueError("no training prompt has an answer")
    of_source = {source: mode(own) for source, own in answers.items()}
    of_all = mode(chain.from_iterable(answers.values()))
    return lambda prompt: of_source.get(prompt.source, of_all)


def evaluate(
    generator: Generator,
    template: Template,
    prompts: Sequence[Prompt],
    train: Sequence[Prompt],
    max_new_tokens: int,
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Compare greedy answers with the gold ones.

    Args:
        generator: Answers.
        template: Gives the text of a prompt.
        prompts: Held-out prompts; those without an answer are left out.
        train: What the generator was tuned on, for `majority` and `overlaps`.
        max_new_tokens: Longest answer.

    Returns:
        Figures: number of prompts, their checksum, how many do not fit the generator and are left
        out, and for the generator and the majority answer the share of equal answers and the mean
        ROUGE-L F1 of `benchmarks.gold`, all in [0, 1]; how many different answers the generator
        gave; of how many prompts training knew the text, and how many of these are contaminated;
        the shares of equal answers among the contaminated and among the others, which are called
        clean (None of no prompts); and a row per prompt with the answer.

    Raises:
        ValueError: If no prompt is left, or no training prompt has an answer.
    """
    commonest = majority(train)
    texts = {prompt.id: template.render(prompt).text for prompt in prompts}
    fitting = answered = [prompt for prompt in prompts if prompt.output.strip()]
    if generator.max_prompt_tokens is not None:
        counts = generator.count_tokens([texts[prompt.id] for prompt in answered])
        room = generator.max_prompt_tokens - max_new_tokens
        fitting = [p for p, count in zip(answered, counts, strict=True) if count <= room]
    if not fitting:
        raise ValueError(
            f"none of {len(prompts)} prompts has an answer and fits {generator.name!r} beside "
            f"{max_new_tokens} new tokens"
        )
    answers = generator.generate([texts[prompt.id] for prompt in fitting], max_new_tokens)
    rows = [
        {
            "id": prompt.id,
            "source": prompt.source,
            "gold": prompt.output.strip(),
            "answer": answer.text,
            "majority": commonest(prompt),
        }
        for prompt, answer in zip(fitting, answers, strict=True)
    ]
    figures: dict[str, Any] = {
        "prompts": len(fitting),
        "without_gold": len(prompts) - len(answered),
        "too_long": len(answered) - len(fitting),
        "sha256": dataset_checksum(prompts),
        "max_new_tokens": max_new_tokens,
    }
    known = overlaps(train, fitting)
    for key, who in _ANSWERS.items():
        figures[f"{who}exact_match"] = _exact_match(rows, key)
        scores = (against_gold(row[key], row["gold"]) for row in rows)
        figures[f"{who}rouge_l"] = fmean(score.rouge_l for score in scores)
    figures["distinct_answers"] = len({row["answer"] for row in rows})
    figures["known_texts"] = sum(overlap.text for overlap in known)
    figures["contaminated"] = sum(overlap.answer for overlap in known)
    for kind, name in ((True, "contaminated"), (False, "clean")):
        of_kind = [row for row, overlap in zip(rows, known, strict=True) if overlap.answer is kind]
        for key, who in _ANSWERS.items():
            figures[f"{name}_{who}exact_match"] = _exact_match(of_kind, key)
    return figures, rows


def _exact_match(rows: Sequence[dict[str, str]], key: str) -> float | None:
    return fmean(row[key] == row["gold"] for row in rows) if rows else None


def figures_tables(splits: dict[str, dict[str, Any]]) -> str:
    """Return figures of all splits as two Markdown tables: the figures, and what training knew."""
    lines = [
        "| split | prompts | exact match | majority answer's | ROUGE-L | majority answer's |",
        f"|{'---|' * 6}",
    ]
    for split, of in splits.items():
        shares = (_percent(of[f"{who}exact_match"]) for who in _ANSWERS.values())
        rouge = (f"{100 * of[f'{who}rouge_l']:.1f}" for who in _ANSWERS.values())
        lines.append(f"| {split} | {of['prompts']} | {' | '.join((*shares, *rouge))} |")
    lines += [
        "",
        "| split | known texts | contaminated | exact match of these | majority answer's "
        "| of the rest | majority answer's |",
        f"|{'---|' * 7}",
    ]
    for split, of in splits.items():
        kinds = ("contaminated_", "contaminated_majority_", "clean_", "clean_majority_")
        shares = (_percent(of[f"{kind}exact_match"]) for kind in kinds)
        head = f"| {split} | {of['known_texts']} | {of['contaminated']}"
        lines.append(f"{head} | {' | '.join(shares)} |")
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
