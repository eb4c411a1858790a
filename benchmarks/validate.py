"""Validation of submitted result folders."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain, product
from operator import ne
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.gold import against_gold, gold_score
from benchmarks.records import RunFolder, kept_text
from benchmarks.suites import SUITES, Suite, suite_of
from benchmarks.tables import TOKENS, Row, make_rows
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.datasets import dataset_checksum, pick_evenly
from pcrl_gym.prompts.prompt_text import framed
from pcrl_gym.prompts.template import ChatTemplate, make_template
from pcrl_gym.scoring.ratio import compression_ratio
from pcrl_gym.scoring.rewards import RewardInputs, make_reward
from pcrl_gym.scoring.rouge import Measure, measure_by_name

if TYPE_CHECKING:
    from pandas import DataFrame

    from pcrl_gym.generators.base import Generator
    from pcrl_gym.prompts.prompt import Prompt
    from pcrl_gym.prompts.template import Template

_MAX_NAMED = 5
_LOSS_TOLERANCE = 0.02  # nats per token, to allow for bfloat16 and other machines
# Without seeds, of which there may be more, and tokenizer, which depends on evaluated policies.
_RULES = {one.name for one in fields(Suite)} - {"id", "seeds", "tokenizer", "checksums", "tags"}


@dataclass
class Report:
    """Result of a check."""

    problems: list[str] = field(default_factory=list)  # none if the folder can be accepted
    notes: list[str] = field(default_factory=list)  # what was checked, and what could not be

    def add(self, problems: Iterable[str]) -> None:
        """Add problems of one kind; after the first few, only their number is reported."""
        found = list(problems)
        self.problems += found[:_MAX_NAMED]
        if len(found) > _MAX_NAMED:
            self.problems.append(f"and {len(found) - _MAX_NAMED} more of this kind")

    def text(self) -> str:
        """Return the notes and problems, with the verdict as the last line."""
        verdict = f"{len(self.problems)} problem(s)." if self.problems else "The folder is valid."
        problems = [f"problem: {problem}" for problem in self.problems]
        return "\n".join([*self.notes, *problems, verdict]) + "\n"


def validate(
    folder: str | Path, *, device: str = "auto", seed: int = 0, share: float = 0.05
) -> Report:
    """Check a result folder: suite, data, prompts, values, summary, and a share of the answers.

    Args:
        folder: Result folder.
        device: Device of the generator.
        seed: Seed for the choice of records.
        share: Share of the records to answer again, in [0, 1].

    Returns:
        Report of the check. Invalid folders do not raise errors.
    """
    from benchmarks.evaluate import token_counter
    from pcrl_gym.generators.loading import load_generator

    report = Report()
    try:
        opened = RunFolder(folder)
        settings, frame = opened.settings, opened.frame()
        suite, template = suite_of(settings), _template(settings)
        needed = {"generator_fingerprint", *(f"checksums.{split}" for split in suite.splits)}
        if lacking := needed - settings.keys() - {f"checksums.{key}" for key in suite.checksums}:
            raise ValueError(f"settings.json lacks {', '.join(sorted(lacking))}")
        reward, measure = make_reward(suite.reward), measure_by_name(suite.measure)
        count_second, rows = token_counter(suite.second_tokenizer), make_rows(frame, settings)
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        report.problems.append(f"the folder cannot be read: {type(error).__name__}: {error}")
        return report
    report.notes.append(f"{len(frame)} records of {len(settings['agents'])} agents read")
    _check_suite(suite, settings, report)
    _check_prompts(opened, suite, frame, template, report)
    wrong = wrong_figures(frame, reward, measure, count_second)
    report.add(
        f"{_place(frame.loc[at])}: {', '.join(wrong.columns[of])} does not follow from the record"
        for at, of in wrong[wrong.any(axis=1)].iterrows()
    )
    if not _is_summary(opened.path / "summary.json", rows):
        report.problems.append("summary.json does not follow from the records")
    report.notes.append("suite, prompts, figures and summary checked")
    try:
        generator = load_generator(settings["generator"], device=device, dtype=suite.dtype)
    except (ValueError, OSError, ImportError) as error:
        report.notes.append(f"the generator is not available, no answers were repeated: {error}")
        return report
    if generator.fingerprint != settings["generator_fingerprint"]:
        report.problems.append("the generator has different weights from that of the run")
        return report
    count = math.ceil(share * len(frame))
    chosen = np.random.default_rng(seed).choice(len(frame), size=count, replace=False)
    sample = list(frame.iloc[np.sort(chosen)].itertuples())
    report.add(_other_answers(sample, generator, suite.max_new_tokens, template))
    report.notes.append(f"{count} records ({share:.0%}) answered again by {generator.name}")
    return report


def wrong_figures(
    frame: DataFrame, reward: Any, measure: Measure, count_second: Callable[..., list[int]]
) -> DataFrame:
    """Return which values, a column each, are inconsistent with a record's texts and counts."""
    import pandas

    frame = frame[frame["leaked"].fillna(0) == 0]  # leaked: independent of the answers
    answers, gold, dropped = (frame[name] for name in ("compressed_output", "gold", "dropped"))
    terms = frame[list(RewardInputs.__annotations__)]
    expected: dict[str, Any] = {
        "similarity": list(map(measure, answers, frame["output"])),
        "compression_ratio": compression_ratio(*frame[TOKENS].to_numpy().T),
        "reward": reward(RewardInputs(*terms.to_numpy().T)),
        "second_original_tokens": count_second(frame["prompt"].tolist()),
        "second_compressed_tokens": count_second(frame["compressed_prompt"].tolist()),
    }
    lengths = {"gold": answers.str.len().where(gold != ""), "cut": frame["gold_cut"]}
    for kind, ends in lengths.items():
        scores = [
            (math.nan,) * 3 if math.isnan(end) else against_gold(answer[: int(end)], one)
            for answer, one, end in zip(answers, gold, ends, strict=True)
        ]
        columns = np.array(scores, np.float64).reshape(-1, 3).T
        expected |= zip((f"{kind}_rouge_{n}" for n in "12l"), columns, strict=True)
    wrong = {
        name: ~np.isclose(frame[name], values, rtol=1e-9, atol=1e-12, equal_nan=True)
        for name, values in expected.items()
    }
    kept, rate = map(kept_text, frame["prompt"], dropped), frame["drop_rate"]
    cut = frame["rewritten"].fillna(0) == 0
    wrong["compressed_prompt"] = cut & np.array(
        list(map(ne, frame["compressed_prompt"], kept)), np.bool_
    )
    wrong["drop_rate"] = ~rate.between(0.0, 1.0) | ((rate == 0.0) != (dropped.str.len() == 0))
    wrong["dropped"] = [  # unless the ends increase and lie in the prompt
        (np.diff([-1, *chain(*own), len(prompt) + 1]) < 1).any()
        for own, prompt in zip(dropped, frame["prompt"], strict=True)
    ]
    return pandas.DataFrame(wrong, index=frame.index)


def _is_summary(file: Path, rows: Sequence[Row]) -> bool:
    import pandas

    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        boards = (  # in a fixed order, as rounding may swap rows sorted by reward
            pandas.DataFrame(board)
            .set_index(["split", "agent"])
            .sort_index()
            .dropna(axis="columns", how="all")  # columns added later than the file
            for board in (stored, json.loads(json.dumps(rows)))
        )
        # Rounding differs between machines.
        pandas.testing.assert_frame_equal(*boards, check_dtype=False, rtol=1e-9, atol=1e-12)
    except (OSError, ValueError, TypeError, KeyError, AssertionError):
        return False
    return True


def _place(record: Any) -> str:
    return f"{record.agent}, {record.split}, seed {record.seed}, prompt {record.prompt_id}"


def _check_suite(made: Suite, settings: dict[str, Any], report: Report) -> None:
    frozen = SUITES.get(made.id)
    if frozen is None:
        report.notes.append(f"{made.id} is not a frozen suite: its rules are not checked")
        return
    title = f"suite {frozen.id} v{frozen.version}"
    report.problems += [
        f"{rule} is {getattr(made, rule)!r}, but {title} has {getattr(frozen, rule)!r}"
        for rule in sorted(_RULES.difference(frozen.open))
        if getattr(made, rule) != getattr(frozen, rule)
    ]
    if made.seeds < frozen.seeds:
        report.problems.append(f"{made.seeds} seeds, but the suite has {frozen.seeds}")
    report.problems += [
        f"{split} has a different checksum from the suite's"
        for split, checksum in frozen.checksums.items()
        if settings["checksums"].get(split, checksum) != checksum
    ]


def _check_prompts(
    opened: RunFolder, suite: Suite, frame: DataFrame, template: Template | None, report: Report
) -> None:
    try:  # prompts skipped by the first run
        text = (opened.path / "provenance.json").read_text(encoding="utf-8")
        by_split = json.loads(text)["runs"][0]["skipped_prompts"]
        skipped = {split: set(ids) for split, ids in by_split.items()}
    except (AttributeError, OSError, KeyError, IndexError, TypeError, ValueError):
        skipped = {}
    for split in suite.splits:
        known: dict[str, Prompt] = {}
        try:
            prompts = load_prompts(suite.dataset, split, suite.columns)
            if dataset_checksum(prompts) == opened.settings["checksums"][split]:
                known = {prompts[i].id: prompts[i] for i in pick_evenly(len(prompts), suite.limit)}
            else:
                report.problems.append(f"{split} of {suite.dataset} is not the data of the run")
        except (ValueError, OSError) as error:
            report.notes.append(f"{split} is not available, its prompts were not compared: {error}")
        if left_out := known.keys() & skipped.get(split, ()):
            what = f"{len(left_out)} of {len(known)} prompts of {split}"
            report.notes.append(f"{what} were left out by the run as too long for the generator")
        for (agent, seed), run in frame.groupby(["agent", "seed"]):
            ids = run.loc[run["split"] == split, "prompt_id"]
            if ids.empty:
                report.problems.append(f"{agent}, seed {seed} has no records of {split}")
            elif known and (ids.duplicated().any() or not ids.isin(list(known)).all()):
                report.problems.append(
                    f"{agent}, seed {seed}: {split} has duplicate or unknown prompts"
                )
            elif missing := len(known.keys() - left_out - set(ids)):
                report.problems.append(f"{agent}, seed {seed}: {split} lacks {missing} prompts")
        report.add(_other_prompts(frame[frame["split"] == split], known, template))


def _template(settings: dict[str, Any]) -> Template | None:
    """Return the template of a folder; None for a chat template that the folder lacks."""
    if "template_frame" in settings:
        return ChatTemplate.from_frame(settings["template_frame"], settings["template"])
    return make_template("alpaca") if settings["template"] == "alpaca" else None


def _other_prompts(
    frame: DataFrame, known: dict[str, Prompt], template: Template | None
) -> Iterator[str]:
    """Yield problems of records whose prompt differs from the dataset or lost a protected unit."""
    rendered = {id: template.render(known[id]) for id in known} if template is not None else {}
    for record in frame[frame["prompt_id"].isin(list(known))].itertuples():
        prompt, original = known[record.prompt_id], rendered.get(record.prompt_id)
        if (record.gold, record.source) != (prompt.output, prompt.source):
            yield f"{_place(record)}: gold answer or source is not the dataset's"
        elif not math.isnan(record.gold_score):
            answers = record.compressed_output, record.output
            expected = tuple(gold_score(prompt, answer) for answer in answers)
            if (record.gold_score, record.original_gold_score) != expected:
                yield f"{_place(record)}: gold_score does not follow from the answers"
        if original is not None and record.prompt != original.text:
            yield f"{_place(record)}: the prompt is not the dataset's"
        elif original is not None and any(
            start < fixed_end and fixed_start < end
            for (start, end), (fixed_start, fixed_end) in product(record.dropped, original.fixed)
        ):
            yield f"{_place(record)}: parts of the template were dropped"


def _other_answers(
    records: Sequence[Any], generator: Generator, max_new_tokens: int, template: Template | None
) -> Iterator[str]:
    texts = list(dict.fromkeys(chain(*((r.prompt, r.compressed_prompt) for r in records))))
    if isinstance(template, ChatTemplate):  # so that control tokens are encoded as such
        texts = [framed(text, template.frame) for text in texts]
    answers = dict(zip(texts, generator.generate(texts, max_new_tokens), strict=True))
    counts = dict(zip(texts, generator.count_tokens(texts), strict=True))
    for r in records:
        if r.leaked == 1:
            continue
        for prompt, answer, tokens in (
            (r.prompt, r.output, r.original_tokens),
            (r.compressed_prompt, r.compressed_output, r.compressed_tokens),
        ):
            if answers[prompt].text != answer:
                yield f"{_place(r)}: the generator answers {answers[prompt].text!r}"
            elif counts[prompt] != tokens:
                yield f"{_place(r)}: the prompt has {counts[prompt]} tokens, not {tokens}"
    scored = [r for r in records if not math.isnan(r.likelihood_loss) and r.leaked != 1]
    if scored and generator.gives_likelihoods:
        framed_by = {str(text): text for text in texts}
        originals = [answers[r.prompt] for r in scored]
        before, after = (
            generator.log_likelihood([framed_by[getattr(r, name)] for r in scored], originals)
            for name in ("prompt", "compressed_prompt")
        )
        for r, b, a in zip(scored, before, after, strict=True):
            if abs(b - a - r.likelihood_loss) > _LOSS_TOLERANCE:
                yield f"{_place(r)}: likelihood loss is {b - a:.4f}, not {r.likelihood_loss:.4f}"
