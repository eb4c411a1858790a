"""How well a tuned generator answers held-out prompts, beside the commonest answer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from benchmarks.finetune.contamination import overlaps
from benchmarks.gold import against_gold
from pcrl_gym.generators.base import Generator
from pcrl_gym.prompts.datasets import dataset_checksum
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import Template


class Majority:
    """Answers every prompt of a source with the commonest answer of that source in training.

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
        >>> Majority(rows)(rows[0])
        'no'
    """

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for prompt in prompts:
            if prompt.output.strip():
                counts[prompt.source][prompt.output.strip()] += 1
        if not counts:
            raise ValueError("no training prompt has an answer")
        self._of_source = {source: of.most_common(1)[0][0] for source, of in counts.items()}
        overall: Counter[str] = sum(counts.values(), Counter())
        self._of_all = overall.most_common(1)[0][0]

    def __call__(self, prompt: Prompt) -> str:
        """Return the answer to a prompt."""
        return self._of_source.get(prompt.source, self._of_all)


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
        train: What the generator was tuned on: gives the commonest answers, and tells which prompts
            are contaminated.
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
    majority = Majority(train)
    texts = {prompt.id: template.render(prompt).text for prompt in prompts}
    answered = [prompt for prompt in prompts if prompt.output.strip()]
    limit = generator.max_prompt_tokens
    if limit is not None:
        counts = generator.count_tokens([texts[prompt.id] for prompt in answered])
        room = limit - max_new_tokens
        fitting = [p for p, count in zip(answered, counts, strict=True) if count <= room]
    else:
        fitting = answered
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
            "majority": majority(prompt),
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
    for key, who in (("answer", ""), ("majority", "majority_")):
        figures[f"{who}exact_match"] = fmean(row[key] == row["gold"] for row in rows)
        figures[f"{who}rouge_l"] = fmean(
            against_gold(row[key], row["gold"]).rouge_l for row in rows
        )
    figures["distinct_answers"] = len({row["answer"] for row in rows})
    known = overlaps(train, fitting)
    figures["known_texts"] = sum(overlap.text for overlap in known)
    figures["contaminated"] = sum(overlap.answer for overlap in known)
    for kind, name in ((True, "contaminated"), (False, "clean")):
        of_kind = [row for row, overlap in zip(rows, known, strict=True) if overlap.answer is kind]
        for key, who in (("answer", ""), ("majority", "majority_")):
            figures[f"{name}_{who}exact_match"] = (
                fmean(row[key] == row["gold"] for row in of_kind) if of_kind else None
            )
    return figures, rows


def figures_tables(splits: dict[str, dict[str, Any]]) -> str:
    """Return figures of all splits as two Markdown tables: the figures, and what training knew."""
    lines = [
        "| split | prompts | exact match | majority answer's | ROUGE-L | majority answer's |",
        f"|{'---|' * 6}",
    ]
    lines += [
        f"| {split} | {of['prompts']} | {_percent(of['exact_match'])} "
        f"| {_percent(of['majority_exact_match'])} | {100 * of['rouge_l']:.1f} "
        f"| {100 * of['majority_rouge_l']:.1f} |"
        for split, of in splits.items()
    ]
    lines += [
        "",
        "| split | known texts | contaminated | exact match of these | majority answer's "
        "| of the rest | majority answer's |",
        f"|{'---|' * 7}",
    ]
    lines += [
        f"| {split} | {of['known_texts']} | {of['contaminated']} "
        f"| {_percent(of['contaminated_exact_match'])} "
        f"| {_percent(of['contaminated_majority_exact_match'])} "
        f"| {_percent(of['clean_exact_match'])} | {_percent(of['clean_majority_exact_match'])} |"
        for split, of in splits.items()
    ]
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
