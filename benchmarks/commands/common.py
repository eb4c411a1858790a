"""What several commands have in common."""

from __future__ import annotations

from pcrl_gym.command_line import FAILURES, attempt, positive, tell

__all__ = ["FAILURES", "attempt", "names", "positive", "tell"]


def names(text: str) -> list[str]:
    """Names separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
