"""micro: a procedural instruction set and the prompts that its two tiny generators answer."""

from pathlib import Path
from typing import Literal

from pcrl_gym.micro.tasks import CHECKSUMS, micro_prompts

__all__ = ["CHECKSUMS", "micro_prompts", "weights_folder"]


def weights_folder(kind: Literal["causal", "seq2seq"]) -> Path:
    """The Hugging Face folder of a shipped generator, whose tokenizer is the policy's default."""
    return Path(__file__).parent / "weights" / kind
