"""IFEval constraints satisfied by an answer, checked with the package `if-verifiable`.

Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models",
https://arxiv.org/abs/2311.07911.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.util import find_spec

from pcrl_gym.errors import MissingExtraError
from pcrl_gym.prompts.prompt import Prompt

CHECK = "ifeval:"
"""Prefix of the check of an IFEval prompt, followed by its constraints as JSON."""


def check_installed(prompt: Prompt) -> None:
    """Check that `if-verifiable` is installed and knows the constraints of a prompt.

    Raises:
        MissingExtraError: If it is not installed.
        ValueError: If a constraint is unknown.
    """
    if find_spec("if_verifiable") is None:
        raise MissingExtraError("IFEval's checks need if-verifiable: pip install -e '.[ifeval]'")
    from if_verifiable.ifeval import INSTRUCTION_DICT

    constraints = json.loads(prompt.check.removeprefix(CHECK))
    ids, settings = constraints["ids"], constraints["kwargs"]
    if not (isinstance(ids, list) and isinstance(settings, list) and len(ids) == len(settings)):
        raise ValueError(
            f"expected equally long lists of constraints and settings, got {constraints}"
        )
    if unknown := sorted(set(ids) - set(INSTRUCTION_DICT)):
        raise ValueError(f"unknown constraints {', '.join(unknown)}")


@lru_cache(maxsize=4096)  # every agent's evaluation needs the original answers
def constraints_kept(prompt: Prompt, answer: str) -> list[bool]:
    """Return whether an answer satisfies each constraint of a prompt; [] for other prompts.

    Checks are strict, on the unmodified answer. Without NLTK's sentence splitter, checks that need
    it are left out; `python -m nltk.downloader punkt punkt_tab` installs it.
    """
    if not prompt.check.startswith(CHECK):
        return []
    from if_verifiable.ifeval import INSTRUCTION_DICT
    from langdetect import DetectorFactory

    DetectorFactory.seed = 0  # it is random, and nothing else here uses it
    constraints = json.loads(prompt.check.removeprefix(CHECK))
    found = []
    for name, settings in zip(constraints["ids"], constraints["kwargs"], strict=True):
        checker = INSTRUCTION_DICT[name](name)
        checker.build_description(**{k: v for k, v in settings.items() if v is not None})
        if settings.get("letter"):  # the library replaces "#" and "!" with a random letter
            checker._letter = settings["letter"].lower()
        if "prompt" in (checker.get_instruction_args() or ()):
            checker.build_description(prompt=prompt.instruction)
        try:
            follows = checker.check_following(answer if answer.strip() else "-")
        except LookupError:  # NLTK data is not installed
            continue
        found.append(bool(answer.strip()) and bool(follows))
    return found
