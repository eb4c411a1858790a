"""Prompt compression as a Gymnasium environment.

Importing the package registers `PromptCompression-v0` and loads neither torch nor transformers;
the names below are imported from their modules when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gymnasium.envs.registration import register

from pcrl_gym import process as process  # registers what torch needs after a fork
from pcrl_gym.envs.shared_spec import SharedKwargs

if TYPE_CHECKING:
    from pcrl_gym.compressor.compression import Compression as Compression
    from pcrl_gym.compressor.compressor import Compressor as Compressor
    from pcrl_gym.compressor.model_card import PolicyCard as PolicyCard
    from pcrl_gym.envs.env import PromptCompressionEnv as PromptCompressionEnv
    from pcrl_gym.envs.task import Task as Task
    from pcrl_gym.envs.task import make_task as make_task
    from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv as PromptCompressionVectorEnv
    from pcrl_gym.episodes.episode import Episode as Episode
    from pcrl_gym.errors import BudgetExceededError as BudgetExceededError
    from pcrl_gym.errors import DatasetError as DatasetError
    from pcrl_gym.errors import GeneratorError as GeneratorError
    from pcrl_gym.errors import MissingExtraError as MissingExtraError
    from pcrl_gym.errors import PcrlError as PcrlError
    from pcrl_gym.errors import PromptTooLongError as PromptTooLongError
    from pcrl_gym.generators.base import Answer as Answer
    from pcrl_gym.generators.base import DraftingGenerator as DraftingGenerator
    from pcrl_gym.generators.base import Generator as Generator
    from pcrl_gym.generators.hf import HFGenerator as HFGenerator
    from pcrl_gym.generators.loading import load_generator as load_generator
    from pcrl_gym.generators.openai.generator import OpenAIGenerator as OpenAIGenerator
    from pcrl_gym.prompts.datasets import SPLITS as SPLITS
    from pcrl_gym.prompts.prompt import Prompt as Prompt
    from pcrl_gym.prompts.template import Template as Template
    from pcrl_gym.scoring.rewards import BandReward as BandReward
    from pcrl_gym.scoring.rewards import LikelihoodReward as LikelihoodReward
    from pcrl_gym.scoring.rewards import LinearReward as LinearReward
    from pcrl_gym.scoring.rewards import Reward as Reward
    from pcrl_gym.scoring.rewards import RewardInputs as RewardInputs
    from pcrl_gym.scoring.rewards import ThresholdReward as ThresholdReward
    from pcrl_gym.scoring.scorer import Scorer as Scorer
    from pcrl_gym.scoring.scorer import Scores as Scores
    from pcrl_gym.storage.disk_cache import DiskCache as DiskCache
    from pcrl_gym.worlds import load_prompts as load_prompts

__version__ = "0.1.0"

_MODULES = {
    "compressor.compression": ("Compression",),
    "compressor.compressor": ("Compressor",),
    "prompts.datasets": ("SPLITS",),
    "worlds": ("load_prompts",),
    "storage.disk_cache": ("DiskCache",),
    "envs.env": ("PromptCompressionEnv",),
    "episodes.episode": ("Episode",),
    "errors": (
        "BudgetExceededError",
        "DatasetError",
        "GeneratorError",
        "MissingExtraError",
        "PcrlError",
        "PromptTooLongError",
    ),
    "generators.base": ("Answer", "DraftingGenerator", "Generator"),
    "generators.hf": ("HFGenerator",),
    "generators.loading": ("load_generator",),
    "generators.openai.generator": ("OpenAIGenerator",),
    "compressor.model_card": ("PolicyCard",),
    "prompts.prompt": ("Prompt",),
    "scoring.rewards": (
        "BandReward",
        "LikelihoodReward",
        "LinearReward",
        "Reward",
        "RewardInputs",
        "ThresholdReward",
    ),
    "scoring.scorer": ("Scorer", "Scores"),
    "envs.task": ("Task", "make_task"),
    "prompts.template": ("Template",),
    "envs.vector_env": ("PromptCompressionVectorEnv",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register(
    id="PromptCompression-v0",
    entry_point="pcrl_gym.envs.env:PromptCompressionEnv",
    vector_entry_point="pcrl_gym.envs.vector_env:PromptCompressionVectorEnv",
    kwargs=SharedKwargs(),
)
