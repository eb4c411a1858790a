"""A verifiers taskset: shorten a prompt so that a frozen language model gives the same answer.

Run `pip install -e '.[verifiers]' -e examples/clients/verifiers`, then for example
`vf-eval prompt-compression --model MODEL --select.limit 10`. With `seed` set, micro's prompts are
unlimited.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import verifiers.v1 as vf

from pcrl_gym import make_task
from pcrl_gym.micro.tasks import endless_prompts
from pcrl_gym.prompts.prompt import Prompt

REQUEST = (
    "Shorten the prompt below as far as a language model still gives the same answer to it. Do not "
    "answer it. Write the new prompt and nothing else.\n\n{text}"
)


class CompressionData(vf.TaskData):
    """A prompt, so that scoring needs no dataset."""

    instruction: str
    input: str = ""


class CompressionTaskConfig(vf.TaskConfig):
    """What answers and how that is paid, as `gym.make` takes it."""

    generator: str = "micro"
    reward: str = "threshold"
    template: str = "alpaca"


@functools.cache
def load_task(
    generator: str, reward: str, template: str, dataset: str = "micro", split: str = "train"
):
    """Return generator, reward and prompts, loaded once per process."""
    return make_task(
        dataset=dataset, split=split, generator=generator, reward=reward, template=template
    )


class CompressionTask(vf.Task[CompressionData, vf.State, CompressionTaskConfig]):
    """One prompt to shorten."""

    @vf.reward(weight=1.0)
    async def compression(self, trace: vf.Trace) -> float:
        """Return the reward of the reply as the compressed prompt."""
        return self.reward_of(trace.last_reply)

    async def validate(self, runtime: vf.Runtime) -> bool:
        """Check that the prompt itself, with nothing saved, does not lose its answer."""
        [episode] = self._episodes()
        return self.reward_of(episode.body_text) >= 0

    def reward_of(self, text: str) -> float:
        """Return the reward of a text in place of the prompt."""
        scorer = self._loaded().scorer
        return float(scorer.score_texts(self._episodes(), [text.strip()]).reward[0])

    def _episodes(self):
        prompt = Prompt(self.data.id, self.data.instruction, self.data.input)
        return self._loaded().episodes.builder([prompt])

    def _loaded(self):
        return load_task(self.config.generator, self.config.reward, self.config.template)


class CompressionConfig(vf.TasksetConfig):
    """Which prompts: those of a split, or micro's without end from a seed."""

    dataset: str = "micro"
    split: str = "train"
    seed: int | None = None
    task: CompressionTaskConfig = CompressionTaskConfig()


class CompressionTaskset(vf.Taskset[CompressionTask, CompressionConfig]):
    """Prompts to shorten."""

    def __init__(self, config: CompressionConfig) -> None:
        super().__init__(config)
        self.INFINITE = config.seed is not None

    def load(self) -> Iterator[CompressionTask]:
        """Yield the tasks."""
        own, run = self.config, self.config.task
        episodes = load_task(
            run.generator, run.reward, run.template, own.dataset, own.split
        ).episodes
        if own.seed is None:
            prompts = (episode.prompt for episode in episodes)
        else:
            prompts = endless_prompts(own.seed)
        for prompt in prompts:
            [episode] = episodes.builder([prompt])
            data = CompressionData(
                id=prompt.id,
                prompt=REQUEST.format(text=episode.body_text),
                instruction=prompt.instruction,
                input=prompt.input,
            )
            yield CompressionTask(data, run)


__all__ = ["CompressionTaskset"]
