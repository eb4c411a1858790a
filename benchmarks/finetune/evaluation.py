"""Evaluation of a tuned generator on held-out prompts against a majority baseline; its card."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, compress
from statistics import fmean, mode
from typing import Any

from benchmarks.gold import against_gold
from benchmarks.markdown import align
from pcrl_gym.generators.base import Generator
from pcrl_gym.prompts.datasets import dataset_checksum
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import Template

RUN = 6  # consecutive words that two prompts share if they share a text
RARE = 20  # training prompts; runs in more of them are wording of an instruction, not a text

# Columns of the two tables, and their headings.
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
    """Return a function that answers a prompt with its source's most common training answer.

    A model's score above this baseline comes from reading the prompt. A source that is not in
    training gets the most common answer overall. Of equally common answers, the first counts.
    """
    answers: dict[str, list[str]] = defaultdict(list)
    for prompt in prompts:
        if prompt.output.strip():
            answers[prompt.source].append(prompt.output.strip())
    of_source = {source: mode(own) for source, own in answers.items()}
    of_all = mode(chain.from_iterable(answers.values()))
    return lambda prompt: of_source.get(prompt.source, of_all)


def overlaps(train: Sequence[Prompt], held_out: Sequence[Prompt]) -> list[tuple[bool, bool]]:
    """Estimate for held-out prompts whether training knew the text, and also its answer.

    A text is known if a training prompt shares a rare run of words with the prompt. The prompt is
    contaminated if one of those has the same answer, whatever it asks about the text. This is the
    n-gram test of Brown et al., "Language Models are Few-Shot Learners" (2020), appendix C,
    https://arxiv.org/abs/2005.14165, with shorter runs for shorter prompts. It errs both ways:
    shared rare wording counts as known, paraphrased texts do not.
    """
    wanted = set[str]().union(*map(_runs, held_out))
    answers: dict[str, list[str]] = defaultdict(list)  # answers of training prompts, by run
    for prompt in train:
        for run in _runs(prompt) & wanted:
            answers[run].append(prompt.output.strip())
    known = []
    for prompt in held_out:
        shared = [own for run in _runs(prompt) if 0 < len(own := answers.get(run, [])) <= RARE]
        known.append((bool(shared), any(prompt.output.strip() in own for own in shared)))
    return known


def _runs(prompt: Prompt) -> set[str]:
    words = f"{prompt.instruction} {prompt.input}".split()
    return {" ".join(words[i : i + RUN]) for i in range(max(1, len(words) - RUN + 1))}


def evaluate(
    generator: Generator,
    template: Template,
    prompts: Sequence[Prompt],
    train: Sequence[Prompt],
    max_new_tokens: int,
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Return metrics of greedy answers against the gold ones, and a row per prompt.

    Prompts without an answer and those that do not fit the generator are left out. Shares of equal
    answers and the mean ROUGE-L F1 of `benchmarks.gold` are in [0, 1], or None without prompts.
    """
    commonest = majority(train)
    answered = [prompt for prompt in prompts if prompt.output.strip()]
    texts = [template.render(prompt).text for prompt in answered]
    room = (generator.max_prompt_tokens or math.inf) - max_new_tokens
    fits = [count <= room for count in generator.count_tokens(texts)]
    fitting, texts = (list(compress(column, fits)) for column in (answered, texts))
    if not fitting:
        new = f"{max_new_tokens} new tokens"
        raise ValueError(f"none of {len(prompts)} prompts has an answer and leaves room for {new}")
    rows = [
        {"id": prompt.id, "source": prompt.source, "gold": prompt.output.strip()}
        | {"answer": answer.text, "majority": commonest(prompt)}
        for prompt, answer in zip(fitting, generator.generate(texts, max_new_tokens), strict=True)
    ]
    known, contaminated = zip(*overlaps(train, fitting), strict=True)
    figures: dict[str, Any] = {
        "prompts": len(fitting),
        "without_gold": len(prompts) - len(answered),
        "too_long": len(answered) - len(fitting),
        "sha256": dataset_checksum(prompts),
        "max_new_tokens": max_new_tokens,
        "distinct_answers": len({row["answer"] for row in rows}),
        "known_texts": sum(known),
        "contaminated": sum(contaminated),
    }
    for key, who in (("answer", ""), ("majority", "majority_")):
        figures[f"{who}rouge_l"] = fmean(against_gold(r[key], r["gold"]).rouge_l for r in rows)
        hits = [row[key] == row["gold"] for row in rows]
        figures[f"{who}exact_match"] = fmean(hits)
        for kind, name in ((True, "contaminated"), (False, "clean")):
            own = [hit for hit, of in zip(hits, contaminated, strict=True) if of is kind]
            figures[f"{name}_{who}exact_match"] = fmean(own) if own else None
    return figures, rows


def figures_tables(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """Return metrics of all splits as two Markdown tables: quality and contamination."""
    tables = []
    for keys, heads in zip((_QUALITY, _KNOWN), _HEADS, strict=True):
        lines = [[split, *(_cell(of[key]) for key in keys)] for split, of in splits.items()]
        tables.append(align([["split", *heads], *lines]))
    return "\n".join(tables)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}" if isinstance(value, float) else str(value)


def card(settings: Mapping[str, Any], report: Mapping[str, Any], splits: Mapping[str, Any]) -> str:
    """Return the model card from settings.json, training.json, and the metrics by split, if any."""
    machine = report["machine"]
    device = machine["gpu"] or f"{machine['threads']} of {machine['cpu_count']} CPU cores"
    origin, warning, table = f"tuned from {settings['model']}", "", ""
    if settings["lora"]:
        origin += f", LoRA of rank {settings['lora']}, merged"
    if settings["from_config"] is not None:
        origin = f"trained from random weights ({settings['from_config']})"
        warning = """
A small model trained only on this data: it has little knowledge of the world, and its results say
nothing about large language models.
"""
    if splits:
        table = f"""
Greedy answers compared with the gold answers, next to a baseline: the most common training answer
of each prompt's source (of all sources if the source is new). A text is known if a training prompt
shares a rare run of six words with the prompt; the prompt is contaminated if such a training prompt
has the same answer:

{figures_tables(splits)}"""
    return f"""# Tuned generator

A model of {report["parameters"]:,} parameters, {origin} on the answers of {report["rows"]:,}
prompts of `{settings["data"]}` (SHA-256 of the prompts `{settings["train_sha256"][:16]}`),
formatted with the {settings["template"]} template of pcrl_gym: {report["steps"]:,} steps in
{report["minutes"]:.0f} minutes on {device}. The terms of the data and of the initial model also
apply to it.
{warning}{table}"""
