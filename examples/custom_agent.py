"""A custom agent and its leaderboard row.

Run it with `python examples/custom_agent.py`. For a full run with a permanent folder:

    python -m benchmarks run --suite micro --out runs/politeness \
        --agents stopwords examples.custom_agent:PolitenessAgent
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.__main__ import main


class PolitenessAgent:
    """Drops courtesies and nothing else.

    An agent is any class with a `name` and a method `act`. One that uses chance takes `seed` in its
    constructor and is evaluated once per seed; one that learns also has `train`, `save` and `load`
    (see `agents/base.py`).
    """

    name = "politeness"
    courtesies = re.compile(
        r"\s*\b(please|kindly|thanks|thank you( very much)?|(could|can|would) you)\b[,.!]?", re.I
    )

    def act(
        self, observations: Mapping[str, np.ndarray], infos: Sequence[Mapping[str, Any]]
    ) -> np.ndarray:
        """Return keep masks, shape (batch, max_units), for a batch of prompts."""
        keep = observations["attention_mask"].copy()
        for row, info in enumerate(infos):
            starts, ends = info["spans"].T  # of the units in the prompt, in characters
            for match in self.courtesies.finditer(info["prompt"]):
                inside = (starts >= match.start()) & (ends <= match.end()) & (starts < ends)
                keep[row, inside] = 0  # units of the template stay whatever the mask says
        return keep


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        command = "run --suite micro --split validation_seen --limit 64"
        agents = "keep_all,stopwords,custom_agent:PolitenessAgent"
        sys.exit(main([*command.split(), "--agents", agents, "--out", folder]))
