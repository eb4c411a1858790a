"""Flip audit of agents: the share of prompt pairs whose deciding difference they lose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agents.base import Agent, Rewriter, optional
from benchmarks.analyses.analysis import Analysis, Table, read_analysis, write_analysis
from benchmarks.records import RunFolder
from benchmarks.suites import suite_of
from pcrl_gym.audit.flips import Audit, audit, default_pairs
from pcrl_gym.audit.pairs import FlipPair
from pcrl_gym.cli_tools import Names
from pcrl_gym.episodes.episode import overlapping

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pcrl_gym.envs.task import Task
    from pcrl_gym.episodes.episode import Episode

_BATCH = 64
ALL = "all classes"
"""Heading of the table with a row per agent."""
_NOTE = (
    "The two prompts of a pair differ in one detail that changes the correct answer. A flip: an "
    "agent keeps the same words of both, or drops a word that only the first one has. Saved: share "
    "of the characters that is saved. See pcrl_gym.audit."
)


def run(folder: str | Path, /, *, agents: Names, device: str = "auto") -> Analysis:
    """Audit agents under the rules of a result folder, and write the analysis into the folder.

    Trainable agents are those trained in the folder, with its first seed. Agents that the folder's
    analysis already holds are kept, and the analysis is written after each agent.

    Args:
        folder: Result folder.
        agents: Names as for a run, except agents that query the generator.
        device: Device of a generator used by agents to rank units.
    """
    from benchmarks.roster import find_agents
    from benchmarks.training import from_run
    from pcrl_gym.envs.task import make_task
    from pcrl_gym.prompts.prompt import Prompt

    source = RunFolder(folder)
    entries = find_agents(agents)
    if oracles := [entry.name for entry in entries if entry.oracle]:
        raise ValueError(
            f"agents that query the generator cannot be audited: remove {', '.join(oracles)}"
        )
    suite = suite_of(source.settings)
    pairs = default_pairs()
    prompts = [
        Prompt(f"{number}:{side}", text)
        for number, pair in enumerate(pairs)
        for side, text in enumerate((pair.first, pair.second))
    ]
    here = [from_run(e, source, suite.seeds) if e.trainable else e for e in entries]
    own = {"dataset": prompts, "columns": None, "device": device}
    task = make_task(**suite.task_options() | own)
    left_out = {number.partition(":")[0] for number in task.skipped_prompts}
    pairs = [pair for number, pair in enumerate(pairs) if str(number) not in left_out]
    _check_pairs(source.path, pairs)
    for entry in here:
        agent = entry.load(entry.policies[0].weights) if entry.policies else entry.build(0)
        found = audit_agent(agent, entry.name, task, pairs)
        earlier = read_analysis(source.path, "audit")  # another process may have added agents
        analysis = write_analysis(source.path, add(earlier, found))
    return analysis


def _check_pairs(folder: Path, pairs: Sequence[FlipPair]) -> None:
    """Raise a ValueError if the audit in a folder has other numbers of pairs."""
    classes = Counter(pair.kind for pair in pairs) | {"all": len(pairs)}
    earlier = read_analysis(folder, "audit")
    tables = earlier.tables if earlier else {}
    for name, table in tables.items():
        rows = table.frame()
        if name != ALL and dict(zip(rows["class"], rows["pairs"], strict=True)) != classes:
            raise ValueError(
                f"{folder} has an audit with pairs of another version, which must not be mixed "
                "with those of this one: move its analyses/audit.json away"
            )


def audit_agent(agent: Agent | Rewriter, name: str, task: Task, pairs: Sequence[FlipPair]) -> Audit:
    """Audit what an agent keeps of the user's part of a task's prompts, two for each pair."""
    optional(agent, "attach")(task)
    if isinstance(agent, Rewriter):
        texts = [episode.prompt.instruction for episode in task.episodes[:]]
        sent = [
            own if new is None else new
            for own, new in zip(texts, agent.rewrite(texts), strict=True)
        ]
        return audit(dict(zip(texts, sent, strict=True)).__getitem__, name, pairs)
    shorter = {}
    for start in range(0, len(task.episodes), _BATCH):
        episodes = task.episodes[start : start + _BATCH]
        masks = agent.act(*task.begin(episodes))
        for episode, mask in zip(episodes, masks, strict=True):
            shorter[episode.prompt.instruction] = _users_part(episode, mask)
    return audit(shorter.__getitem__, name, pairs)


def _users_part(episode: Episode, mask: npt.NDArray[np.int8]) -> str:
    """Return the text that a mask keeps of a prompt, without the template's text."""
    templates = overlapping(len(episode.text), episode.spans, episode.fixed)
    kept = zip(episode.spans, episode.kept(mask) & ~templates, strict=True)
    return "".join(episode.text[start:end] for (start, end), keep in kept if keep)


def add(analysis: Analysis | None, found: Audit) -> Analysis:
    """Return an analysis with an agent's audit, in place of an earlier one of that agent.

    Its tables are one of all classes, sorted by the share of flips, and one per agent. None is an
    analysis without agents.
    """
    import pandas

    earlier = analysis.tables if analysis else {}
    own = {found.name: Table.of(pandas.DataFrame(row.to_dict() for row in found.rows))}
    agents = {name: table for name, table in earlier.items() if name != ALL} | own
    frames = (table.frame().assign(agent=name) for name, table in agents.items())
    rows = pandas.concat(frames).query("`class` == 'all'").sort_values("share", kind="stable")
    whole = rows[["agent", *rows.columns.drop(["agent", "class"])]]
    return Analysis("audit", "Flip audit", _NOTE, {ALL: Table.of(whole), **agents})
