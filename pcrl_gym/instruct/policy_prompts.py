"""Collect the training prompts of the policy `instruct`, not all of which we can redistribute.

    python -m pcrl_gym.instruct.policy_prompts --evals WHEEL --chat FOLDER --t0 FOLDER \
        --questions FOLDER --out FOLDER

The sources are the train split of `instruct`; at most `PER_TASK` prompts per task of OpenAI's evals
(MIT, PyPI wheel `evals`), written by people to find weaknesses of models; prompts for chat models
(CC0) and tasks of T0 (Apache-2.0) from folders with a file `train`, see
`pcrl_gym.named_datasets.load_prompts`; `SHORT` tasks of `short_tasks.txt` with sentences and words
of instruct and T0 as inputs; `FACTS` questions about records of `facts.yaml`; and the questions
about passages that `pcrl_gym.instruct.questions` generated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any
from zipfile import ZipFile

import cyclopts

from pcrl_gym.instruct.data import instruct_prompts
from pcrl_gym.instruct.fact_tasks import fact_tasks
from pcrl_gym.instruct.short_tasks import short_tasks
from pcrl_gym.prompts.datasets import read_prompts
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.storage.atomic import replace_folder

DATA = re.compile(r"evals/registry/data/([^/]+)/.*\.jsonl")
OTHER_LICENSES = (
    "text_compression", "steganography", "schelling_point", "ballots", "sandbagging",
    "theory_of_mind", "already_said_that",
)  # fmt: skip
"""Tasks with a different license according to the license file of evals."""
PER_TASK = 12
T0_PROMPTS = 6_000
SHORT = 6_000
FACTS = 4_000
SAMPLED = 200  # lines sampled per file
WORDS = range(6, 141)
MAX_CHARACTERS = 900
LETTERS = 0.75  # minimum fraction of letters and whitespace


def main(*, evals: Path, chat: Path, t0: Path, questions: Path, out: Path, seed: int = 0) -> None:
    """Write `train.jsonl` into a new folder.

    Args:
        evals: The file `evals-3.0.1.post1-py3-none-any.whl` (`pip download --no-deps evals`).
        chat: Folder with prompts for chat models.
        t0: Folder with tasks of T0.
        questions: Folder `prompts` that `pcrl_gym.instruct.questions` wrote.
        out: New folder.
        seed: Seed for sampling and shuffling.
    """
    if out.exists():
        raise SystemExit(f"{out} exists: give another folder, or remove it")
    rng = Random(seed)
    parts = {
        "instruct": instruct_prompts("train"),
        "evals": list(evals_prompts(evals, rng)),
        "chat": read_prompts(chat, "train"),
        "t0": rng.sample(tasks := read_prompts(t0, "train"), min(len(tasks), T0_PROMPTS)),
    }
    sources = [f"{p.instruction} {p.input}" for name in ("instruct", "t0") for p in parts[name]]
    parts["short"] = list(short_tasks(sources, SHORT, rng))
    parts["questions"] = read_prompts(questions, "train")
    parts["facts"] = list(fact_tasks(FACTS, rng))
    found: dict[tuple[str, str], dict[str, str]] = {}
    for name, prompts in parts.items():
        before = len(found)
        for prompt in prompts:
            row = {"instruction": prompt.instruction, "input": prompt.input, "source": name}
            found.setdefault((prompt.instruction, prompt.input), row)
        print(f"{name}: {len(found) - before:,} prompts")
    rows = list(found.values())
    rng.shuffle(rows)
    with replace_folder(out) as folder:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "train.jsonl").write_text("".join(lines), encoding="utf-8")


def evals_prompts(wheel: Path, rng: Random) -> Iterator[Prompt]:
    """Yield single-turn prompts of each task that are mostly letters and of moderate length."""
    tasks: dict[str, dict[tuple[str, str], None]] = {}
    with ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            match = DATA.fullmatch(name)
            if match is None or match[1] in OTHER_LICENSES:
                continue
            lines = archive.read(name).decode(errors="replace").splitlines()
            for line in rng.sample(lines, min(len(lines), SAMPLED)):
                pair = _pair(line)
                if pair is not None and _fits(" ".join(pair)):
                    tasks.setdefault(match[1], {})[pair] = None
    for task, pairs in tasks.items():
        for i, pair in enumerate(rng.sample(sorted(pairs), min(len(pairs), PER_TASK))):
            yield Prompt(f"{task}:{i}", *pair, source=task)


def _pair(line: str) -> tuple[str, str] | None:
    """Return the system and user messages of a sample, or None if it is not a single turn.

    Example:
        >>> _pair('{"input": "1 + 2?"}'), _pair("no JSON")
        (('1 + 2?', ''), None)
    """
    try:
        given: Any = json.loads(line)["input"]
    except (ValueError, TypeError, KeyError):
        return None
    if isinstance(given, str):
        return given, ""
    try:
        turns = [(turn["role"], turn["content"]) for turn in given]
    except (TypeError, KeyError):
        return None
    texts: Sequence[Any] = [content for _, content in turns]
    roles = [role for role, _ in turns]
    if not all(isinstance(text, str) for text in texts):
        return None
    if roles in (["system", "user"], ["system", "system"]):
        return texts[0], texts[1]
    return (texts[0], "") if roles in (["user"], ["system"]) else None


def _fits(text: str) -> bool:
    letters = sum(c.isascii() and (c.isalpha() or c.isspace()) for c in text)
    return (
        len(text.split()) in WORDS
        and len(text) <= MAX_CHARACTERS
        and letters >= LETTERS * len(text)
    )


if __name__ == "__main__":
    cyclopts.run(main)
