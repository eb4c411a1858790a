"""Agents for `PromptCompression-v0`, each in its own module.

`make_agent("stopwords")` builds an agent by name, `make_agent("my_module:MyAgent")` your own.
`agents.base` defines the interface of agents. Importing this package loads no agent modules and
therefore not torch.
"""

from __future__ import annotations

from agents.base import AGENTS, Agent, TrainableAgent, agent_class, make_agent

__all__ = ["AGENTS", "Agent", "TrainableAgent", "agent_class", "make_agent"]
