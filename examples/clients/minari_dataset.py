"""Published records as an offline Minari dataset, and behavior cloning from it.

Run it with `python examples/clients/minari_dataset.py`; it needs a clone and
`pip install -e '.[agents,minari]'`. It clones the masks that `search` found on micro's
validation_seen, and evaluates the clone on validation_unseen. docs/clients.md has its reward.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import gymnasium as gym
import minari
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from minari.data_collector import EpisodeBuffer
from torch.nn.functional import binary_cross_entropy_with_logits

from agents.base import keep_masks
from benchmarks.records import RunFolder
from pcrl_gym.compressor.network import KeepNetwork, pretrained_encoder

ID = "pcrl_gym:PromptCompression-v0"
RECORDS = Path(__file__).parents[2] / "benchmarks" / "leaderboard" / "micro"


def to_minari(records: Path, agent: str, split: str, name: str) -> minari.MinariDataset:
    """Return one agent's records on a split as a dataset: an episode of one step per prompt."""
    env = gym.make(ID, split=split)  # the suite's options are the defaults
    task = env.unwrapped.task
    rows = RunFolder(records).frame([agent], [split]).set_index("prompt_id")
    episodes = [episode for episode in task.episodes if episode.prompt.id in rows.index]
    observations, _ = task.begin(episodes)
    buffers = []
    for i, episode in enumerate(episodes):
        row = rows.loc[episode.prompt.id]
        starts = np.array([start for start, _ in episode.spans[: task.max_units]])
        action = observations["attention_mask"][i].copy()
        for start, end in row["dropped"]:
            action[: len(starts)][(starts >= start) & (starts < end)] = 0
        twice = {key: array[[i, i]] for key, array in observations.items()}  # at both ends
        buffers.append(
            EpisodeBuffer(
                observations=twice,
                actions=action[None],
                rewards=[row["reward"]],
                terminations=[True],
                truncations=[False],
            )
        )
    return minari.create_dataset_from_buffers(
        name,
        buffers,
        env=env,
        data_format="arrow",
        algorithm_name=agent,
        description=f"Keep masks of {agent} on {split} of micro.",
    )


def clone(dataset: minari.MinariDataset, epochs: int) -> KeepNetwork:
    """Return a network that learned the dataset's masks, by cross-entropy per droppable unit."""
    episodes = list(dataset.iterate_episodes())
    keys = ("input_ids", "attention_mask", "droppable")
    inputs = [torch.tensor(np.stack([e.observations[key][0] for e in episodes])) for key in keys]
    targets = torch.tensor(np.stack([e.actions[0] for e in episodes]), dtype=torch.float32)
    torch.manual_seed(0)
    network = KeepNetwork(pretrained_encoder("micro-seq2seq"))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(episodes)).split(64):
            ids, present, droppable = (tensor[rows] for tensor in inputs)
            logits, _ = network(ids, present, droppable)
            free = droppable.bool()
            loss = binary_cross_entropy_with_logits(logits[free], targets[rows][free])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


def mean_reward(network: KeepNetwork, envs: VectorEnv) -> float:
    """Return the mean reward of the likeliest masks on one batch of prompts."""
    observations, _ = envs.reset(seed=0)
    with torch.no_grad():
        logits, _ = network(*(torch.as_tensor(o) for o in observations.values()))
    _, rewards, _, _, _ = envs.step(keep_masks(observations, logits.numpy() < 0))
    return float(rewards.mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=2)
    epochs = parser.parse_args().epochs
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("MINARI_DATASETS_PATH", folder)
        dataset = to_minari(RECORDS, "search", "validation_seen", "pcrl-gym/micro-search-v0")
        network = clone(minari.load_dataset(dataset.id), epochs)
        print(f"{dataset.total_episodes} episodes of {dataset.id}")
    envs = gym.make_vec(ID, num_envs=256, split="validation_unseen")
    print(f"behavior cloning on validation_unseen: {mean_reward(network, envs):.3f}")
