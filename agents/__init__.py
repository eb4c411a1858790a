"""Agents for `PromptCompression-v0`, each in its own module.

`make_agent("stopwords")` builds one by name, `make_agent("my_module:MyAgent")` your own. What
an agent must offer is in `agents.base`. Importing this package loads no agent module, and so no
torch.
"""

from __future__ import annotations

from agents.base import AGENTS, Agent, TrainableAgent, agent_class, make_agent

__all__ = ["AGENTS", "Agent", "TrainableAgent", "agent_class", "make_agent"]
