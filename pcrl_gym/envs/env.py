"""`PromptCompression-v0`: one instruction prompt per episode, one bit per unit as the action."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from pcrl_gym.envs.base import PromptCompressionBase, check_seed
from pcrl_gym.envs.spaces import Observation, parse_keep_mask
from pcrl_gym.rendering.text import render_frame

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pcrl_gym.envs.options import TaskArguments


class PromptCompressionEnv(PromptCompressionBase, gym.Env[Observation, NDArray[np.int8]]):
    """Shorten a prompt so that a frozen language model still gives the same answer.

    ## Action space
    `MultiBinary(max_units)`: the keep mask; bit i is 1 to keep unit i of the prompt. Protected
    units are always kept, and padding is ignored.

    ## Observation space
    `Dict` of three arrays of shape (max_units,):

    | key | space | meaning |
    |---|---|---|
    | `input_ids` | Box int64 | policy token ID of the unit's first token |
    | `attention_mask` | MultiBinary | 1 where there is a unit that is still in the prompt |
    | `droppable` | MultiBinary | 1 where that unit may be dropped |

    ## Reward
    Set by `reward`. By default, it is the compression ratio if the similarity
    (`scoring.rouge.UNICODE_ROUGE_L`) of the generator's answers to the compressed and the original
    prompt exceeds 0.9, else -0.01.

    ## Episode
    Terminates after `max_steps` steps (never truncated). Edits accumulate: a dropped unit stays
    dropped. The reward is given at the last step; all earlier steps give 0. Prompts are visited in
    a shuffled order that depends on the seed, each prompt once per pass over the split.
    `reset(options={"index": i})` selects prompt i instead, without advancing that order.

    ## Info
    Every info holds `prompt` (the rendered text), `prompt_id`, `instruction`, `input`, `spans`
    (int64 (max_units, 2), character offsets of the units in `prompt`; positions without a unit hold
    the length of `prompt` twice), `action_mask` (int8 (max_units,): 2 free, 1 forced keep,
    0 padding), and `units_beyond_window` (number of units past `max_units`, which are always kept).
    The last step adds the entries of `Scores.info`: both answers and every reward term by name.

    ## Arguments
    Those of `TaskOptions`, and `render_mode`: "ansi", "human", or "rgb_array". Objects are not
    copied; `spec` and its copies share them.

    Example:
        ```python
        env = gym.make("pcrl_gym:PromptCompression-v0")
        observation, info = env.reset(seed=0)
        action = env.action_space.sample(mask=info["action_mask"])
        observation, reward, terminated, truncated, info = env.step(action)
        ```
    """

    observation_space: spaces.Dict  # type: ignore[assignment]
    action_space: spaces.MultiBinary

    def __init__(self, *, render_mode: str | None = None, **options: Unpack[TaskArguments]) -> None:
        super().__init__(render_mode, **options)
        self.observation_space = self.task.observation_space()
        self.action_space = spaces.MultiBinary(self.task.max_units)

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the mask in sb3-contrib's form, bool (2 * max_units,); see `flat_action_masks`."""
        mask: NDArray[np.bool_] = self._action_masks()[0]
        return mask

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: An integer >= 0 seeds `np_random` and restarts the pass over the split.
            options: `{"index": i}` selects prompt i of the split, 0 <= i < `len(task.episodes)`.

        Raises:
            ValueError: If the seed is not such an integer, an option is unknown, or the index is
                out of range.
        """
        super().reset(seed=check_seed(seed))
        observations, [info] = self._reset(seed is not None, options, 1, self.np_random)
        return _only(observations), info

    def step(
        self, action: NDArray[np.int8]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Drop the units whose bit is 0.

        Args:
            action: Keep mask of zeros and ones (max_units,), 1 = keep.

        Raises:
            ValueError: If the action has the wrong shape or other values.
            ResetNeeded: If the episode is over or was never started.
            GeneratorError: If the generator failed; a failure never becomes a reward.
        """
        self._check_started()
        if self._steps == self.task.max_steps:
            raise ResetNeeded("The episode is over: call `env.reset()` before the next step")
        keep = parse_keep_mask(action, (self.task.max_units,))
        observations, [reward], terminated, [info] = self._advance(keep[None])
        return _only(observations), float(reward), terminated, False, info

    def render(self) -> str | NDArray[np.uint8] | None:
        """Render the prompt with the dropped units struck through.

        Returns:
            A string in mode "ansi", or an image, uint8 (height, width, 3), in mode "rgb_array".
            None in mode "human", which prints after every step, and without a render mode.
        """
        self._check_started()
        return render_frame(self._frames[0], self.render_mode)


def _only(observations: Observation) -> Observation:
    return {key: array[0] for key, array in observations.items()}
