"""instruct: instruction prompts as a chat model writes its users' turns, and hand-written ones.

`data` reads the prompts that the package ships; `write` says how the first ones were made.
"""

from pathlib import Path

from pcrl_gym.instruct.data import CHECKSUMS, instruct_prompts

__all__ = ["CHECKSUMS", "instruct_prompts", "policy_folder"]


def policy_folder() -> Path:
    """Return the folder of the policy that was trained on these prompts and on others."""
    return Path(__file__).parent / "policy"
