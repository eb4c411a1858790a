"""The flip audit: test whether a compressor loses what must not be lost."""

from pcrl_gym.audit.flips import Audit, audit
from pcrl_gym.audit.pairs import FlipPair

__all__ = ["Audit", "FlipPair", "audit"]
