"""The flip audit: does a compressor lose what must not be lost?"""

from pcrl_gym.audit.flips import Audit, audit
from pcrl_gym.audit.pairs import FlipPair

__all__ = ["Audit", "FlipPair", "audit"]
