"""`PromptCompression-v0`: one instruction prompt per episode, one bit per unit as the action."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from pcrl_gym.envs.shared_spec import SharedSpec
from pcrl_gym.envs.spaces import Observation, flat_action_masks, parse_keep_mask
from pcrl_gym.envs.task import check_arguments, check_reset_options, check_seed, make_task
from pcrl_gym.envs.walk import ShuffledWalk
from pcrl_gym.rendering.frame import Frame
from pcrl_gym.rendering.text import (
    RENDER_FPS,
    RENDER_MODES,
    check_render_mode,
    print_frame,
    render_frame,
)


class PromptCompressionEnv(SharedSpec, gym.Env[Observation, NDArray[np.int8]]):
    """Shorten a prompt so that a frozen language model still gives the same answer.

    ## Action space
    `MultiBinary(max_units)`: the keep mask, bit i is 1 if unit i of the prompt stays. Protected
    units stay and padding is ignored whatever their bits say.

    ## Observation space
    `Dict` of three arrays of shape (max_units,):

    | key | space | meaning |
    |---|---|---|
    | `input_ids` | Box int64 | policy token id of the unit's first token |
    | `attention_mask` | MultiBinary | 1 where there is a unit that is still in the prompt |
    | `droppable` | MultiBinary | 1 where that unit may be dropped |

    ## Reward
    Decided by `reward`; by default the compression ratio if the generator's answer to the
    compressed prompt has a similarity (`scoring.rouge.similarity`) above 0.9 with its answer to
    the original one, else -0.01.

    ## Episode
    Terminates after `max_steps` steps (never truncated). Edits accumulate: a unit that was dropped
    stays dropped. The reward comes with the last step, all earlier ones give 0. Every split is
    walked in a shuffled order that follows from the seed, each prompt once per pass;
    `reset(options={"index": i})` picks prompt i instead and leaves the walk where it is.

    ## Info
    Every info holds `prompt` (the rendered text), `prompt_id`, `instruction`, `input`, `spans`
    (int64 (max_units, 2), character offsets of the units in `prompt`; places without a unit hold
    the length of `prompt` twice), `action_mask` (int8 (max_units,): 2 free, 1 forced keep,
    0 padding) and `units_beyond_window` (units past `max_units`; they are always kept). The last
    step adds the entries of `Scores.info`: both answers and every reward term by name.

    ## Arguments
    Those of `pcrl_gym.make_task`, and `render_mode`: "ansi", "human" or "rgb_array". Objects among
    them are used as they are; `spec` and its copies share them, too.

    Example:
        ```python
        env = gym.make("pcrl_gym:PromptCompression-v0")
        observation, info = env.reset(seed=0)
        action = env.action_space.sample(mask=info["action_mask"])
        observation, reward, terminated, truncated, info = env.step(action)
        ```
    """

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES, "render_fps": RENDER_FPS}  # noqa: RUF012
    observation_space: spaces.Dict  # type: ignore[assignment]
    action_space: spaces.MultiBinary

    def __init__(self, *, render_mode: str | None = None, **options: Any) -> None:
        check_render_mode(render_mode)
        check_arguments(options)
        self.render_mode = render_mode
        self.task = make_task(**options)
        self.observation_space = self.task.observation_space()
        self.action_space = spaces.MultiBinary(self.task.max_units)
        self._walk = ShuffledWalk(len(self.task.episodes))
        self._frame: Frame | None = None
        self._steps = 0

    @property
    def skipped_prompts(self) -> tuple[str, ...]:
        """Ids of the prompts that were left out as too long."""
        return self.task.skipped_prompts

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the mask in sb3-contrib's form, bool (2 * max_units,); see `flat_action_masks`."""
        frame = self._current_frame()
        return flat_action_masks(self.task.observe(frame.episode, frame.kept))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: An integer >= 0 seeds `np_random` and starts the walk over the split anew.
            options: `{"index": i}` picks prompt i of the split, 0 <= i < `len(task.episodes)`.

        Raises:
            ValueError: If the seed is no such integer, an option is unknown or the index is out of
                range.
        """
        super().reset(seed=check_seed(seed))
        if seed is not None:
            self._walk.restart()
        picked = check_reset_options(options, len(self.task.episodes), 1)
        (index,) = picked if picked is not None else self._walk.take(1, self.np_random)
        episode = self.task.episodes[index]
        self._frame = Frame(episode, np.ones(len(episode), np.bool_))
        self._steps = 0
        observation = self.task.observe(episode, self._frame.kept)
        return observation, self.task.info(episode, observation)

    def step(
        self, action: NDArray[np.int8]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Drop the units whose bit is 0.

        Args:
            action: Keep mask of zeros and ones (max_units,), 1 = keep.

        Raises:
            ValueError: If the action has another shape or other values.
            ResetNeeded: If the episode is over or was never started.
            GeneratorError: If the generator failed; a failure never becomes a reward.
        """
        frame = self._current_frame()
        if self._steps == self.task.max_steps:
            raise ResetNeeded("The episode is over: call `env.reset()` before the next step")
        keep = parse_keep_mask(action, (self.task.max_units,))
        episode, kept = frame.episode, frame.kept & frame.episode.kept(keep)
        terminated = self._steps + 1 == self.task.max_steps
        observation = self.task.observe(episode, kept)
        info = self.task.info(episode, observation)
        reward = 0.0
        if terminated:
            scores = self.task.scorer([episode], [kept])
            reward = float(scores.reward[0])
            info |= scores.info(0)
        self._steps += 1
        self._frame = Frame(episode, kept, info, reward) if terminated else Frame(episode, kept)
        if self.render_mode == "human":
            print_frame(self._frame)
        return observation, reward, terminated, False, info

    def render(self) -> str | NDArray[np.uint8] | None:
        """Show the prompt with the dropped units struck through.

        Returns:
            A string in mode "ansi", a picture uint8 (height, width, 3) in mode "rgb_array". None in
            mode "human", in which every step prints by itself, and without a render mode.
        """
        return render_frame(self._current_frame(), self.render_mode)

    def _current_frame(self) -> Frame:
        if self._frame is None:
            raise ResetNeeded("There is no episode yet: call `env.reset()` first")
        return self._frame
