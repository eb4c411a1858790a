"""micro: procedurally generated instruction prompts, with two tiny generators trained on them."""

from pathlib import Path
from typing import Literal

from pcrl_gym.micro.tasks import CHECKSUMS, micro_prompts

__all__ = ["CHECKSUMS", "MICRO", "micro_prompts", "weights_folder"]

MICRO: dict[str, Literal["causal", "seq2seq"]] = {"micro": "causal", "micro-seq2seq": "seq2seq"}
"""Names and kinds of the shipped generators."""


def weights_folder(kind: Literal["causal", "seq2seq", "policy"]) -> Path:
    """Return the folder of a shipped generator (with the default policy tokenizer) or policy."""
    return Path(__file__).parent / "weights" / kind
