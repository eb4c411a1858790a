"""Configurations of training runs: files, `--set`, and what is wrong with them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from agents.runs.config import BudgetConfig, TaskConfig
from agents.runs.config_file import CONFIGS, config_names, load_config
from pcrl_gym.envs.options import TaskOptions

BUDGET = "run.updates=5"


@pytest.mark.parametrize("name", config_names())
def test_every_configuration_that_comes_with_the_project_can_be_read(name: str):
    stored = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))
    config = load_config(stored["name"], name)
    assert config.agent.lr < 1
    assert (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").startswith("# ")


def test_settings_are_stronger_than_the_file_and_seed_is_an_argument(tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_text("agent: {lr: 0.5, samples: 4}\nrun: {updates: 7}\nseed: 9\n")
    config = load_config("scst", file, ["lr=1e-4", "agent.samples=6"])
    assert (config.agent.lr, config.agent.samples, config.run.updates) == (1e-4, 6, 7)
    assert config.seed == 9
    assert load_config("scst", file, seed=2).seed == 2
    named = load_config("scst:samples=8,lr=0.1", file, ["lr=1e-4"])
    assert (named.name, named.agent.samples, named.agent.lr) == ("scst", 8, 1e-4)
    with pytest.raises(ValueError, match=r"key 'agent\.sample'; did you mean agent\.samples"):
        load_config("scst:sample=8", file)


def test_a_stored_configuration_is_read_back_as_it_was(tmp_path: Path):
    config = load_config("ppo", None, [BUDGET, "lr=2e-4", "force_keep=[now, '1']"], seed=4)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config.to_mapping()))
    assert load_config("ppo", file) == config
    with pytest.raises(ValueError, match=r"is for the agent 'ppo', not for 'scst'"):
        load_config("scst", file)


def test_the_task_has_the_options_and_defaults_of_the_environment():
    defaults = {field.name: field.default for field in dataclasses.fields(TaskOptions)}
    fields = {field.name: field.default for field in dataclasses.fields(TaskConfig)}
    # Training stops answers early, everything else sees whole ones.
    assert fields == defaults | {"early_stopping": True}
    stored = load_config("scst", settings=[BUDGET]).to_mapping()["task"]
    assert list(stored) == [name for name in defaults if name != "max_steps"]


def test_an_option_out_of_range_is_refused_before_the_run():
    with pytest.raises(ValueError, match=r"task: expected max_units to be an integer >= 1, got 0"):
        load_config("scst", settings=[BUDGET, "max_units=0"])
    with pytest.raises(ValueError, match=r"unknown key 'max_steps'"):
        load_config("scst", settings=[BUDGET, "max_steps=2"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["learning_rate=1"], r"unknown key 'learning_rate'"),
        (["lrr=1"], r"unknown key 'lrr'; did you mean agent\.lr"),
        (["task.batch=1"], r"unknown key 'task\.batch'; did you mean .*task\.batch_size"),
        (["batch_size=1"], r"ambiguous: write agent\.batch_size or task\.batch_size"),
        (["lr"], r"--set: expected key=value, got 'lr'"),
        (["lr=fast"], r"agent\.lr: expected a valid number, .* got 'fast'"),
        (["lr=.nan"], r"agent\.lr: expected a finite number, got nan"),
        (["lr=true"], r"agent\.lr: expected a valid number, got True"),
        (["samples=2.5"], r"agent\.samples: expected a valid integer, .* got 2\.5"),
        (["head_size=wide"], r"agent\.head_size: expected a valid integer, .* got 'wide'"),
        (["baseline=best"], r"agent\.baseline: expected 'greedy' or 'leave_one_out', got 'best'"),
        (["dataset=12"], r"task\.dataset: expected a valid string, got 12; put it in quotes"),
        (["freeze_encoder=1"], r"expected a valid boolean, got 1"),
        (["lr=[1"], r"--set lr=\[1: invalid YAML"),
        (["loggers=[paper]"], r"run\.loggers: expected 'jsonl', 'tensorboard'"),
        (["checkpoint_every=0"], r"run\.checkpoint_every: expected greater than 0, got 0"),
        (["samples=1"], r"needs samples >= 2, got 1"),
    ],
)
def test_a_wrong_setting_is_named(settings: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        load_config("scst", None, [BUDGET, *settings])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agents: {lr: 1}", r"expected the sections agent, task, run .* got 'agents'"),
        ("agent: {rl: 1}", r"unknown key 'agent\.rl'; did you mean agent\.lr"),
        ("agent: 3", r"got 'agent'"),
        ("- 1", r"expected the sections agent, task and run, got \[1\]"),
        ("a: [", r"invalid YAML"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, message: str):
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_config("scst", file, [BUDGET])


def test_files_agents_and_budgets_that_are_not_there_are_missed():
    with pytest.raises(ValueError, match=r"no file or configuration 'nowhere'; .* scst-micro"):
        load_config("scst", "nowhere")
    with pytest.raises(ValueError, match=r"agent 'random' does not learn"):
        load_config("random")


@pytest.mark.parametrize(
    ("settings", "episodes"), [((), 32_768), (("minutes=5",), None), (("minutes=null",), 32_768)]
)
def test_the_budget_is_the_agents_own_by_default(settings: tuple[str, ...], episodes: int | None):
    assert load_config("scst", settings=settings).run.episodes == episodes
    assert load_config("run_agents:TinyAgent", settings=["updates=3"]).run.episodes is None
    with pytest.raises(ValueError, match=r"needs a budget: set run\.episodes"):
        BudgetConfig()


def test_an_agent_without_a_config_class_takes_its_arguments():
    config = load_config("bench_agents:Learner", settings=["dataset=mine"], seed=3)
    assert config.to_mapping()["agent"] == {}
    assert config.run.episodes == 16_384
    with pytest.raises(ValueError, match=r"unknown key 'agent\.seed'"):
        load_config("bench_agents:Learner", settings=["agent.seed=3"])


@pytest.mark.parametrize(
    ("settings", "tokenizer"),
    [
        ((), "micro"),
        (("generator=micro-seq2seq",), "micro-seq2seq"),
        (("generator=ray:gpt2?replicas=4",), "gpt2"),
        (("generator=ray:some/model",), "some/model"),
        (("generator=openai:llama@http://here/v1",), "micro"),
        (("generator=ray:gpt2", "tokenizer=some/encoder"), "some/encoder"),
    ],
)
def test_the_tokenizer_that_is_chosen_is_stored(settings: tuple[str, ...], tokenizer: str):
    config = load_config("scst", settings=[BUDGET, *settings])
    assert config.to_mapping()["task"]["tokenizer"] == tokenizer
