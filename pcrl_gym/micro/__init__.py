"""micro: a procedural instruction set and the prompts that its two tiny generators answer."""

from pcrl_gym.micro.tasks import CHECKSUMS, micro_prompts

__all__ = ["CHECKSUMS", "micro_prompts"]
