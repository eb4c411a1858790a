"""What several commands have in common."""

from __future__ import annotations

import argparse

from pcrl_gym.command_line import FAILURES, attempt, positive, tell
from pcrl_gym.prompts.template import check_template

__all__ = ["FAILURES", "TEMPLATES", "attempt", "names", "positive", "tell", "template"]


def names(text: str) -> list[str]:
    """Return the names separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def template(text: str) -> str:
    """Return the name of a prompt template, with settings if it has any."""
    try:
        check_template(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


TEMPLATES = 'alpaca, chat, or "chat:system=You are terse.,enable_thinking=false"'
"""What `template` takes, for the help of options."""
