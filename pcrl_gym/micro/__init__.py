"""micro: a procedural instruction set and the prompts that its two tiny generators answer."""

from pathlib import Path
from typing import Literal

from pcrl_gym.micro.tasks import CHECKSUMS, micro_prompts

__all__ = ["CHECKSUMS", "MICRO", "micro_prompts", "weights_folder"]

MICRO: dict[str, Literal["causal", "seq2seq"]] = {"micro": "causal", "micro-seq2seq": "seq2seq"}
"""Names of the shipped generators and what kind each is."""


def weights_folder(kind: Literal["causal", "seq2seq", "policy"]) -> Path:
    """Return folder of a shipped generator, whose tokenizer is the policy's default, or policy."""
    return Path(__file__).parent / "weights" / kind
