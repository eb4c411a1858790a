"""Benchmark run: load data and generator, train and evaluate agents, write a result folder."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agents.base import optional
from benchmarks.cluster.jobs import Job, all_jobs, share_of
from benchmarks.evaluate import AnsweredReward, evaluate
from benchmarks.gold import check_checks
from benchmarks.provenance import record_run
from benchmarks.records import ORACLE, RANKS_BY, RunFolder, check_settings
from benchmarks.roster import Entry, training_budgets
from benchmarks.suites import Suite, check_data, check_held_out
from benchmarks.tables import Row, write_leaderboard
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.progress import progress_bar
from pcrl_gym.prompts.datasets import dataset_checksum, pick_evenly
from pcrl_gym.prompts.template import ChatTemplate, check_template, make_template
from pcrl_gym.scoring.rewards import make_reward

if TYPE_CHECKING:
    from pcrl_gym.envs.task import Task
    from pcrl_gym.generators.base import Generator


class Benchmark:
    """Evaluates agents on a suite: build it, then `run` it or `do` its `jobs`.

    Building it reads the data and checks everything that needs no generator. Pickling restores the
    state after construction, and other processes prepare it for themselves.

    Args:
        suite, entries: Suite and agents to evaluate; `benchmarks.roster.find_agents` finds agents.
        out: Result folder, new or with the same settings.
        train_minutes, train_episodes, quick: Training per trainable agent and seed, see
            `benchmarks.roster.training_budgets`.
        shard: Part of the work to do here, such as "3/8"; `benchmarks.cluster.merge` joins the
            folders.
        device, batch_size: How the generator runs, see `pcrl_gym.envs.options.TaskOptions`.
        generator: The suite's generator, if it is an object or already loaded.
        cache: File for the generator's answers; None uses answers.db in the result folder.

    Raises:
        DatasetError: If a split cannot be read.
        RunFolderError: If the folder holds results of other settings, or something else, or another
            folder lacks an agent that it should have trained.
        ValueError: If the reward is unknown, or a trainable agent has no budget, no training split,
            or one that is evaluated (for a frozen suite, a single shared prompt is enough).
    """

    def __init__(
        self,
        suite: Suite,
        entries: Sequence[Entry],
        out: str | Path,
        *,
        train_minutes: float | None = None,
        train_episodes: int | Mapping[str, int] | None = None,
        quick: bool = False,
        shard: str = "1/1",
        device: str = "auto",
        batch_size: int | Literal["auto"] = "auto",
        generator: Generator | None = None,
        cache: str | Path | None = None,
    ) -> None:
        if suite.dataset is None or suite.generator is None:
            raise ValueError(f"Suite {suite.id} needs your own dataset and generator")
        self.suite = suite
        self.entries = list(entries)
        self.out = Path(out)
        self.shard, self._share = shard, share_of(shard)
        self.device = device
        self.batch_size = batch_size
        learning = {entry.name: entry.cls for entry in self.entries if entry.trained_here}
        self.budgets = training_budgets(learning, train_minutes, train_episodes, quick=quick)
        self.reward = make_reward(suite.task_options()["reward"])
        check_template(suite.template)
        print(f"Reading {suite.dataset} ...", file=sys.stderr)
        self.prompts = {
            split: load_prompts(suite.dataset, split, suite.columns) for split in suite.splits
        }
        read, trainings = dict(self.prompts), []
        if who := ", ".join(self.budgets):
            try:
                read["train"] = load_prompts(suite.dataset, "train", suite.columns)
            except (ValueError, OSError) as error:
                raise ValueError(f"{who} must be trained on a train split: {error}") from error
            trainings.append((who, read["train"]))
        self.train_prompts = read.get("train", [])
        self.checksums = {split: dataset_checksum(own) for split, own in read.items()}
        check_data(suite, self.checksums)
        if policies := [one for entry in self.entries for one in entry.policies.values()]:
            from benchmarks.training import trained_on

            trainings += trained_on(policies)
        for training, prompts in trainings:
            check_held_out(training, prompts, self.prompts, suite)
        for prompts in self.prompts.values():
            check_checks(prompts)
        check_settings(self.out, self._settings())
        self.generator = self._given = generator
        self.cache = Path(cache or self.out / "answers.db")
        self._tasks: dict[str, Task] = {}
        self._folder: RunFolder | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"generator": self._given, "_tasks": {}, "_folder": None}

    def prepare(self, record: bool = True) -> RunFolder:
        """Load the generator, build the episodes, and open the result folder, unless done already.

        Args:
            record: Whether to add this run to the folder's provenance, once for all its processes.

        Raises:
            ValueError: If the generator cannot be loaded, or has no chat template for "chat".
            RunFolderError: If the folder holds results of a generator with other weights.
        """
        if self._folder is not None:
            return self._folder
        from pcrl_gym.envs.task import make_task
        from pcrl_gym.generators.loading import load_generator

        print(f"Loading generator {self.suite.generator} ...", file=sys.stderr)
        if self.generator is None:
            running = {"batch_size": self.batch_size, "device": self.device, "cache": self.cache}
            self.generator = load_generator(self.suite.generator, dtype=self.suite.dtype, **running)
        settings = self._settings() | {
            "generator_name": self.generator.name,
            "generator_fingerprint": self.generator.fingerprint,
        }
        template = make_template(self.suite.template, self.generator.tokenizer)
        if isinstance(template, ChatTemplate):
            settings["template_frame"] = list(template.frame)
        check_settings(self.out, settings)
        likelihoods = self.suite.likelihoods and self.generator.gives_likelihoods
        reward = AnsweredReward(self.reward, self.suite.measure, likelihoods)
        for split, prompts in self.prompts.items():
            picked = [prompts[index] for index in pick_evenly(len(prompts), self.suite.limit)]
            own = {"dataset": picked, "split": split, "columns": None, "reward": reward}
            self._tasks[split] = make_task(**(self.suite.task_options() | self._objects() | own))
        for entry in self.entries:
            if entry.ranks_by is not None:  # fails early for a generator without such a model
                optional(entry.build(0), "attach")(next(iter(self._tasks.values())))
        folder = RunFolder.open(self.out, settings)
        if record:
            model = getattr(self.generator, "model", None)
            running = {key: str(getattr(model, key, "unknown")) for key in ("device", "dtype")}
            run = {
                "agents": [entry.name for entry in self.entries],
                "shard": self.shard,
                **running,
                "checksums": self.checksums,
                "prompts": {s: len(task.episodes) for s, task in self._tasks.items()},
                "skipped_prompts": {s: list(t.skipped_prompts) for s, t in self._tasks.items()},
            }
            record_run(folder, run)
        self._folder = folder
        return folder

    def run(self) -> list[Row]:
        """Evaluate what the folder lacks, and write and return its leaderboard.

        Raises:
            AgentError, TrainingError, RunFolderError, GeneratorError: If a job fails, see `do`.
        """
        folder = self.prepare()
        todo = [(job, splits) for job in self.jobs() if (splits := job.unfinished(folder))]
        total = sum(len(self._tasks[split].episodes) for _, splits in todo for split in splits)
        # No smoothing: the time left is estimated from the whole run, including training.
        with progress_bar(total=total, unit="prompt", smoothing=0, disable=not todo) as bar:
            for job, _ in todo:
                self.do(job, bar)
        return write_leaderboard(folder)

    def do(self, job: Job, bar: Any = None) -> None:
        """Train the agent of a job if needed, and evaluate it on the unfinished splits.

        `bar` is a progress bar over prompts.

        Raises:
            AgentError: If the agent returned no keep masks.
            TrainingError: If training made no update, or diverged.
            RunFolderError: If a trained agent is missing, or no longer the evaluated one.
            GeneratorError: If the generator failed.
        """
        folder, (entry, seed, _) = self.prepare(), job
        splits = job.unfinished(folder)
        bar = progress_bar(disable=True) if bar is None else bar
        weights = self._weights(folder, job) if entry.trainable and splits else None
        for split in splits:
            # A new agent for every part, so that a resumed run equals an uninterrupted one.
            agent = entry.build(seed) if weights is None else entry.load(weights)
            bar.set_description(f"{entry.name}, {split}, seed {seed}")
            part, second = (entry.name, split, seed), self.suite.second_tokenizer
            with folder.write_part(*part) as write:
                for record in evaluate(agent, self._tasks[split], *part, second_tokenizer=second):
                    write(record)
                    bar.update()

    def train(self, job: Job) -> None:
        """Train the agent of a job as `do` would, unless done already."""
        self._weights(self.prepare(), job)

    def jobs(self) -> list[Job]:
        """Return the jobs of this shard."""
        return all_jobs(self.entries, self.suite)[self._share]

    def _weights(self, folder: RunFolder, job: Job) -> Path:
        from agents.runs.folder import TrainingFolder
        from benchmarks.training import note_training, train, training_note

        entry, seed, _ = job
        path = folder.training(entry.name, seed)
        if entry.trained_here and not training_note(folder, entry.name, seed).exists():
            budget = self.budgets[entry.name]
            print(f"{entry.name}, seed {seed}: training for {budget}", file=sys.stderr)
            objects = self._objects() | {"dataset": self.train_prompts}
            train(entry, seed, path, self.suite, budget, self.device, **objects)
        training = entry.policies.get(seed) or TrainingFolder(path)
        return note_training(folder, entry.name, seed, training)

    def _settings(self) -> dict[str, Any]:
        """Return the settings, except the generator's, that results in one folder must share."""
        rules = dataclasses.asdict(self.suite)
        del rules["tags"]
        return {
            "suite": rules.pop("id"),
            **{name: list(v) if isinstance(v, tuple) else v for name, v in rules.items()},
            "checksums": {split: self.checksums[split] for split in self.suite.splits},
            "agents": {entry.name: self._meaning(entry) for entry in self.entries},
        }

    def _meaning(self, entry: Entry) -> str:
        """Return the meaning of a name in the table, with data and budget of trained agents."""
        meaning = entry.spec
        if entry.trained_here:
            meaning += f", train {self.checksums['train']}, {self.budgets[entry.name]}"
        elif entry.policies:
            own = (entry.policies[seed].digest()[:12] for seed in entry.seeds(self.suite.seeds))
            meaning += f", policies {', '.join(own)}"
        if entry.rate is not None:
            meaning += f", rate {entry.rate:g}"
        if entry.ranks_by is not None:
            meaning += RANKS_BY + (entry.ranks_by or f"the generator {self.suite.generator}")
        return meaning + ORACLE if entry.oracle else meaning

    def _objects(self) -> dict[str, Any]:
        """Return the shared arguments of `pcrl_gym.make_task` for training and evaluation."""
        assert self.generator is not None
        # All agents and seeds share the same original prompts.
        cache = self.cache if self.generator.fingerprint else None
        return {"generator": self.generator, "tokenizer": self.suite.tokenizer, "cache": cache}
