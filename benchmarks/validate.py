"""Checking a result folder that somebody hands in."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.gold import against_gold
from benchmarks.records import Record, RunFolder, kept_text, to_records
from benchmarks.suites import SUITES, Suite, suite_of
from benchmarks.tables import Row, make_rows
from pcrl_gym.errors import RunFolderError
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.datasets import dataset_checksum, pick_evenly
from pcrl_gym.prompts.prompt_text import framed
from pcrl_gym.prompts.template import ChatTemplate, make_template
from pcrl_gym.scoring.ratio import compression_ratio
from pcrl_gym.scoring.rewards import RewardInputs, make_reward
from pcrl_gym.scoring.rouge import MEASURES, Measure

if TYPE_CHECKING:
    from pandas import DataFrame

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

    def add(self, problems: Iterable[str]) -> None:
        """Add problems of a kind, the first ones in words and the others as a number."""
        found = list(problems)
        self.problems += found[:_MAX_NAMED]
        if len(found) > _MAX_NAMED:
            self.problems.append(f"and {len(found) - _MAX_NAMED} more of this kind")

    def text(self) -> str:
        """Return the notes and problems, and the verdict as the last line."""
        verdict = f"{len(self.problems)} problem(s)." if self.problems else "The folder is valid."
        problems = [f"problem: {problem}" for problem in self.problems]
        return "\n".join([*self.notes, *problems, verdict]) + "\n"


def validate(
    folder: str | Path, *, device: str = "auto", seed: int = 0, share: float = REPEATED_SHARE
) -> Report:
    """Check a result folder, from its schema to the rewards.

    Settings and records can be read; suite and version are the frozen ones; the data has the
    folder's checksums; every part holds every prompt once, as the dataset has it, and the
    template's text is kept; each record's figures follow from its texts and counts, and the summary
    from the records; and, where the generator can be loaded, it has the folder's fingerprint and
    gives the same answers and token counts for a random share of the records.

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
        settings, frame = opened.settings, opened.frame()
        suite, template = suite_of(settings), _template(settings)
        rows = make_rows(frame, settings)
    except (RunFolderError, KeyError, TypeError, ValueError) as error:
        report.problems.append(f"the folder cannot be read: {type(error).__name__}: {error}")
        return report
    records = list(to_records(frame))
    report.notes.append(f"{len(records)} records of {len(settings['agents'])} agents read")
    _check_suite(settings, suite, report)
    _check_prompts(opened.path, frame, settings, template, report)
    reward, measure = make_reward(suite.reward), MEASURES[suite.measure]
    wrong = ((record, wrong_figures(record, reward, measure)) for record in records)
    report.add(
        f"{_place(r)}: {', '.join(of)} does not follow from the record" for r, of in wrong if of
    )
    if not _is_summary(opened.path / "summary.json", rows):
        report.problems.append("summary.json does not follow from the records")
    report.notes.append("suite, prompts, figures and summary checked")
    if generator := _generator(settings, suite, device, report):
        count = min(len(records), math.ceil(share * len(records)))
        chosen = np.random.default_rng(seed).choice(len(records), size=count, replace=False)
        sample = [records[i] for i in sorted(chosen)]
        report.add(_other_answers(sample, generator, suite.max_new_tokens, template))
        report.notes.append(f"{count} records ({share:.0%}) answered again by {generator.name}")
    return report


def wrong_figures(record: Record, reward: Any, measure: Measure) -> list[str]:
    """Return the names of a record's figures that do not follow from its texts and counts.

    `reward` and `measure` are the suite's.
    """
    borders = [0, *(border for both in record.dropped for border in both), len(record.prompt)]
    if borders[1:-1] != sorted(set(borders[1:-1])) or borders != sorted(borders):
        return ["dropped"]
    kept = kept_text(record.prompt, record.dropped)
    wrong = [] if kept == record.compressed_prompt else ["compressed_prompt"]
    likelihood = math.nan if record.log_likelihood is None else record.log_likelihood
    terms = (record.similarity, record.compression_ratio, record.drop_rate, likelihood)
    expected: dict[str, float | None] = {
        "similarity": measure(record.compressed_output, record.output),
        "compression_ratio": compression_ratio(
            record.original_tokens, record.compressed_tokens, record.template_tokens
        ),
        "reward": float(reward(RewardInputs(*(np.array([term]) for term in terms)))[0]),
    }
    answers = {
        "gold": record.compressed_output if record.gold else None,
        "cut": None if record.gold_cut is None else record.compressed_output[: record.gold_cut],
    }
    for kind, answer in answers.items():
        figures = (None,) * 3 if answer is None else against_gold(answer, record.gold)
        expected |= zip((f"{kind}_rouge_{n}" for n in "12l"), figures, strict=True)
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


def _is_summary(file: Path, rows: Sequence[Row]) -> bool:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        # In any order: by reward, rounding may swap two.
        by_name, expected = (
            {f"{row['split']}, {row['agent']}": row for row in board}
            for board in (stored, json.loads(json.dumps(rows)))
        )
    except (OSError, ValueError, TypeError, KeyError):
        return False
    return _equal(by_name, expected)


def _place(record: Record) -> str:
    return f"{record.agent}, {record.split}, seed {record.seed}, prompt {record.prompt_id}"


def _check_suite(settings: dict[str, Any], made: Suite, report: Report) -> None:
    frozen = SUITES.get(settings["suite"])
    if frozen is None:
        report.notes.append(f"{settings['suite']} is no frozen suite: its rules are its own")
        return
    rules = ("version", "splits", "dtype", "reward", "measure", "template", "unit", "max_units",
             "max_new_tokens", "limit", "second_tokenizer")  # fmt: skip
    title = f"suite {frozen.id} v{frozen.version}"
    report.problems += [
        f"{rule} is {getattr(made, rule)!r}, but {title} has {getattr(frozen, rule)!r}"
        for rule in rules
        if rule not in frozen.open and getattr(made, rule) != getattr(frozen, rule)
    ]
    if made.seeds < frozen.seeds:
        report.problems.append(f"{made.seeds} seeds, but the suite has {frozen.seeds}")
    report.problems += [
        f"{split} has the checksum of other data than the suite's"
        for split, checksum in frozen.checksums.items()
        if settings["checksums"].get(split, checksum) != checksum
    ]


def _check_prompts(
    path: Path,
    frame: DataFrame,
    settings: dict[str, Any],
    template: Template | None,
    report: Report,
) -> None:
    try:  # which prompts the first run left out
        text = (path / "provenance.json").read_text(encoding="utf-8")
        skipped = dict(json.loads(text)["runs"][0]["skipped_prompts"])
    except (OSError, KeyError, IndexError, TypeError, ValueError):
        skipped = {}
    groups = frame.groupby(["agent", "seed", "split"])["prompt_id"]
    parts = {key: list(ids) for key, ids in groups}
    for split in settings["splits"]:
        own = {f"{a}, seed {s}": parts.get((a, s, split), []) for a, s, _ in parts}
        report.problems += [f"{run} has no records of {split}" for run in own if not own[run]]
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
        for run, ids in own.items():
            if len(ids) != len(set(ids)) or not set(ids) <= set(known):
                report.problems.append(f"{run}: {split} holds prompts twice or others")
            elif ids and (missing := len(set(known) - left_out - set(ids))):
                report.problems.append(f"{run}: {split} lacks {missing} prompts")
        of_split = frame[(frame["split"] == split) & frame["prompt_id"].isin(list(known))]
        report.add(_other_prompts(to_records(of_split), known, template))


def _template(settings: dict[str, Any]) -> Template | None:
    """Return template of a folder; None for a chat template in a folder that does not hold it."""
    if "template_frame" in settings:
        return ChatTemplate.from_frame(settings["template_frame"], settings["template"])
    return make_template("alpaca") if settings["template"] == "alpaca" else None


def _other_prompts(
    records: Iterable[Record], known: dict[str, Prompt], template: Template | None
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


def _generator(
    settings: dict[str, Any], suite: Suite, device: str, report: Report
) -> Generator | None:
    """Return the generator of a run; None if it cannot be had, which the report then says."""
    from pcrl_gym.generators.loading import load_generator

    try:
        generator = load_generator(settings["generator"], device=device, dtype=suite.dtype)
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
