"""Evaluation of a micro generator, and its model card."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.micro_training.model import Config, prompt_text
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.micro import CHECKSUMS, micro_prompts
from pcrl_gym.prompts.prompt import Prompt

MAX_NEW_TOKENS = 30
GOALS = {"validation_seen": 0.97, "validation_unseen": 0.95, "validation_human": 0.80}


def exact_match(generator: HFGenerator, prompts: list[Prompt]) -> dict[str, float]:
    """Return the shares of greedy answers equal to the gold ones, "all" and by family."""
    from pandas import Series

    answers = generator.generate([prompt_text(p) for p in prompts], MAX_NEW_TOKENS)
    hits = Series([a.text == p.output for p, a in zip(prompts, answers, strict=True)])
    families = hits.groupby([p.source.split("/")[0] for p in prompts], sort=False)
    return {"all": float(hits.mean()), **families.mean().to_dict()}


def make_report(config: Config, generator: HFGenerator, seconds: float) -> dict[str, Any]:
    """Return the contents of `training.json`, which is stored with the weights."""
    cores = f"{torch.get_num_threads()} of {os.cpu_count()} CPU cores ({platform.machine()})"
    return {
        "command": " ".join(["python -m benchmarks.micro_training.train", *sys.argv[1:]]),
        "config": asdict(config),
        "parameters": generator.model.num_parameters(),
        "seconds": round(seconds),
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else cores,
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
        "train_sha256": CHECKSUMS["train"],
        "splits": {
            split: {
                "prompts": len(prompts := micro_prompts(split)),
                "sha256": CHECKSUMS[split],
                "exact_match": exact_match(generator, prompts),
            }
            for split in GOALS
        },
    }


def card(config: Config, report: dict[str, Any]) -> str:
    """Return the model card, from the report of the run."""
    rows = [
        f"| {split} | {found['prompts']} | {100 * found['exact_match']['all']:.1f}% "
        f"| {100 * GOALS[split]:.0f}% | `{found['sha256'][:16]}` |"
        for split, found in report["splits"].items()
    ]
    template = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    return template.format(
        config=config,
        family="GPT-2" if config.kind == "causal" else "T5",
        limit=MAX_NEW_TOKENS,
        minutes=report["seconds"] / 60,
        report=report,
        rows="\n".join(rows),
    )
