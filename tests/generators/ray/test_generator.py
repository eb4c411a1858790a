from __future__ import annotations

import builtins
import dataclasses
import gc
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from env_fixtures import ID, PROMPTS
from fakes import first_and_last_word
from pcrl_gym.envs.task import make_task
from pcrl_gym.errors import GeneratorError, MissingExtraError, PromptTooLongError
from pcrl_gym.generators.base import Answer, DraftingGenerator
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.generators.ray.generator import RayGenerator
from pcrl_gym.generators.ray.replica import MAX_PROMPTS, split_by_length
from pcrl_gym.named_datasets import load_prompts
from processes import CAN_TELL, processes_with

ROOT = Path(__file__).parents[3]


# ---- without a cluster


@given(st.lists(st.integers(0, 500), max_size=60), st.integers(1, 5))
def test_each_text_is_in_one_batch_and_batches_are_equal_work(lengths: list[int], replicas: int):
    batches = split_by_length(lengths, replicas)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(batches)
    assert len(batches) <= replicas  # all of it at once
    ordered = [lengths[i] for batch in batches for i in batch]
    assert ordered == sorted(lengths, reverse=True)
    work = [sum(lengths[i] + 1 for i in batch) for batch in batches]
    fair = (sum(lengths) + len(lengths)) / replicas
    assert all(w <= fair + max(lengths) + 1 for w in work)


def test_many_texts_make_rounds_of_batches():
    batches = split_by_length([7] * (MAX_PROMPTS * 2 + 1), replicas=2)
    assert len(batches) == 4
    assert split_by_length([], replicas=3) == []


@pytest.mark.parametrize(
    "spec", ["ray:", "ray:ray:micro", "ray:openai:m@http://h/v1", "ray:micro?copies=2",
             "ray:micro?replicas=two", "ray:micro?replicas", "ray:micro?replicas=0"],
)  # fmt: skip
def test_short_forms_that_are_wrong_say_what_is_expected(spec: str):
    with pytest.raises(ValueError, match="expected"):
        load_generator(spec)


@pytest.mark.parametrize(
    "options", [{"replicas": 1.5}, {"num_cpus": -1}, {"num_gpus": -1}, {"retries": -1}]
)
def test_arguments_out_of_range_are_refused(options: dict):
    with pytest.raises(ValueError, match="expected"):
        RayGenerator("micro", **options)


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == "ray" and not args[-1]:  # not the module of ours
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'pcrl-gym\[ray\]'"):
        load_generator("ray:micro")


# ---- on a cluster: starting it and its processes takes some ten seconds


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A local cluster for all tests, so that not each of them starts one."""
    pytest.importorskip("ray")
    from pcrl_gym.generators.ray.cluster import connected

    with connected() as ray:
        yield ray


@pytest.fixture(scope="module")
def local() -> HFGenerator:
    return load_generator("micro", device="cpu")


@pytest.fixture(scope="module")
def micro(cluster: Any) -> Iterator[RayGenerator]:
    with load_generator("ray:micro?replicas=2&num_cpus=0.5") as generator:
        yield generator


@pytest.fixture
def mortal(cluster: Any, tmp_path: Path) -> Iterator[RayGenerator]:
    from ray_fakes import MortalFake

    fake = MortalFake(tmp_path / "deaths", deaths=1)
    with RayGenerator(fake, replicas=2, num_cpus=0.5, retries=2) as generator:
        yield generator


def deaths(tmp_path: Path) -> int:
    diary = tmp_path / "deaths"
    return len(diary.read_text()) if diary.exists() else 0


def rollout(generator: Any, steps: int = 3, **options: Any) -> list[dict[str, Any]]:
    """Steps of a vector environment with random masks."""
    prompts = load_prompts("micro", "train")[:32]
    envs = gym.make_vec(ID, num_envs=16, dataset=prompts, generator=generator, **options)
    rng = np.random.default_rng(0)
    envs.reset(seed=1)
    found = []
    for _ in range(steps):
        _, rewards, *_, info = envs.step(rng.random(envs.action_space.shape) < 0.85)
        final = info["final_info"]
        found.append({k: v for k, v in final.items() if not k.startswith("_")} | {"r": rewards})
    envs.close()
    return found


def assert_equal(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    assert [step.keys() for step in one] == [step.keys() for step in other]
    for mine, theirs in zip(one, other, strict=True):
        for key, values in mine.items():
            np.testing.assert_array_equal(values, theirs[key], err_msg=key)


@pytest.mark.slow
def test_it_tells_what_the_hosted_generator_tells(micro: RayGenerator, local: HFGenerator):
    assert isinstance(micro, DraftingGenerator)
    assert (micro.name, micro.replicas) == ("micro", 2)
    assert micro.max_prompt_tokens == local.max_prompt_tokens
    assert micro.fingerprint == local.fingerprint
    assert micro.gives_likelihoods
    assert micro.tokenizer.get_vocab() == local.tokenizer.get_vocab()
    assert repr(micro) == "RayGenerator('micro', replicas=2)"


@pytest.mark.slow
def test_answers_are_those_in_process_token_for_token(micro: RayGenerator, local: HFGenerator):
    prompts = [f"Instruction: {p.instruction}\nOutput: \n" for p in load_prompts("micro", "train")]
    prompts = [*prompts[:70], "", prompts[0]]
    expected = local.generate(prompts, 12)
    assert micro.generate(prompts, 12) == expected
    assert len({answer.token_ids for answer in expected}) > 30
    assert micro.generate_from(prompts, expected[::-1], 12) == expected
    assert micro.count_tokens(prompts) == local.count_tokens(prompts)
    np.testing.assert_allclose(
        micro.log_likelihood(prompts, expected), local.log_likelihood(prompts, expected), atol=1e-5
    )
    assert micro.generate([], 5) == micro.count_tokens([]) == []


@pytest.mark.slow
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_vector_environment_pays_the_same(
    micro: RayGenerator, local: HFGenerator, early_stopping: bool
):
    expected = rollout(local, early_stopping=early_stopping)
    assert_equal(rollout(micro, early_stopping=early_stopping), expected)
    rewards = np.concatenate([step["r"] for step in expected])
    assert len(np.unique(rewards)) > 10
    partial = np.concatenate([step["partial"] for step in expected])
    assert partial.any() == early_stopping  # answers stop early over there, too


@pytest.mark.slow
def test_an_update_of_scst_takes_the_same_step(micro: RayGenerator, local: HFGenerator):
    from agents.scst import SCSTAgent

    def learned(generator: Any) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
        agent = SCSTAgent(seed=3, batch_size=8, samples=3, baseline="greedy")
        history = agent.train(
            lambda n: gym.make_vec(
                ID, num_envs=n, dataset=load_prompts("micro", "train")[:16], generator=generator
            ),
            episodes=1,
            progress=False,
        )
        timeless = [{k: v for k, v in row.items() if k != "seconds"} for row in history]
        return timeless, agent.network.state_dict()

    (history, weights), (expected, others) = learned(micro), learned(local)
    assert len(history) == 1
    assert history == expected
    assert history[0]["reward"] != 0.0
    assert all(torch.equal(weights[name], others[name]) for name in others)


@pytest.mark.slow
def test_what_the_hosted_generator_raises_is_raised(mortal: RayGenerator, micro: RayGenerator):
    with pytest.raises(PromptTooLongError, match="exceeds the context of 'micro'"):
        micro.generate(["fine", "long " * 2000], 5)
    with pytest.raises(GeneratorError, match="it refuses") as raised:
        mortal.generate(["fine", "a refused one"], 5)
    assert raised.value.prompt == "refused"
    with pytest.raises(KeyError):
        mortal.generate(["a broken one"], 5)
    assert [a.text for a in mortal.generate(["one two three"], 5)] == ["one three"]
    for wrong in (lambda: micro.generate([], 0), lambda: micro.generate_from(["a"], [], 5)):
        with pytest.raises(ValueError, match="got"):
            wrong()


@pytest.mark.slow
def test_a_replica_killed_in_mid_run_costs_no_reward(
    cluster: Any, local: HFGenerator, tmp_path: Path
):
    from ray_fakes import MortalDrafter

    expected = rollout(local, early_stopping=True)
    # A word that stands in a compressed prompt of the second step and in none of the first.
    first, second = (" ".join(step["compressed_prompt"]).split() for step in expected[:2])
    fatal = next(word for word in second if len(word) > 4 and word not in " ".join(first))
    hosted = MortalDrafter(local, fatal, tmp_path / "deaths")
    with RayGenerator(hosted, replicas=2, num_cpus=0.5) as generator:
        assert_equal(rollout(generator, early_stopping=True), expected)
    assert deaths(tmp_path) == 1


@pytest.mark.slow
def test_a_replica_killed_from_outside_is_replaced(mortal: RayGenerator):
    before = {answer.text for answer in mortal.generate([f"pid {n}" for n in range(40)], 5)}
    assert 1 <= len(before) <= 2
    for pid in before:
        os.kill(int(pid), signal.SIGKILL)
    prompts = [f"{n} and {n + 1}" for n in range(40)]
    assert [a.text for a in mortal.generate(prompts, 5)] == list(map(first_and_last_word, prompts))
    assert not before & {a.text for a in mortal.generate([f"pid {n}" for n in range(40)], 5)}


@pytest.mark.slow
def test_after_the_retries_an_error_names_the_prompts_and_others_are_answered(
    cluster: Any, tmp_path: Path
):
    from ray_fakes import MortalFake

    fake = MortalFake(tmp_path / "deaths", deaths=99)
    with RayGenerator(fake, replicas=2, num_cpus=0.5, retries=1) as generator:
        # The longer ones are in the batch of the fatal one.
        prompts = ["a fatal prompt of this length", "x y", *[f"{n} is long enough" for n in (1, 2)]]
        with pytest.raises(GeneratorError, match=r"died 2 times, .*Actor") as raised:
            generator.generate(prompts, 5)
        assert deaths(tmp_path) == 2
        assert prompts[0] in raised.value.prompts
        assert set(raised.value.prompts) < set(prompts)
        assert "'a fatal prompt of this length'" in str(raised.value)
        assert [a.text for a in generator.generate(prompts[1:], 5)] == [
            "x y",
            "1 enough",
            "2 enough",
        ]

        fatal = dataclasses.replace(PROMPTS[0], id="worst", input="a fatal word")
        task = make_task(dataset=[*PROMPTS, fatal], generator=generator, tokenizer="micro")
        whole = np.ones(task.max_units, bool)
        with pytest.raises(GeneratorError, match="prompt 'worst': a replica of 'counting' was"):
            task.scorer(task.episodes.take([len(PROMPTS)]), [whole])
        assert task.scorer(task.episodes.take([2]), [whole]).similarity.tolist() == [1.0]


@pytest.mark.slow
def test_answers_are_kept_on_disk_by_the_hosted_fingerprint(mortal: RayGenerator, tmp_path: Path):
    from ray_fakes import MortalFake

    here = MortalFake(tmp_path / "other", deaths=0)
    for generator in (mortal, here):
        task = make_task(
            dataset=PROMPTS, generator=generator, tokenizer="micro", cache=tmp_path / "answers.db"
        )
        task.scorer(task.episodes.take([0, 1]), [np.ones(128, bool)] * 2)
    assert here.prompts == []  # answered by the replicas before


@pytest.mark.slow
def test_generators_that_cannot_be_hosted_are_refused(cluster: Any, tmp_path: Path):
    with pytest.raises(ValueError, match="cannot load generator"):
        RayGenerator(tmp_path / "nothing")
    with pytest.raises(
        ValueError, match="local Ray cluster is too small: 64 replicas need 64 CPUs"
    ):
        RayGenerator("micro", replicas=64)
    with pytest.raises(ValueError, match=r"1 GPUs \(it has 0\)"):
        RayGenerator("micro", num_gpus=1)
    with pytest.raises(ValueError, match="unknown generator"):
        RayGenerator(object())


@pytest.mark.slow
def test_a_closed_generator_says_so(cluster: Any, tmp_path: Path):
    from ray_fakes import MortalFake

    generator = RayGenerator(MortalFake(tmp_path / "deaths", 0), num_cpus=0.5)
    generator.close()
    generator.close()
    with pytest.raises(GeneratorError, match="is closed"):
        generator.generate(["a"], 5)
    with pytest.raises(GeneratorError, match="is closed"):
        generator.generate_from(["a"], [Answer("a")], 5)
    assert cluster.is_initialized()  # the fixture still uses it


SCRIPT = """
import os, sys
from pcrl_gym.generators.ray.generator import RayGenerator

before = dict(os.environ)
def make():
    generator = RayGenerator("micro", num_cpus=0.5)
    assert generator.generate(["a"], 3)
    return generator
kept = make()
kept.close()
import ray
assert not ray.is_initialized()
assert dict(os.environ) == before | {"RAY_CLIENT_MODE": "0"}, set(os.environ) ^ set(before)
kept = make()
print("left open" if len(sys.argv) == 1 else "closed by Ray", flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not CAN_TELL, reason="needs /proc")
def test_nothing_is_left_running_and_the_home_folder_stays_empty(tmp_path: Path):
    pytest.importorskip("ray")
    mark = f"PCRL_GYM_TEST={tmp_path}"
    environment = {**os.environ, "HOME": str(tmp_path), "PCRL_GYM_TEST": str(tmp_path)}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "left open\n"
    assert processes_with(mark) == []
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.slow
def test_a_running_cluster_is_used_and_left_running(cluster: Any, micro: RayGenerator):
    address = cluster.get_runtime_context().gcs_address
    script = (
        "from pcrl_gym.generators.ray.generator import RayGenerator\n"
        "with RayGenerator('micro', num_cpus=0.5) as generator:\n"
        "    import ray; print(ray.get_runtime_context().gcs_address)\n"
        "    print(generator.generate(['a b c'], 5)[0].token_ids)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "RAY_ADDRESS": address, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = micro.generate(["a b c"], 5)[0].token_ids  # this cluster still works
    assert done.stdout == f"{address}\n{expected}\n"


@pytest.mark.slow
def test_the_examples_in_the_manual_run(cluster: Any):
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```py\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    assert len(examples) == 2
    names: dict[str, Any] = {}
    for code in examples:
        exec(code.replace("replicas=2", "replicas=1"), names)
        assert len(names["observations"]["input_ids"]) == 64
        names.pop("envs").close()
        gc.collect()  # ends the first one's replica, whose CPU the second one needs
    assert (names["rewards"] == 0).all()
