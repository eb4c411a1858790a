"""micro: a procedural instruction set and the prompts that its two tiny generators answer."""

from pcrl_gym.micro.tasks import micro_prompts

__all__ = ["micro_prompts"]
