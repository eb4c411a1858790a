"""instruct: instruction prompts as a chat model writes its users' turns, and hand-written ones.

`data` reads the prompts that the package ships; `write` says how the first ones were made.
"""

from pcrl_gym.instruct.data import CHECKSUMS, instruct_prompts

__all__ = ["CHECKSUMS", "instruct_prompts"]
