"""The result folder: a row per evaluated prompt, resumable, never mixed.

Layout of a folder:

    settings.json                       what was asked for; compared when a run is resumed
    records/<agent>/<split>-seed<k>.parquet   one part: a finished (agent, split, seed)
    records.parquet                     all parts in one, in place of `records/`: published results
    agents/<agent>-seed<k>/             trained agents
    training/<agent>-seed<k>/           what an interrupted training resumes from, see
                                        `agents.runs.folder`; gone once the agent is trained
    provenance.json  summary.json  leaderboard.md  details.md
    answers.db                          the generator's answers to original prompts, all of them if
                                        it is behind an API
    analyses/                           tables and pictures of analyses; rates/ and judge.db hold
                                        what they resume from

A part appears under its name only when it is complete, so that a run killed at any moment loses the
part it was working on and nothing else. This module imports neither torch nor transformers: tables
need no model.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcrl_gym.errors import RunFolderError
from pcrl_gym.storage.atomic import replace_folder, write_file

if TYPE_CHECKING:
    from pandas import DataFrame

# What a run that was stopped before it wrote its settings may leave behind.
_BEFORE_SETTINGS = {"settings.json.tmp", "answers.db", "answers.db-wal", "answers.db-shm"}
ALL_RECORDS = "records.parquet"
"""File of published results, in place of `records/`."""
ORACLE = ", oracle"
"""End of an agent's entry in the settings if it sees the generator's answers."""
RANKS_BY = ", ranks by "
"""What stands in an agent's entry before the language model by which it ranks units."""

_AGENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Record:
    """One evaluated prompt.

    Attributes:
        agent, seed: Name of the agent, and its seed.
        split, prompt_id: Split the prompt comes from, and its id in the dataset.
        source: Task family or origin of the prompt.
        prompt: The rendered prompt.
        dropped: Character ranges of `prompt` that were dropped, sorted, not touching.
        compressed_prompt: What was left.
        output: The generator's answer to `prompt`.
        compressed_output: The generator's answer to `compressed_prompt`.
        gold: Gold answer, "" where the dataset has none.
        reward: The suite's reward.
        similarity: The suite's measure between the two whole answers, in [0, 1].
        compression_ratio: `1 - (n' - f) / (n - f)` in generator tokens.
        drop_rate: Dropped / droppable units, in [0, 1].
        log_likelihood: Mean log-probability of `output` after `compressed_prompt`; None if not
            asked for.
        original_tokens, compressed_tokens, template_tokens: N, N' and F, generator tokens of
            `prompt`, of `compressed_prompt` and of the template's own text.
        second_original_tokens, second_compressed_tokens, second_template_tokens: The same in the
            suite's second tokenizer.
        gold_rouge_1, gold_rouge_2, gold_rouge_l: ROUGE F1 of `compressed_output` against `gold`, in
            [0, 1], 1 if they are equal; None without gold.
        gold_cut: Number of characters of `compressed_output` within the gold answer's length in
            generator tokens; None without gold, or if the generator shows no tokenizer.
        cut_rouge_1, cut_rouge_2, cut_rouge_l: The same of `compressed_output[:gold_cut]`; None
            without cut.
        requested_rate: Share of the droppable units that the agent was asked to drop; None for an
            agent that decides by itself.
        compress_ms: Milliseconds the agent took, its batch's time divided by the batch's prompts.
    """

    agent: str
    split: str
    seed: int
    prompt_id: str
    source: str
    prompt: str
    dropped: tuple[tuple[int, int], ...]
    compressed_prompt: str
    output: str
    compressed_output: str
    gold: str
    reward: float
    similarity: float
    compression_ratio: float
    drop_rate: float
    log_likelihood: float | None
    original_tokens: int
    compressed_tokens: int
    template_tokens: int
    second_original_tokens: int
    second_compressed_tokens: int
    second_template_tokens: int
    gold_rouge_1: float | None
    gold_rouge_2: float | None
    gold_rouge_l: float | None
    gold_cut: int | None
    cut_rouge_1: float | None
    cut_rouge_2: float | None
    cut_rouge_l: float | None
    requested_rate: float | None
    compress_ms: float


class RunFolder:
    """A result folder that is open for reading and adding parts.

    Args:
        path: Folder that holds `settings.json`; use `RunFolder.open` to make or resume one.

    Raises:
        RunFolderError: If there is no readable `settings.json`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.settings = _read_settings(self.path)

    @classmethod
    def open(cls, path: str | Path, settings: dict[str, Any]) -> RunFolder:
        """Make the folder, or resume it where its settings match (see `check_settings`).

        Args:
            path: Folder to make or resume.
            settings: JSON object with the key "agents" (name -> specification).

        Returns:
            The folder, with the settings stored and the agents joined.

        Raises:
            RunFolderError: If `check_settings` raises one.
        """
        path = Path(path)
        settings = json.loads(json.dumps(settings))
        stored = check_settings(path, settings)
        if stored is not None:
            settings["agents"] = {**stored["agents"], **settings["agents"]}
        path.mkdir(parents=True, exist_ok=True)
        write_file(path / "settings.json", json.dumps(settings, indent=2) + "\n")
        return cls(path)

    def part(self, agent: str, split: str, seed: int) -> Path:
        """Return where the records of one (agent, split, seed) belong."""
        return self.path / "records" / agent / f"{split}-seed{seed}.parquet"

    def trained_agent(self, agent: str, seed: int) -> Path:
        """Return where the trained agent of one seed belongs."""
        return self.path / "agents" / f"{agent}-seed{seed}"

    def training(self, agent: str, seed: int) -> Path:
        """Return where one seed of an agent is trained: the folder of a training run."""
        return self.path / "training" / f"{agent}-seed{seed}"

    def parts(self) -> list[Path]:
        """Return the files of finished parts, by name."""
        return sorted((self.path / "records").glob("*/*.parquet"))

    @property
    def has_results(self) -> bool:
        """Whether a part is finished."""
        return bool(self.parts()) or (self.path / ALL_RECORDS).is_file()

    @contextmanager
    def write_part(self, agent: str, split: str, seed: int) -> Iterator[Callable[[Record], None]]:
        """Write one part: it exists once the block ends without an exception.

        Yields:
            A function that takes the next record.

        Raises:
            ValueError: If a figure is not finite.
        """
        from benchmarks.parquet import schema_of, to_bytes, to_table

        part = self.part(agent, split, seed)
        part.parent.mkdir(parents=True, exist_ok=True)
        records: list[Record] = []
        yield records.append
        write_file(part, to_bytes(to_table(records, schema_of(Record))))

    def write_trained_agent(self, agent: str, seed: int) -> AbstractContextManager[Path]:
        """Return a block that saves a trained agent into an empty folder; see `replace_folder`."""
        return replace_folder(self.trained_agent(agent, seed))

    def frame(self, agents: Sequence[str] = (), splits: Sequence[str] = ()) -> DataFrame:
        """Return the records of some agents and splits, of all if none are given, as a frame.

        A column per attribute of `Record`. A missing figure is NaN, so `gold_cut` is a float;
        `dropped` holds lists of pairs. Rows come by split (in the order of the settings), agent,
        seed and prompt.

        Raises:
            ValueError: If an agent or split has no results.
            RunFolderError: If nothing has results yet, or a file is damaged; it is named.
        """
        frame = self._read_all()
        for key, wanted in (("agent", agents), ("split", splits)):
            there = sorted(frame[key].unique())
            if missing := [name for name in wanted if name not in there]:
                raise ValueError(
                    f"{self.path} has no results of the {key}s {', '.join(missing)}, only of "
                    f"{', '.join(there)}"
                )
            if wanted:
                frame = frame[frame[key].isin(list(wanted))]
        order = {split: place for place, split in enumerate(self.settings["splits"])}
        keys = frame[["agent", "seed"]].assign(place=frame["split"].map(order))
        keys = keys.sort_values(["place", "agent", "seed"], kind="stable")
        return frame.loc[keys.index].reset_index(drop=True)

    def records(self, agents: Sequence[str] = (), splits: Sequence[str] = ()) -> Iterator[Record]:
        """Return the rows of `frame` as records.

        Raises:
            ValueError, RunFolderError: If `frame` raises one.
        """
        return to_records(self.frame(agents, splits))

    def json_lines(self, agents: Sequence[str] = (), splits: Sequence[str] = ()) -> Iterator[str]:
        """Return the records as JSON objects on a line each: ASCII, whatever the texts hold.

        Raises:
            ValueError, RunFolderError: If `frame` raises one.
        """
        for record in self.records(agents, splits):
            yield json.dumps(asdict(record), allow_nan=False)

    def _read_all(self) -> DataFrame:
        import pandas as pd
        import pyarrow as pa

        from benchmarks.parquet import read_table, schema_of, to_frame

        schema, files, left_out = schema_of(Record), self.parts(), "compressed_prompt"
        place = schema.get_field_index(left_out)
        if (self.path / ALL_RECORDS).is_file():
            schema, files = schema.remove(place), [self.path / ALL_RECORDS]
        if not files:
            raise RunFolderError(f"{self.path} has no results yet")
        tables = []
        for file in files:
            try:
                tables.append(read_table(file, schema))
            except ValueError as error:
                raise RunFolderError(
                    f"{file}: {error}. Delete the file; the same run command evaluates that part "
                    "again"
                ) from error
        frame = to_frame(pa.concat_tables(tables))
        if left_out not in frame:
            kept = list(map(kept_text, frame["prompt"], frame["dropped"]))
            frame.insert(place, left_out, pd.Series(kept, dtype=object))
        return frame


def kept_text(prompt: str, dropped: Sequence[tuple[int, int]]) -> str:
    """Return a prompt without the ranges that were dropped.

    Example:
        >>> kept_text("Please say hi", [(0, 7)])
        'say hi'
    """
    starts, ends = [0, *(end for _, end in dropped)], [*(start for start, _ in dropped), None]
    return "".join(prompt[start:end] for start, end in zip(starts, ends, strict=True))


def to_records(frame: DataFrame) -> Iterator[Record]:
    """Return the rows of a frame as records, with None for a missing figure."""
    kinds = Record.__annotations__.values()
    for row in frame.itertuples(index=False, name=None):
        yield Record(*map(_plain, kinds, row))


def _plain(kind: str, value: Any) -> Any:
    """Return a cell of a frame as the attribute of a record."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, float):
        return None if math.isnan(value) else int(value) if kind.startswith("int") else value
    return value


def check_settings(path: str | Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """Check that results of these settings may go into a folder, and return what it has.

    Every wanted setting (all or some) must be the folder's, except that agents may join an existing
    folder as long as no name gets a second meaning. None is returned if no run got as far as
    writing settings. Changes nothing.

    Raises:
        RunFolderError: If the folder holds other settings (each difference is named) or something
            else.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"{path} is a file; give a folder for the results")
    if not path.is_dir() or {file.name for file in path.iterdir()} <= _BEFORE_SETTINGS:
        return None
    if not (path / "settings.json").is_file():
        raise RunFolderError(
            f"{path} holds files but no settings.json, so it is no result folder; give another"
        )
    stored = _read_settings(path)
    found = differences(stored, wanted)
    if found:
        raise RunFolderError(
            f"{path} holds results of other settings, and one table must not mix them:\n"
            + "\n".join(f"  {line}" for line in found)
            + "\nRepeat the settings of the folder to resume it, or give another folder"
        )
    return stored


def check_agent_name(name: str) -> str:
    """Return the name if it can be part of a file name.

    Raises:
        ValueError: If it holds anything but letters, digits, dot, underscore and hyphen.
    """
    if not isinstance(name, str) or not _AGENT_NAME.fullmatch(name):
        raise ValueError(
            f"An agent's name must consist of letters, digits, '.', '_' and '-', got {name!r}"
        )
    return name


def differences(stored: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return the settings that differ, one line each; agents where a name changed its meaning.

    Example:
        >>> differences({"limit": 5, "agents": {}}, {"limit": 6, "agents": {"a": "m:A"}})
        ['limit: 5 in the folder, 6 now']
    """
    lines = [
        f"{key}: {json.dumps(stored.get(key))} in the folder, {json.dumps(wanted[key])} now"
        for key in sorted(wanted.keys() - {"agents"})
        if stored.get(key) != wanted[key]
    ]
    for name, now in sorted(wanted["agents"].items()):
        before = stored["agents"].get(name, now)
        if before != now:
            lines.append(f"agent {name}: {before} in the folder, {now} now")
    return lines


def _read_settings(path: Path) -> dict[str, Any]:
    file = path / "settings.json"
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunFolderError(
            f"{path} is no result folder: there is no {file}. "
            f"`python -m benchmarks run --out {path}` makes one"
        ) from None
    except ValueError as error:
        raise RunFolderError(f"{file} is damaged: {error}") from error
    if not isinstance(settings, dict) or not isinstance(settings.get("agents"), dict):
        raise RunFolderError(f"{file} is damaged: expected a JSON object with the key 'agents'")
    if any((path / "records").glob("*/*.jsonl")):
        raise RunFolderError(
            f"{path} was made by an earlier version, which wrote JSON lines. Run the same command "
            "again with another --out"
        )
    return settings
