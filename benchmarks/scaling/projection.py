"""What many GPUs would earn: computed, not measured, from a fit and figures of data sheets."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.scaling.fit import Fit


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU; `flops`, `bandwidth` and `memory` are those of its data sheet."""

    name: str
    flops: float  # operations per second in bfloat16, dense
    bandwidth: float  # bytes per second from its memory
    memory: float  # bytes
    dollars: float  # price of an hour
    flops_share: float  # share of `flops` that reading many prompts at once reaches
    bandwidth_share: float  # share of `bandwidth` that reading the weights reaches
    launch: float  # seconds that a layer takes even if it has nothing to do


H100 = Gpu(
    name="H100 SXM",
    flops=989e12,
    bandwidth=3.35e12,
    memory=80e9,
    dollars=2.5,
    flops_share=0.4,
    bandwidth_share=0.6,
    launch=5e-5,
)
"""Data sheet figures; price, shares and launch are assumptions."""


@dataclass(frozen=True)
class Model:
    """A generator."""

    name: str
    parameters: float
    layers: int
    gpus: int = 1  # per replica: two bytes per parameter have to fit, and leave room to work in
    parallel_share: float = 1.0  # of the GPUs' speed that is left when layers are split over them


MODELS = (Model("7B", 6.74e9, 32), Model("70B", 69e9, 80, gpus=4, parallel_share=0.8))


@dataclass(frozen=True)
class Way:
    """How answers come about."""

    name: str
    drafted: bool  # the answer to the original is verified first, in the pass over the prompt
    passes: int  # per batch after the first
    row_passes: float  # per reward after the first, on average
    client: float = 0.0  # processor seconds of the driver per reward, for requests


DRAFTED = Way("this engine, drafts", drafted=True, passes=29, row_passes=0.44)
"""As often as drafts fail on micro with 15 % of the units dropped (`throughput-cpu-micro.json`)."""

SERVED = Way("server, whole answers", drafted=False, passes=29, row_passes=29, client=0.0015)
"""All 30 tokens; the client takes the middle of what `benchmarks concurrency` showed."""


@dataclass(frozen=True)
class Run:
    """A training run by self-critical policy gradient."""

    updates: int = 4000
    prompts: int = 32  # per update
    masks: int = 5  # per prompt and update, the greedy one included
    length: int = 100  # generator tokens per prompt
    new_tokens: int = 30  # per answer
    policy: float = 82e6  # parameters of the policy's encoder, which is frozen

    @property
    def batch(self) -> int:
        """Rewards per update."""
        return self.prompts * self.masks

    @property
    def rewards(self) -> int:
        """Rewards of the run."""
        return self.updates * self.batch


@dataclass(frozen=True)
class Speed:
    """What a number of GPUs achieves."""

    gpus: int
    rewards_per_second: float  # of one run that uses them all
    bottleneck: str  # what most of an update is spent on
    dollars_per_million: float  # price of a million rewards


def replica_seconds(
    gpu: Gpu, model: Model, way: Way, run: Run, rewards: float, fitted: Fit
) -> tuple[float, str]:
    """Return the seconds in which a replica earns some rewards, and what most of them go to.

    A pass takes as long as its arithmetic or as reading the weights once, whichever is longer, and
    a launch per layer. The first reads the prompts (and drafts); further ones read a token each of
    the rows that go on. To that come the fitted costs of the CPU: per reward and per token counted.
    """
    speed = model.gpus * model.parallel_share
    first = run.length + (run.new_tokens if way.drafted else 0)
    reading = 2 * model.parameters / (gpu.bandwidth * gpu.bandwidth_share * speed)
    launch = model.layers * gpu.launch

    def arithmetic(tokens: float) -> float:
        return 2 * model.parameters * tokens / (gpu.flops * gpu.flops_share * speed)

    going = rewards * way.row_passes / max(1, way.passes)
    spent = {"arithmetic": 0.0, "weights": 0.0, "launches": launch * (1 + way.passes)}
    for tokens, times in ((rewards * first, 1), (going, way.passes)):
        slower = "arithmetic" if arithmetic(tokens) >= reading else "weights"
        spent[slower] += times * max(arithmetic(tokens), reading)
    if way.drafted:
        spent["Python"] = rewards * (
            fitted.seconds["generator"]["reward"]
            + run.length * fitted.seconds["tokenise"]["token read by a tokenizer"]
        )
    return sum(spent.values()), max(spent, key=lambda what: spent[what])


def driver_seconds(gpu: Gpu, way: Way, run: Run, fitted: Fit, batch: float) -> float:
    """Return the seconds per update of the process that learns: network on a GPU."""
    prompts, seconds = batch / run.masks, fitted.seconds
    network = 2 * run.policy * prompts * run.length / (gpu.flops * gpu.flops_share)
    return (
        prompts * run.length * seconds["tokenise"]["token read by a tokenizer"]
        + network
        + batch * (way.client + seconds["similarity"]["reward"] + seconds["loop"]["reward"])
        + seconds["loop"]["update"]
    )


def speed(
    gpu: Gpu, model: Model, way: Way, run: Run, gpus: int, batch: int, fitted: Fit
) -> Speed | None:
    """Return what some GPUs achieve on one run; None: the model does not fit them.

    Answering and learning take turns, as the gradient needs all rewards. Replicas share the rewards
    of an update; those beyond one per reward stand idle.
    """
    replicas = gpus // model.gpus
    if replicas == 0:
        return None
    share = math.ceil(batch / replicas)
    answering, bottleneck = replica_seconds(gpu, model, way, run, share, fitted)
    learning = driver_seconds(gpu, way, run, fitted, batch)
    rate = batch / (answering + learning)
    return Speed(
        gpus=gpus,
        rewards_per_second=rate,
        bottleneck="the driver" if learning > answering else f"generator: {bottleneck}",
        dollars_per_million=gpus * gpu.dollars / 3600 / rate * 1e6,
    )


def gpu_hours(run: Run, reached: Speed) -> float:
    """Return GPU hours of a whole run; the answers to original prompts, once each, are left out."""
    return reached.gpus * run.rewards / reached.rewards_per_second / 3600
