"""Checking a result folder that somebody hands in."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.gold import against_gold
from benchmarks.records import Record, RunFolder
from benchmarks.suites import SUITES, suite_of
from benchmarks.tables import make_rows
from pcrl_gym.errors import RunFolderError
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.datasets import dataset_checksum, pick_evenly
from pcrl_gym.prompts.prompt_text import framed
from pcrl_gym.prompts.template import ChatTemplate, make_template
from pcrl_gym.scoring.ratio import compression_ratio
from pcrl_gym.scoring.rewards import RewardInputs, make_reward
from pcrl_gym.scoring.rouge import MEASURES, Measure

if TYPE_CHECKING:
    from pcrl_gym.generators.base import Generator
    from pcrl_gym.prompts.prompt import Prompt
    from pcrl_gym.prompts.template import Template

REPEATED_SHARE = 0.05
"""Share of the records whose answers are asked for again."""

_MAX_NAMED = 5


@dataclass
class Report:
    """What a check found.

    Attributes:
        problems: What is wrong, a sentence each; none if the folder can be accepted.
        notes: What was checked, and what could not be.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return the notes and problems, and the verdict as the last line."""
        verdict = f"{len(self.problems)} problem(s)." if self.problems else "The folder is valid."
        problems = [f"problem: {problem}" for problem in self.problems]
        return "\n".join([*self.notes, *problems, verdict]) + "\n"


def validate(
    folder: str | Path, *, device: str = "auto", seed: int = 0, share: float = REPEATED_SHARE
) -> Report:
    """Check a result folder, from its schema to the rewards.

    In this order: settings and records can be read; suite and version are the frozen ones; the data
    has the folder's checksums; every part holds every prompt once, as the dataset has it, and the
    template's text is kept; each record's figures follow from its texts and counts; the summary
    follows from the records; and, where the generator can be loaded, it has the folder's
    fingerprint and gives the same answers and token counts for a random share of the records.

    Args:
        folder: Result folder.
        device: Where the generator runs.
        seed: Seed of the choice of records.
        share: Share of the records that are answered again, in [0, 1].

    Returns:
        What was found. Nothing is raised for a bad folder.
    """
    report = Report()
    try:
        opened = RunFolder(folder)
        records = list(opened.records())
        suite_of(opened.settings)
        template = _template(opened.settings)
        rows = make_rows(records, opened.settings)
    except (RunFolderError, KeyError, TypeError, ValueError) as error:
        report.problems.append(f"the folder cannot be read: {type(error).__name__}: {error}")
        return report
    report.notes.append(f"{len(records)} records of {len(opened.settings['agents'])} agents read")
    if not records:
        report.problems.append("there are no records")
        return report
    _check_suite(opened.settings, report)
    _check_prompts(records, opened.settings, template, _skipped(opened.path), report)
    _add(report, _wrong_figures(records, opened.settings))
    summary = _read_json(opened.path / "summary.json")
    if not _equal(_in_order(summary), _in_order(json.loads(json.dumps(rows)))):
        report.problems.append("summary.json does not follow from the records")
    report.notes.append("suite, prompts, figures and summary checked")
    count = min(len(records), math.ceil(share * len(records)))
    chosen = np.random.default_rng(seed).choice(len(records), size=count, replace=False)
    sample = [records[i] for i in sorted(chosen)]
    if generator := _generator(opened.settings, device, report):
        limit = opened.settings["max_new_tokens"]
        _add(report, _other_answers(sample, generator, limit, template))
        report.notes.append(f"{count} records ({share:.0%}) answered again by {generator.name}")
    return report


def _skipped(folder: Path) -> dict[str, list[str]]:
    """Return the ids of the prompts of each split that the first run left out."""
    provenance = _read_json(folder / "provenance.json")
    try:
        return dict(provenance["runs"][0]["skipped_prompts"])
    except (KeyError, IndexError, TypeError, ValueError):
        return {}


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def wrong_figures(record: Record, reward: Any, measure: Measure) -> list[str]:
    """Return the names of a record's figures that do not follow from its texts and counts.

    Args:
        record: The record.
        reward: The suite's reward, see `pcrl_gym.scoring.rewards.make_reward`.
        measure: The suite's similarity of two answers.
    """
    wrong, left, end = [], [], 0
    for start, stop in record.dropped:
        if not end <= start < stop <= len(record.prompt):
            return ["dropped"]
        left.append(record.prompt[end:start])
        end = stop
    if "".join([*left, record.prompt[end:]]) != record.compressed_prompt:
        wrong.append("compressed_prompt")
    likelihood = math.nan if record.log_likelihood is None else record.log_likelihood
    terms = (record.similarity, record.compression_ratio, record.drop_rate, likelihood)
    expected: dict[str, float | None] = {
        "similarity": measure(record.compressed_output, record.output),
        "compression_ratio": compression_ratio(
            record.original_tokens, record.compressed_tokens, record.template_tokens
        ),
        "reward": float(reward(RewardInputs(*(np.array([term]) for term in terms)))[0]),
    }
    for prefix, answer in (
        ("gold", record.compressed_output if record.gold else None),
        ("cut", None if record.gold_cut is None else record.compressed_output[: record.gold_cut]),
    ):
        figures = (None,) * 3 if answer is None else against_gold(answer, record.gold)
        for name, value in zip(("1", "2", "l"), figures, strict=True):
            expected[f"{prefix}_rouge_{name}"] = value
    wrong += [name for name, value in expected.items() if not _equal(getattr(record, name), value)]
    if not 0.0 <= record.drop_rate <= 1.0 or (record.drop_rate == 0.0) != (not record.dropped):
        wrong.append("drop_rate")
    return wrong


def _equal(a: Any, b: Any) -> bool:
    """Return whether two JSON values are equal up to rounding, which differs among machines."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return bool(a == b)


def _in_order(rows: Any) -> Any:
    """Return the rows of a summary by name: by reward, rounding may swap two."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return rows
    return sorted(rows, key=lambda row: (str(row.get("split")), str(row.get("agent"))))


def _wrong_figures(records: Iterable[Record], settings: dict[str, Any]) -> Iterator[str]:
    reward, measure = make_reward(settings["reward"]), MEASURES[suite_of(settings).measure]
    for record in records:
        if wrong := wrong_figures(record, reward, measure):
            yield f"{_place(record)}: {', '.join(wrong)} does not follow from the record"


def _place(record: Record) -> str:
    return f"{record.agent}, {record.split}, seed {record.seed}, prompt {record.prompt_id}"


def _add(report: Report, problems: Iterable[str]) -> None:
    """Add problems, the first ones in words and the others as a number."""
    found = list(problems)
    report.problems += found[:_MAX_NAMED]
    if len(found) > _MAX_NAMED:
        report.problems.append(f"and {len(found) - _MAX_NAMED} more of this kind")


def _check_suite(settings: dict[str, Any], report: Report) -> None:
    frozen = SUITES.get(settings["suite"])
    if frozen is None:
        report.notes.append(f"{settings['suite']} is no frozen suite: its rules are its own")
        return
    made = suite_of(settings)
    rules = ("version", "splits", "dtype", "reward", "measure", "template", "unit", "max_units",
             "max_new_tokens", "limit", "second_tokenizer")  # fmt: skip
    for name in (rule for rule in rules if rule not in frozen.open):
        own, needed = getattr(made, name), getattr(frozen, name)
        if own != needed:
            report.problems.append(
                f"{name} is {own!r}, but suite {frozen.id} v{frozen.version} has {needed!r}"
            )
    if made.seeds < frozen.seeds:
        report.problems.append(f"{made.seeds} seeds, but the suite has {frozen.seeds}")
    for split, checksum in frozen.checksums.items():
        if settings["checksums"].get(split, checksum) != checksum:
            report.problems.append(f"{split} has the checksum of other data than the suite's")


def _check_prompts(
    records: list[Record],
    settings: dict[str, Any],
    template: Template | None,
    skipped: dict[str, list[str]],
    report: Report,
) -> None:
    parts: dict[tuple[str, int], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        parts[record.agent, record.seed][record.split].append(record.prompt_id)
    for split in settings["splits"]:
        for (agent, seed), own in parts.items():
            if split not in own:
                report.problems.append(f"{agent}, seed {seed} has no records of {split}")
        try:
            prompts = load_prompts(settings["dataset"], split)
        except (ValueError, OSError) as error:
            report.notes.append(f"{split} is not available, its prompts were not compared: {error}")
            continue
        if dataset_checksum(prompts) != settings["checksums"][split]:
            report.problems.append(f"{split} of {settings['dataset']} is not the data of the run")
            continue
        picked = [prompts[i] for i in pick_evenly(len(prompts), settings["limit"])]
        known = {prompt.id: prompt for prompt in picked}
        left_out = set(skipped.get(split, ())) & set(known)
        if left_out:
            report.notes.append(
                f"{len(left_out)} of {len(known)} prompts of {split} were left out by the run, as "
                "too long for the generator"
            )
        for (agent, seed), own in parts.items():
            ids = own.get(split, [])
            if len(ids) != len(set(ids)) or not set(ids) <= set(known):
                report.problems.append(
                    f"{agent}, seed {seed}: {split} holds prompts twice or others"
                )
            elif ids and (missing := len(set(known) - left_out - set(ids))):
                report.problems.append(f"{agent}, seed {seed}: {split} lacks {missing} prompts")
        own_records = [r for r in records if r.split == split and r.prompt_id in known]
        _add(report, _other_prompts(own_records, known, template))


def _template(settings: dict[str, Any]) -> Template | None:
    """Return template of a folder; None for a chat template in a folder that does not hold it."""
    if "template_frame" in settings:
        return ChatTemplate.from_frame(settings["template_frame"], settings["template"])
    return make_template("alpaca") if settings["template"] == "alpaca" else None


def _other_prompts(
    records: list[Record], known: dict[str, Prompt], template: Template | None
) -> Iterator[str]:
    """Return the records with another prompt than the dataset, or with a protected unit dropped."""
    rendered = {id: template.render(known[id]) for id in known} if template is not None else {}
    for record in records:
        prompt = known[record.prompt_id]
        if (record.gold, record.source) != (prompt.output, prompt.source):
            yield f"{_place(record)}: gold answer or source is not the dataset's"
        if record.prompt_id not in rendered:
            continue
        original = rendered[record.prompt_id]
        pairs = product(record.dropped, original.fixed)
        if record.prompt != original.text:
            yield f"{_place(record)}: the prompt is not the dataset's"
        elif any(start < end_ and start_ < end for (start, end), (start_, end_) in pairs):
            yield f"{_place(record)}: parts of the template were dropped"


def _generator(settings: dict[str, Any], device: str, report: Report) -> Generator | None:
    """Return the generator of a run; None if it cannot be had, which the report then says."""
    from pcrl_gym.generators.loading import load_generator

    try:
        dtype = suite_of(settings).dtype
        generator = load_generator(settings["generator"], device=device, dtype=dtype)
    except (ValueError, OSError, ImportError) as error:
        report.notes.append(f"the generator is not available, no answers were repeated: {error}")
        return None
    if generator.fingerprint != settings["generator_fingerprint"]:
        report.problems.append("the generator has other weights than the one of the run")
        return None
    return generator


def _other_answers(
    records: list[Record], generator: Generator, max_new_tokens: int, template: Template | None
) -> Iterator[str]:
    asked = [text for record in records for text in (record.prompt, record.compressed_prompt)]
    texts = list(dict.fromkeys(asked))
    if isinstance(template, ChatTemplate):  # whose control tokens are control tokens
        texts = [framed(text, template.frame) for text in texts]
    answers = dict(zip(texts, generator.generate(texts, max_new_tokens), strict=True))
    counts = dict(zip(texts, generator.count_tokens(texts), strict=True))
    for record in records:
        for prompt, answer, tokens in (
            (record.prompt, record.output, record.original_tokens),
            (record.compressed_prompt, record.compressed_output, record.compressed_tokens),
        ):
            if answers[prompt].text != answer:
                yield f"{_place(record)}: the generator answers {answers[prompt].text!r}"
            elif counts[prompt] != tokens:
                yield f"{_place(record)}: the prompt has {counts[prompt]} tokens, not {tokens}"
