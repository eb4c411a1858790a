"""Prompt compression as a Gymnasium environment.

Importing the package registers `PromptCompression-v0` and loads neither torch nor transformers;
the names below are imported from their modules when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gymnasium.envs.registration import register

from pcrl_gym import process as process  # registers what torch needs after a fork
from pcrl_gym.shared_spec import SharedKwargs

if TYPE_CHECKING:
    from .compression import Compression as Compression
    from .compressor import Compressor as Compressor
    from .datasets import SPLITS as SPLITS
    from .datasets import load_prompts as load_prompts
    from .disk_cache import DiskCache as DiskCache
    from .env import PromptCompressionEnv as PromptCompressionEnv
    from .episode import Episode as Episode
    from .errors import BudgetExceededError as BudgetExceededError
    from .errors import DatasetError as DatasetError
    from .errors import GeneratorError as GeneratorError
    from .errors import MissingExtraError as MissingExtraError
    from .errors import PcrlError as PcrlError
    from .errors import PromptTooLongError as PromptTooLongError
    from .generators.base import Answer as Answer
    from .generators.base import DraftingGenerator as DraftingGenerator
    from .generators.base import Generator as Generator
    from .generators.hf import HFGenerator as HFGenerator
    from .generators.loading import load_generator as load_generator
    from .generators.openai import OpenAIGenerator as OpenAIGenerator
    from .policy_card import PolicyCard as PolicyCard
    from .prompt import Prompt as Prompt
    from .rewards import BandReward as BandReward
    from .rewards import LikelihoodReward as LikelihoodReward
    from .rewards import LinearReward as LinearReward
    from .rewards import Reward as Reward
    from .rewards import RewardInputs as RewardInputs
    from .rewards import ThresholdReward as ThresholdReward
    from .scorer import Scorer as Scorer
    from .scorer import Scores as Scores
    from .task import Task as Task
    from .task import make_task as make_task
    from .template import Template as Template
    from .vector_env import PromptCompressionVectorEnv as PromptCompressionVectorEnv

__version__ = "0.1.0"

_MODULES = {
    "compression": ("Compression",),
    "compressor": ("Compressor",),
    "datasets": ("SPLITS", "load_prompts"),
    "disk_cache": ("DiskCache",),
    "env": ("PromptCompressionEnv",),
    "episode": ("Episode",),
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
    "generators.openai": ("OpenAIGenerator",),
    "policy_card": ("PolicyCard",),
    "prompt": ("Prompt",),
    "rewards": (
        "BandReward",
        "LikelihoodReward",
        "LinearReward",
        "Reward",
        "RewardInputs",
        "ThresholdReward",
    ),
    "scorer": ("Scorer", "Scores"),
    "task": ("Task", "make_task"),
    "template": ("Template",),
    "vector_env": ("PromptCompressionVectorEnv",),
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
    entry_point="pcrl_gym.env:PromptCompressionEnv",
    vector_entry_point="pcrl_gym.vector_env:PromptCompressionVectorEnv",
    kwargs=SharedKwargs(),
)
