"""How well a tuned generator answers held-out prompts, beside the commonest answer; its card."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, compress
from statistics import fmean, mode
from typing import Any

from benchmarks.finetune.contamination import overlaps
from benchmarks.gold import against_gold
from benchmarks.markdown import align
from pcrl_gym.generators.base import Generator
from pcrl_gym.prompts.datasets import dataset_checksum
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import Template

# Columns of the two tables and their headings.
_QUALITY = ("prompts", "exact_match", "majority_exact_match", "rouge_l", "majority_rouge_l")
_KNOWN = (
    "known_texts", "contaminated", "contaminated_exact_match", "contaminated_majority_exact_match",
    "clean_exact_match", "clean_majority_exact_match",
)  # fmt: skip
_HEADS = (
    ("prompts", "exact match", "commonest", "ROUGE-L", "commonest"),
    ("known texts", "contaminated", "match of these", "commonest", "of the rest", "commonest"),
)


def majority(prompts: Sequence[Prompt]) -> Callable[[Prompt], str]:
    """Return a function that answers a prompt with the commonest answer of its source in training.

    What a model scores above it, it owes to reading the prompt. A source that training did not have
    gets the commonest answer of all. Of equally common answers the first in the dataset counts.

    Raises:
        ValueError: If none of the training prompts has an answer.

    Example:
        >>> rows = [Prompt(id=a, instruction="?", output=a) for a in ("yes", "no", "no")]
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
    fitting = answered = [prompt for prompt in prompts if prompt.output.strip()]
    texts = [template.render(prompt).text for prompt in answered]
    if generator.max_prompt_tokens is not None:
        room = generator.max_prompt_tokens - max_new_tokens
        fits = [count <= room for count in generator.count_tokens(texts)]
        fitting, texts = (list(compress(column, fits)) for column in (answered, texts))
    if not fitting:
        raise ValueError(
            f"none of {len(prompts)} prompts has an answer and fits {generator.name!r} beside "
            f"{max_new_tokens} new tokens"
        )
    answers = generator.generate(texts, max_new_tokens)
    rows = [
        {"id": prompt.id, "source": prompt.source, "gold": prompt.output.strip()}
        | {"answer": answer.text, "majority": commonest(prompt)}
        for prompt, answer in zip(fitting, answers, strict=True)
    ]
    known = overlaps(train, fitting)
    figures: dict[str, Any] = {
        "prompts": len(fitting),
        "without_gold": len(prompts) - len(answered),
        "too_long": len(answered) - len(fitting),
        "sha256": dataset_checksum(prompts),
        "max_new_tokens": max_new_tokens,
        "distinct_answers": len({row["answer"] for row in rows}),
        "known_texts": sum(overlap.text for overlap in known),
        "contaminated": sum(overlap.answer for overlap in known),
    }
    for key, who in (("answer", ""), ("majority", "majority_")):
        figures[f"{who}rouge_l"] = fmean(against_gold(r[key], r["gold"]).rouge_l for r in rows)
        hits = [row[key] == row["gold"] for row in rows]
        figures[f"{who}exact_match"] = fmean(hits)
        for kind, name in ((True, "contaminated"), (False, "clean")):
            own = [hit for hit, of in zip(hits, known, strict=True) if of.answer is kind]
            figures[f"{name}_{who}exact_match"] = fmean(own) if own else None
    return figures, rows


def figures_tables(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """Return figures of all splits as two Markdown tables: the figures, and what training knew."""
    tables = []
    for heads, keys in zip(_HEADS, (_QUALITY, _KNOWN), strict=True):
        lines = [[split, *(_cell(of[key]) for key in keys)] for split, of in splits.items()]
        tables.append(align([["split", *heads], *lines]))
    return "\n".join(tables)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}" if isinstance(value, float) else str(value)


def card(settings: Mapping[str, Any], report: Mapping[str, Any], splits: Mapping[str, Any]) -> str:
    """Return the model card: what the model is and is not, with figures of held-out splits.

    Args:
        settings: What `settings.json` of the run holds.
        report: What `training.json` holds.
        splits: Figures of `evaluate` by split; may be empty.
    """
    machine = report["machine"]
    device = machine["gpu"] or f"{machine['threads']} of {machine['cpu_count']} CPU cores"
    lora = f", LoRA of rank {settings['lora']}, merged" if settings["lora"] else ""
    origin, warning, table = f"tuned from {settings['model']}{lora}", "", ""
    if settings["from_config"] is not None:
        origin = f"trained from random weights ({settings['from_config']})"
        warning = """
A small model that saw nothing but this data: it knows little of the world, and results with it say
nothing about large language models.
"""
    if splits:
        table = f"""
Greedy answers against the gold ones, beside the commonest answer in training of each prompt's
source (of all training, where a source is new). A text is known if a training prompt shares a rare
run of six words with the prompt, the prompt contaminated if one of those has the same answer:

{figures_tables(splits)}"""
    return f"""# Tuned generator

A model of {report["parameters"]:,} parameters, {origin} on the answers of {report["rows"]:,}
prompts of `{settings["data"]}` (SHA-256 of the prompts `{settings["train_sha256"][:16]}`), laid out
by the {settings["template"]} template of pcrl_gym: {report["steps"]:,} steps in
{report["minutes"]:.0f} minutes on {device}. The terms of the data and of the model it
began with hold for it too.
{warning}{table}"""
