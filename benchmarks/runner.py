"""A benchmark run: data and generator loaded, agents trained and evaluated into a result folder."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.budget import TrainingBudget, default_episodes
from benchmarks.cluster.jobs import Job, all_jobs
from benchmarks.cluster.shard import WHOLE, Shard
from benchmarks.data_checks import check_data, check_held_out
from benchmarks.evaluate import AnsweredReward, attach, evaluate
from benchmarks.provenance import record_run
from benchmarks.records import ORACLE, RANKS_BY, RunFolder, check_settings
from benchmarks.roster import Entry
from benchmarks.suites import Suite
from benchmarks.tables import Row, write_leaderboard
from pcrl_gym.errors import RunFolderError
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.progress import progress_bar
from pcrl_gym.prompts.datasets import dataset_checksum, pick_evenly
from pcrl_gym.prompts.template import ChatTemplate, check_template, make_template
from pcrl_gym.scoring.rewards import make_reward, with_measure

if TYPE_CHECKING:
    from pcrl_gym.envs.task import Task
    from pcrl_gym.generators.base import Generator
    from pcrl_gym.prompts.prompt import Prompt


_TASK = ("template", "tokenizer", "unit", "max_units", "max_new_tokens")
"""What a suite's tasks take from it under the same name."""


class Benchmark:
    """Evaluates agents on a suite: build it, `prepare` it, `run` it or `do` its `jobs`.

    Building one reads the data and checks everything that can be checked without the generator.
    Pickled, it is as it was built: another process prepares it for itself.

    Args:
        suite: What is evaluated.
        entries: Agents to evaluate, see `benchmarks.roster.find_agents`.
        out: Result folder, new or with the same settings.
        train_minutes, train_episodes: training per trainable agent and seed, see
            `benchmarks.budget.TrainingBudget`; without both, `default_episodes` of that module.
        shard: The part of the work that is done here; `benchmarks.cluster.merge` joins the folders.
        device: Where the generator runs: "auto", "cpu", "cuda", ...
        generator: The generator the suite names, where that is an object or loaded already.
        answers: File for the generator's answers, which other runs may share; None: answers.db in
            the result folder.

    Raises:
        DatasetError: If a split cannot be read.
        RunFolderError: If the folder holds results of other settings, or something else.
        ValueError: If the reward is unknown, the budget is not positive, or a trainable agent has
            no budget, no training split or one that is evaluated (for a frozen suite a single
            prompt is enough).
    """

    def __init__(
        self,
        suite: Suite,
        entries: Sequence[Entry],
        out: str | Path,
        *,
        train_minutes: float | None = None,
        train_episodes: int | Mapping[str, int] | None = None,
        shard: Shard = WHOLE,
        device: str = "auto",
        generator: Generator | None = None,
        answers: Path | None = None,
    ) -> None:
        if suite.dataset is None or suite.generator is None:
            raise ValueError(f"Suite {suite.id} needs your own dataset and generator")
        self.suite = suite
        self.entries = list(entries)
        self.out = Path(out)
        if train_minutes is None and train_episodes is None:
            train_episodes = default_episodes(entry.name for entry in self.entries)
        self.budget = TrainingBudget(train_minutes, train_episodes)
        self.shard = shard
        self.device = device
        self.reward = with_measure(make_reward(suite.reward), suite.measure)
        check_template(suite.template)
        print(f"Reading {suite.dataset} ...", file=sys.stderr)
        self.prompts = {split: load_prompts(suite.dataset, split) for split in suite.splits}
        self.checksums = {split: dataset_checksum(own) for split, own in self.prompts.items()}
        check_data(suite, self.checksums)
        self.train_prompts: list[Prompt] = []
        trainable = [entry.name for entry in self.entries if entry.trained_here]
        if trainable:
            self.budget.check(trainable)
            self._load_train_prompts(", ".join(trainable))
        if policies := [one for entry in self.entries for one in entry.policies.values()]:
            from benchmarks.policies import trained_on

            for run, prompts in trained_on(policies):
                check_held_out(run, prompts, self.prompts, suite)
        check_settings(self.out, self._settings())
        self.generator = self._given = generator
        self.answers = answers or self.out / "answers.db"
        self._tasks: dict[str, Task] = {}
        self._folder: RunFolder | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"generator": self._given, "_tasks": {}, "_folder": None}

    def prepare(self, record: bool = True) -> RunFolder:
        """Load the generator, build the episodes and open the result folder, unless that is done.

        Args:
            record: Whether to add this run to the folder's provenance: once for all its processes.

        Returns:
            The folder.

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
            self.generator = load_generator(
                self.suite.generator,
                device=self.device,
                dtype=self.suite.dtype,
                cache=self.answers,
            )
        settings = self._settings() | {
            "generator_name": self.generator.name,
            "generator_fingerprint": self._fingerprint,
        }
        template = make_template(self.suite.template, self.generator.tokenizer)
        if isinstance(template, ChatTemplate):
            settings["template_frame"] = list(template.frame)
        check_settings(self.out, settings)
        options = self._options() | {"reward": AnsweredReward(self.reward, self.suite.measure)}
        for split, prompts in self.prompts.items():
            picked = [prompts[index] for index in pick_evenly(len(prompts), self.suite.limit)]
            self._tasks[split] = make_task(dataset=picked, split=split, **options)
        for entry in self.entries:
            if entry.ranks_by is not None:  # a generator without such a model is refused now
                attach(entry.build(0), next(iter(self._tasks.values())))
        self._folder = folder = RunFolder.open(self.out, settings)
        run = {
            "agents": [entry.name for entry in self.entries],
            "shard": str(self.shard),
            **{
                what: str(getattr(getattr(self.generator, "model", None), what, "unknown"))
                for what in ("device", "dtype")
            },
            "checksums": self.checksums,
            "prompts": {split: len(task.episodes) for split, task in self._tasks.items()},
            "skipped_prompts": {s: list(task.skipped_prompts) for s, task in self._tasks.items()},
        }
        if record:
            record_run(folder, run)
        return folder

    def run(self) -> list[Row]:
        """Evaluate everything that the folder does not hold yet, and write its leaderboard.

        Returns:
            The leaderboard's rows, those of earlier runs included.

        Raises:
            AgentError: If an agent returned no keep masks.
            TrainingError: If an agent made no update in its training, or diverged.
            RunFolderError: If a trained agent is missing in the run that it comes from.
            GeneratorError: If the generator failed. Finished parts are kept.
        """
        folder = self.prepare()
        todo = [(job, splits) for job in self.jobs() if (splits := job.unfinished(folder))]
        total = sum(len(self._tasks[split].episodes) for _, splits in todo for split in splits)
        # No smoothing: the time left is by the whole run, its training included.
        with progress_bar(total=total, unit="prompt", smoothing=0, disable=not todo) as bar:
            for job, _ in todo:
                self.do(job, bar)
        # Not on the way: it reads all records, and `table` shows what is finished.
        return write_leaderboard(folder)

    def do(self, job: Job, bar: Any = None) -> None:
        """Evaluate a job's agent, trained first if need be, on the splits without results.

        Args:
            job: One of `jobs`.
            bar: Progress bar over prompts; None: none.

        Raises:
            AgentError, TrainingError, RunFolderError, GeneratorError: If `run` raises one.
        """
        folder = self.prepare()
        bar = progress_bar(disable=True) if bar is None else bar
        entry, seed, _ = job
        trained = self._trained(folder, job) if entry.trainable else None
        for split in job.unfinished(folder):
            # A new agent for every part, so that a resumed run equals an unbroken one.
            agent = entry.build(seed) if trained is None else entry.load(trained)
            records = evaluate(
                agent,
                self._tasks[split],
                name=entry.name,
                split=split,
                seed=seed,
                second_tokenizer=self.suite.second_tokenizer,
            )
            bar.set_description(f"{entry.name}, {split}, seed {seed}")
            with folder.write_part(entry.name, split, seed) as write:
                for record in records:
                    write(record)
                    bar.update()

    def train(self, job: Job) -> None:
        """Train a job's agent, unless it is trained, without an evaluation.

        Raises:
            TrainingError, RunFolderError, GeneratorError: If `run` raises one.
        """
        self._trained(self.prepare(), job)

    def jobs(self) -> list[Job]:
        """Return what this shard does."""
        return self.shard.of(all_jobs(self.entries, self.suite))

    def _trained(self, folder: RunFolder, job: Job) -> Path:
        """Return where the trained agent of a job is, trained now if need be."""
        entry, seed, _ = job
        home = folder if entry.trained_in is None else RunFolder(entry.trained_in)
        trained = home.trained_agent(entry.trained_as, seed)
        if not trained.exists():
            if entry.trained_in is not None:
                raise RunFolderError(f"{home.path} holds no {entry.trained_as} of seed {seed}")
            if entry.policies:
                with folder.write_trained_agent(entry.name, seed) as target:
                    entry.policies[seed].copy_to(target)
            else:
                self._train(folder, entry, seed)
        return trained

    def _train(self, folder: RunFolder, entry: Entry, seed: int) -> None:
        from benchmarks.training import train
        from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv

        def make_env(num_envs: int) -> PromptCompressionVectorEnv:
            options = {"dataset": self.train_prompts, "split": "train", "early_stopping": True}
            return PromptCompressionVectorEnv(num_envs, **self._options() | options)

        train(
            entry,
            seed,
            folder,
            suite=self.suite,
            budget=self.budget,
            device=self.device,
            make_env=make_env,
            identity={
                "prompts": self.checksums["train"],
                "generator": self._fingerprint or self.generator.name,
            },
        )

    def _load_train_prompts(self, trainable: str) -> None:
        try:
            self.train_prompts = load_prompts(self.suite.dataset, "train")
        except (ValueError, OSError) as error:
            raise ValueError(
                f"{trainable} must be trained, and that needs a train split: {error}"
            ) from error
        self.checksums["train"] = dataset_checksum(self.train_prompts)
        check_data(self.suite, self.checksums)
        check_held_out(trainable, self.train_prompts, self.prompts, self.suite)

    def _settings(self) -> dict[str, Any]:
        """Return what must be equal for results to share a folder, as known from the start."""
        suite = self.suite
        rules = {field.name: getattr(suite, field.name) for field in dataclasses.fields(suite)}
        del rules["id"], rules["checksums"], rules["tags"]
        return {
            "suite": suite.id,
            "version": suite.version,
            "dataset": suite.dataset,
            "checksums": {split: self.checksums[split] for split in suite.splits},
            **rules,
            "splits": list(suite.splits),
            "agents": {entry.name: self._meaning(entry) for entry in self.entries},
        }

    def _meaning(self, entry: Entry) -> str:
        """Return what a name in the table stands for; if the agent learns, data and budget too."""
        meaning = entry.spec
        if entry.trained_here:
            meaning += f", train {self.checksums['train']}, {self.budget.describe(entry.name)}"
        elif entry.policies:
            seeds = entry.seeds(self.suite.seeds)
            digests = ", ".join(entry.policies[seed].digest()[:12] for seed in seeds)
            meaning += f", policies {digests}"
        elif entry.trained_in is not None:
            meaning += f", trained in {entry.trained_in.resolve().name}"
        if entry.rate is not None:
            meaning += f", rate {entry.rate:g}"
        if entry.ranks_by is not None:
            meaning += RANKS_BY + (entry.ranks_by or f"the generator {self.suite.generator}")
        return meaning + ORACLE if entry.oracle else meaning

    def _options(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "reward": self.reward,
            **{name: getattr(self.suite, name) for name in _TASK},
            # All agents and seeds meet the same original prompts.
            "cache": self.answers if self._fingerprint else None,
        }

    @property
    def _fingerprint(self) -> str | None:
        return None if self.generator is None else self.generator.fingerprint
