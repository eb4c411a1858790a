"""instruct: instruction prompts from a chat model in place of its user, or written one by one.

`data` reads the prompts that the package ships; `write` generates those of the chat model.
"""

from pathlib import Path

from pcrl_gym.instruct.data import CHECKSUMS, instruct_prompts

__all__ = ["CHECKSUMS", "instruct_prompts", "policy_folder"]


def policy_folder() -> Path:
    """Return the folder of the policy trained on these and other prompts."""
    return Path(__file__).parent / "policy"
