"""Names of `pcrl_gym` and where they are defined: read by type checkers, and by `__init__.py`."""

from pcrl_gym.compressor.certificate import Certificate as Certificate
from pcrl_gym.compressor.compression import Compression as Compression
from pcrl_gym.compressor.compressor import Compressor as Compressor
from pcrl_gym.compressor.fail_open import FailOpen as FailOpen
from pcrl_gym.compressor.messages import CompressedMessages as CompressedMessages
from pcrl_gym.compressor.model_card import PolicyCard as PolicyCard
from pcrl_gym.compressor.question import CompressedContext as CompressedContext
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
from pcrl_gym.generators.ray.generator import RayGenerator as RayGenerator
from pcrl_gym.named_datasets import load_prompts as load_prompts
from pcrl_gym.prompts.datasets import SPLITS as SPLITS
from pcrl_gym.prompts.prompt import Prompt as Prompt
from pcrl_gym.prompts.template import Template as Template
from pcrl_gym.scoring.rewards import BandReward as BandReward
from pcrl_gym.scoring.rewards import FaithfulReward as FaithfulReward
from pcrl_gym.scoring.rewards import LikelihoodReward as LikelihoodReward
from pcrl_gym.scoring.rewards import LinearReward as LinearReward
from pcrl_gym.scoring.rewards import Reward as Reward
from pcrl_gym.scoring.rewards import RewardInputs as RewardInputs
from pcrl_gym.scoring.rewards import ThresholdReward as ThresholdReward
from pcrl_gym.scoring.scorer import Scorer as Scorer
from pcrl_gym.scoring.scorer import Scores as Scores
from pcrl_gym.storage.disk_cache import DiskCache as DiskCache

__version__: str
__all__: list[str]
