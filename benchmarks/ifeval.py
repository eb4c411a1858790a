"""Constraints of IFEval that an answer keeps, by the checks of the package `if-verifiable`.

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
"""How the check of a prompt of IFEval begins; its constraints follow as JSON."""


@lru_cache(maxsize=4096)  # every agent's evaluation asks for the original answers
def constraints_kept(prompt: Prompt, answer: str) -> list[bool]:
    """Return of each constraint of a prompt whether an answer keeps it; [] for other prompts.

    Each is decided strictly: by the answer as it is. Checks that need NLTK's sentence splitter
    (`python -m nltk.downloader punkt punkt_tab`) are left out where it is not installed.

    Raises:
        MissingExtraError: If `if-verifiable` is not installed.
    """
    if not prompt.check.startswith(CHECK):
        return []
    if find_spec("if_verifiable") is None:
        raise MissingExtraError("IFEval's checks need if-verifiable: pip install if-verifiable")
    from if_verifiable.ifeval import INSTRUCTION_DICT
    from langdetect import DetectorFactory

    DetectorFactory.seed = 0  # it draws, and is used by nothing else here
    constraints = json.loads(prompt.check.removeprefix(CHECK))
    found = []
    for name, settings in zip(constraints["ids"], constraints["kwargs"], strict=True):
        checker = INSTRUCTION_DICT[name](name)
        checker.build_description(**{k: v for k, v in settings.items() if v is not None})
        if "prompt" in (checker.get_instruction_args() or ()):
            checker.build_description(prompt=prompt.instruction)
        try:
            found.append(bool(answer.strip()) and bool(checker.check_following(answer)))
        except LookupError:  # NLTK's, whose data is not there
            continue
    return found
