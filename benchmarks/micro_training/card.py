"""How well a micro generator answers, and the model card that says so."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch

from benchmarks.micro_training.model import Config, prompt_text
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.micro.tasks import micro_prompts
from pcrl_gym.prompts.datasets import dataset_checksum
from pcrl_gym.prompts.prompt import Prompt

MAX_NEW_TOKENS = 30
GOALS = {"validation_seen": 0.97, "validation_unseen": 0.95, "validation_human": 0.80}


def exact_match(generator: HFGenerator, prompts: list[Prompt]) -> dict[str, float]:
    """Return the shares of greedy answers that are the gold ones, "all" and by family."""
    answers = generator.generate([prompt_text(p) for p in prompts], MAX_NEW_TOKENS)
    hits: dict[str, list[bool]] = defaultdict(list)
    for prompt, answer in zip(prompts, answers, strict=True):
        for name in ("all", prompt.source.split("/")[0]):
            hits[name].append(answer.text == prompt.output)
    return {name: sum(own) / len(own) for name, own in hits.items()}


def make_report(
    config: Config, generator: HFGenerator, command: str, seconds: float
) -> dict[str, Any]:
    """Return what is kept beside the weights as `training.json`."""
    cores = f"{torch.get_num_threads()} of {os.cpu_count()} CPU cores ({platform.machine()})"
    prompts = {split: micro_prompts(split) for split in ("train", *GOALS)}
    sums = {split: dataset_checksum(own) for split, own in prompts.items()}
    return {
        "command": command,
        "config": asdict(config),
        "parameters": sum(p.numel() for p in generator.model.parameters()),
        "seconds": round(seconds),
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else cores,
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
        "train_sha256": sums["train"],
        "splits": {
            split: {
                "prompts": len(prompts[split]),
                "sha256": sums[split],
                "exact_match": exact_match(generator, prompts[split]),
            }
            for split in GOALS
        },
    }


def card(config: Config, report: dict[str, Any]) -> str:
    """Return the model card, from what the run measured."""
    rows = [
        f"| {split} | {result['prompts']} | {100 * result['exact_match']['all']:.1f} % "
        f"| {100 * GOALS[split]:.0f} % | `{result['sha256'][:16]}` |"
        for split, result in report["splits"].items()
    ]
    family = "GPT-2" if config.kind == "causal" else "T5"
    return f"""---
license: apache-2.0
language: en
---
# micro generator, {config.kind}

A {family}-type model of {report["parameters"]:,} parameters, trained from scratch on micro, the
procedural instruction set of pcrl_gym. It answers micro prompts and nothing else: results on it say
nothing about large language models.

Exact match of greedy answers (float32, at most {MAX_NEW_TOKENS} new tokens):

| split | prompts | exact match | goal | data SHA-256 |
|---|---|---|---|---|
{chr(10).join(rows)}

Made by `{report["command"]}` in {report["seconds"] / 60:.0f} minutes on {report["machine"]}:
{config.steps:,} steps of {config.batch} prompts, half of them with words missing. `training.json`
holds all settings, versions and the exact match of every family.
"""
