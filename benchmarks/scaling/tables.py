"""Tables of measured and computed figures, as they stand in SCALING.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.markdown import align
from benchmarks.scaling.fit import Fit, fit, left_out_errors, stage_errors
from benchmarks.scaling.projection import DRAFTED, H100, MODELS, SERVED, Run, gpu_hours, speed
from benchmarks.scaling.stages import STAGES, Case

GPUS = (1, 8, 64, 1000)
PER_REPLICA = 64  # rewards per update in the second half of the table of speeds

RUN = Run()
ASKED = ((MODELS[0], DRAFTED), (MODELS[0], SERVED), (MODELS[1], SERVED))
"""Generators, and how they are asked: this engine does not split a model over GPUs."""


@dataclass(frozen=True)
class Replicated:
    """The same compressed prompts answered in this process and by replicas in a Ray cluster."""

    model: str
    prompts: int
    seconds: dict[str, float]  # by number of replicas, as text for JSON; "0" is this process


def format_all(cases: Sequence[Case], replicated: Sequence[Replicated]) -> str:
    """Return all tables, each under a headline that says whether it is measured or computed."""
    fitted = fit(cases)
    parts = [
        ("Measured: microseconds per reward, by stage", format_cases(cases)),
        ("Measured: replicas", format_replicated(replicated)),
        ("Fitted: what the stages are made of", format_fit(fitted)),
        ("Fitted: errors", format_errors(cases)),
        ("Computed: rewards per second", format_speeds(fitted)),
        ("Computed: size of a run", format_runs(fitted)),
    ]
    return "\n".join(f"### {title}\n\n{table}" for title, table in parts if table)


def format_cases(cases: Sequence[Case]) -> str:
    """Return one line per case."""
    table = [
        ["generator", "parameters", "rewards", "tokens", *STAGES, "sum", "rewards/s", "passes/row"]
    ]
    for case in cases:
        micro = [1e6 * case.seconds[stage] / case.rewards for stage in STAGES]
        table.append(
            [case.model, f"{(case.body + case.head) / 1e6:.1f} M"]
            + [str(case.rewards), str(case.length)]
            + [f"{value:.0f}" for value in (*micro, sum(micro))]
            + [f"{case.rewards / case.total:.1f}", f"{case.rows / case.rewards:.1f}"]
        )
    return align(table)


def format_replicated(replicated: Sequence[Replicated]) -> str:
    """Return one line per generator."""
    if not replicated:
        return ""
    counts = sorted({int(count) for row in replicated for count in row.seconds})
    names = ["this process" if not n else f"{n} replica{'s' * (n > 1)}" for n in counts]
    table = [["generator", "prompts", *(f"{name}, prompts/s" for name in names), "gain of 2"]]
    for row in replicated:
        rates = [row.prompts / row.seconds[str(n)] for n in counts]
        gain = row.seconds.get("1", 0.0) / row.seconds["2"] if "2" in row.seconds else None
        table.append(
            [row.model, str(row.prompts)]
            + [f"{rate:.1f}" for rate in rates]
            + [f"{gain:.2f}" if gain else ""]
        )
    return align(table)


def format_fit(fitted: Fit) -> str:
    """Return one line per cost."""
    table = [["stage", "per", "seconds"]]
    for stage, costs in fitted.seconds.items():
        table += [[stage, name, f"{cost:.3g}"] for name, cost in costs.items()]
    return align(table)


def format_errors(cases: Sequence[Case]) -> str:
    """Return the errors on the fitted cases by stage, and for models that were left out."""
    found = stage_errors(cases)
    for model, error in left_out_errors(cases).items():
        found[f"generator, {model} from the others"] = error
    table = [["what", "mean error", "worst error"]]
    table += [[what, f"{error.mean:.0%}", f"{error.worst:.0%}"] for what, error in found.items()]
    return align(table)


def format_speeds(fitted: Fit) -> str:
    """Return two rows per generator, way and number of GPUs: fixed batch, and growing."""
    table = [
        ["generator, way", "GPUs", "rewards per update", "rewards/s", "$/million", "bottleneck"]
    ]
    for model, way in ASKED:
        for gpus in GPUS:
            grown = PER_REPLICA * max(1, gpus // model.gpus)
            for batch in sorted({RUN.batch, max(RUN.batch, grown)}):
                reached = speed(H100, model, way, RUN, gpus, batch, fitted)
                cells = ["-", "-", f"does not fit: {model.gpus} GPUs per replica"]
                if reached is not None:
                    rate, price = reached.rewards_per_second, reached.dollars_per_million
                    cells = [f"{rate:,.0f}", f"{price:,.2f}", reached.bottleneck]
                table.append([f"{model.name}, {way.name}", str(gpus), str(batch), *cells])
    return align(table)


def format_runs(fitted: Fit) -> str:
    """Return two rows per generator and way: the whole run on one replica, and on eight."""
    table = [["generator, way", "GPUs", "rewards", "hours", "GPU hours", "$"]]
    for model, way in ASKED:
        for gpus in (model.gpus, 8 * model.gpus):
            reached = speed(H100, model, way, RUN, gpus, RUN.batch, fitted)
            assert reached is not None
            hours = gpu_hours(RUN, reached)
            spent = (f"{hours / gpus:.1f}", f"{hours:.1f}", f"{hours * H100.dollars:.0f}")
            table.append([f"{model.name}, {way.name}", str(gpus), f"{RUN.rewards:,}", *spent])
    return align(table)
