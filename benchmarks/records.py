"""Result folder: one row per evaluated prompt, resumable, never with mixed settings.

    settings.json                       settings of the run; compared when a run is resumed
    records/<agent>/<split>-seed<k>.parquet   one part: a finished (agent, split, seed)
    records.parquet                     all parts in one file instead of `records/`, if published
    training/<agent>-seed<k>/           trained agents, see `benchmarks.training`
    provenance.json  summary.json  leaderboard.md  details.md
    answers.db                          the generator's answers to original prompts, or all of its
                                        answers if it is behind an API
    analyses/                           tables, charts, and resumable state of analyses

A part appears under its name only when it is complete, so a run killed at any moment only loses the
part it was working on. Tables need no model and therefore neither torch nor transformers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcrl_gym.errors import RunFolderError
from pcrl_gym.storage.atomic import write_file

if TYPE_CHECKING:
    from pandas import DataFrame

# Files that a run stopped before writing its settings may leave behind.
_BEFORE_SETTINGS = {"settings.json.tmp", "answers.db", "answers.db-wal", "answers.db-shm"}
ALL_RECORDS = "records.parquet"  # published results, instead of `records/`
# In an agent's entry in the settings: the suffix of agents that see the generator's answers, and
# the text before the language model that ranks units.
ORACLE, RANKS_BY = ", oracle", ", ranks by "


@dataclass(frozen=True, slots=True)
class Record:
    """One evaluated prompt.

    Attributes:
        agent, split, seed: The evaluated agent, the split, and the seed.
        prompt_id, source: ID of the prompt in the dataset, and its task family or origin.
        prompt, compressed_prompt: The rendered prompt before and after compression.
        dropped: Dropped character ranges of `prompt`, sorted and not adjacent.
        output, compressed_output: The generator's answers to both prompts.
        gold: Gold answer, "" if the dataset has none.
        reward: The suite's reward.
        similarity: The suite's similarity measure of the two full answers, in [0, 1].
        compression_ratio: `1 - (n' - f) / (n - f)` in generator tokens.
        drop_rate: Dropped / droppable units, in [0, 1].
        log_likelihood: Mean log-probability of `output` given `compressed_prompt`; None if not
            requested.
        original_tokens, compressed_tokens, template_tokens: n, n' and f, generator tokens of
            `prompt`, of `compressed_prompt` and of the template's own text.
        second_original_tokens, second_compressed_tokens, second_template_tokens: The same counts in
            the suite's second tokenizer.
        gold_rouge_1, gold_rouge_2, gold_rouge_l: ROUGE F1 of `compressed_output` against `gold`, in
            [0, 1], 1 if they are equal; None without gold.
        gold_cut: Number of characters of `compressed_output` within the gold answer's length in
            generator tokens; None without gold, or if the generator exposes no tokenizer.
        cut_rouge_1, cut_rouge_2, cut_rouge_l: The same for `compressed_output[:gold_cut]`; None
            without a cut.
        requested_rate: Share of the droppable units that the agent was asked to drop; None for an
            agent that decides by itself.
        compress_ms: Milliseconds of the agent per prompt, averaged over the batch.
        likelihood_loss: Drop in log-probability of `output` from `prompt` to `compressed_prompt`,
            in nats per token; None if not requested.
        gold_likelihood_loss: The same for `gold`; also None without gold.
        gold_score, original_gold_score: Correctness of `compressed_output` and `output`, in [0, 1],
            see `benchmarks.gold.gold_score`; None without gold.
        constraints: Constraints of an IFEval prompt that could be checked; None for other prompts.
        constraints_kept, original_constraints_kept: How many of them `compressed_output` and
            `output` satisfy, see `benchmarks.ifeval`.
        output_tokens, compressed_output_tokens: Generator tokens of both answers; None if the
            generator exposes no tokenizer.
        rewritten: For an agent that returns texts, 1 if the text cannot result from a keep mask;
            `dropped` is then the nearest match, see `episodes.matching`. None for other agents, as
            are the next two.
        leaked: 1 if the text gives the answer away, see `scoring.leaks`; similarity and ratio are
            0.
        failed: 1 if the agent failed and the original was sent.
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
    # Added after the first published records, which lack them.
    likelihood_loss: float | None = None
    gold_likelihood_loss: float | None = None
    gold_score: float | None = None
    original_gold_score: float | None = None
    constraints: int | None = None
    constraints_kept: int | None = None
    original_constraints_kept: int | None = None
    output_tokens: int | None = None
    compressed_output_tokens: int | None = None
    rewritten: int | None = None
    leaked: int | None = None
    failed: int | None = None


_LATER = {one.name for one in fields(Record) if one.default is not MISSING}


class RunFolder:
    """Result folder open for reading and adding parts.

    Args:
        path: Folder that holds `settings.json`; use `RunFolder.open` to create or resume one.

    Raises:
        RunFolderError: If there is no readable `settings.json`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.settings = _read_settings(self.path)

    @classmethod
    def open(cls, path: str | Path, settings: dict[str, Any]) -> RunFolder:
        """Create the folder, or resume it if its settings match, joining the agents.

        Args:
            path: Folder to create or resume.
            settings: JSON object with the key "agents" (name -> specification).

        Raises:
            RunFolderError: If the folder holds other settings, published results or something else.
        """
        path = Path(path)
        settings = json.loads(json.dumps(settings))
        stored = check_settings(path, settings)
        if stored is not None:
            settings["agents"] = {**stored["agents"], **settings["agents"]}
        path.mkdir(parents=True, exist_ok=True)
        if settings != stored:  # several processes may open one folder
            write_file(path / "settings.json", json.dumps(settings, indent=2) + "\n")
        return cls(path)

    def part(self, agent: str, split: str, seed: int) -> Path:
        """Return the path of the records of one (agent, split, seed)."""
        return self.path / "records" / agent / f"{split}-seed{seed}.parquet"

    def training(self, agent: str, seed: int) -> Path:
        """Return the training run folder of one seed of an agent."""
        return self.path / "training" / f"{agent}-seed{seed}"

    def parts(self) -> list[Path]:
        """Return the files of finished parts, sorted by name."""
        return sorted((self.path / "records").glob("*/*.parquet"))

    @property
    def has_results(self) -> bool:
        """Whether any part is finished."""
        return bool(self.parts()) or (self.path / ALL_RECORDS).is_file()

    @contextmanager
    def write_part(self, agent: str, split: str, seed: int) -> Iterator[Callable[[Record], None]]:
        """Write one part, which exists once the block ends without an exception.

        Yields:
            A function that takes the next record.

        Raises:
            ValueError: If a value is missing or not finite.
        """
        from benchmarks.parquet import schema_of, to_bytes, to_table

        part = self.part(agent, split, seed)
        part.parent.mkdir(parents=True, exist_ok=True)
        records: list[Record] = []
        yield records.append
        write_file(part, to_bytes(to_table(records, schema_of(Record))))

    def frame(self, agents: Sequence[str] = (), splits: Sequence[str] = ()) -> DataFrame:
        """Return the records of the given agents and splits (by default all) as a data frame.

        Each attribute of `Record` is a column. A missing value is NaN, so `gold_cut` is a float;
        `dropped` holds lists of pairs. Rows are sorted by split (in the order of the settings),
        agent, seed, and prompt.

        Raises:
            ValueError: If an agent or split has no results.
            RunFolderError: If there are no results yet, or a file, which is named, is damaged.
        """
        import pandas as pd
        import pyarrow as pa

        from benchmarks.parquet import column_names, read_table, schema_of, to_frame

        schema, files = schema_of(Record), self.parts()
        text = "compressed_prompt"
        derived = schema.get_field_index(text)
        if (published := self.path / ALL_RECORDS).is_file():
            files = [published]
            if text not in column_names(published):
                schema = schema.remove(derived)
        if not files:
            raise RunFolderError(f"{self.path} has no results yet")
        frame = to_frame(pa.concat_tables([read_table(file, schema, _LATER) for file in files]))
        if files == [published]:
            kept = pd.Series(map(kept_text, frame["prompt"], frame["dropped"]), dtype=object)
            if text in frame:
                frame[text] = frame[text].where(frame["rewritten"] == 1, kept)
            else:
                frame.insert(derived, text, kept)
        rows, order = choose(frame, self.path, agents, splits), list(self.settings["splits"])
        by_split = {"by": "split", "key": lambda own: own.map(order.index), "kind": "stable"}
        return rows.sort_values(["agent", "seed"]).sort_values(**by_split, ignore_index=True)

    def records(self, agents: Sequence[str] = (), splits: Sequence[str] = ()) -> Iterator[Record]:
        """Return the rows of `frame` as records, with None for missing values."""
        plain = self.frame(agents, splits).astype({"gold_cut": "Int64"}).astype(object)
        plain = plain.where(plain.notna(), None)
        plain["dropped"] = plain["dropped"].map(tuple)
        return (Record(*row) for row in plain.itertuples(index=False, name=None))

    def json_lines(self, agents: Sequence[str] = (), splits: Sequence[str] = ()) -> Iterator[str]:
        """Return the records as JSON objects, one ASCII line each."""
        return (json.dumps(asdict(record)) for record in self.records(agents, splits))


def choose(
    frame: DataFrame, path: Path, agents: Sequence[str], splits: Sequence[str] = ()
) -> DataFrame:
    """Return the rows of some agents and splits; raise ValueError if one has no results."""
    for key, wanted in (("agent", agents), ("split", splits)):
        there = sorted(frame[key].unique())
        if missing := ", ".join(sorted(set(wanted) - set(there))):
            found = ", ".join(there)
            raise ValueError(f"{path} has no results for the {key}s {missing}, only for {found}")
        if wanted:
            frame = frame[frame[key].isin(list(wanted))]
    return frame


def kept_text(prompt: str, dropped: Sequence[tuple[int, int]]) -> str:
    """Return a prompt without its dropped ranges."""
    starts, ends = [0, *(end for _, end in dropped)], [*(start for start, _ in dropped), None]
    return "".join(prompt[start:end] for start, end in zip(starts, ends, strict=True))


def check_settings(path: str | Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """Check that results of these settings may go into a folder, and return its settings.

    All wanted settings must match the folder's, else RunFolderError names each difference. New
    agents may join if no name gets a second meaning. Folders of published results are rejected.
    Returns None if no run has written its settings yet.
    """
    from agents.runs.config import differences

    path = Path(path)
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"{path} is a file; choose a folder for the results")
    if not path.is_dir() or {file.name for file in path.iterdir()} <= _BEFORE_SETTINGS:
        return None
    stored = _read_settings(path)
    if (path / ALL_RECORDS).exists():  # `RunFolder.frame` would read nothing else
        raise RunFolderError(
            f"{path} contains published results, which cannot be extended: choose another --out, "
            f"and show both in one table with `benchmarks table NEW --with {path}`"
        )
    own = {name: stored["agents"].get(name, now) for name, now in wanted["agents"].items()}
    if found := differences({key: stored.get(key) for key in wanted} | {"agents": own}, wanted):
        raise RunFolderError(
            f"{path} contains results with different settings, which must not be mixed:\n{found}\n"
            "Use the settings of the folder to resume it, or choose another folder"
        )
    return stored


def _read_settings(path: Path) -> dict[str, Any]:
    file = path / "settings.json"
    try:
        settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        settings["agents"].items()
    except FileNotFoundError:
        raise RunFolderError(
            f"{path} is not a result folder: there is no {file}. `benchmarks run` creates one"
        ) from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"{file} is damaged: expected a JSON object with the key 'agents', got {error!r}"
        ) from error
    if any((path / "records").glob("*/*.jsonl")):
        raise RunFolderError(f"{path} was created by an earlier version; choose another folder")
    return settings
