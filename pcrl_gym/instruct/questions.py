"""Generate questions about passages, and requests with a polite opening, with SmolLM2.

    python -m pcrl_gym.instruct.questions --t0 FOLDER --out FOLDER

    questions/NUMBER.jsonl   continuations of a passage and the first word of a question
    openings/NUMBER.jsonl    continuations of an opening, such as "Sorry to bother you, but"
    prompts/train.jsonl      the prompts: passage and question in either order, and padded requests

The policy `instruct` learns from these prompts which part of a passage a question asks about, and
that courtesy may go. Resumes like `pcrl_gym.instruct.write`.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import cyclopts
import regex

from pcrl_gym.instruct.compose import SENTENCE_END
from pcrl_gym.instruct.data import instruct_prompts, lines_of
from pcrl_gym.instruct.fact_tasks import arranged
from pcrl_gym.instruct.filters import fault
from pcrl_gym.instruct.write import Row, Writer, check_settings, json_lines, written
from pcrl_gym.prompts.datasets import read_prompts
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.storage.atomic import replace_folder, write_file

PASSAGE_WORDS = range(25, 91)
QUESTION_TOKENS, OPENING_TOKENS = 24, 96
FIRST_WORDS = (
    *("Who", "When", "Where", "Which", "What", "How many", "How much", "How long", "In which"),
    *("Does", "Is", "Did", "Why", "How", "To whom", "On which", "What did", "What is the name of"),
)
_QUESTION = regex.compile(r"[^?\n]*\?")


def main(
    *, t0: Path, out: Path, questions: int = 3_840, openings: int = 2_560, seed: int = 0
) -> None:
    """Generate prompts, or resume an interrupted run.

    Args:
        t0: Folder with tasks of T0, whose passages are asked about beside those of instruct.
        out: Output folder.
        questions: Maximum number of questions to generate before filtering.
        openings: Number of requests to generate before filtering.
        seed: Seed for sampling from the model and for all choices.
    """
    check_settings(out, {"questions": questions, "openings": openings, "seed": seed})
    write, rng = Writer(), Random(f"{seed}:questions")
    system = lines_of("systems.txt")[0]
    texts = passages([*instruct_prompts("train"), *read_prompts(t0, "train")])
    texts = rng.sample(texts, min(questions, len(texts)))
    asked: list[Row] = [
        {
            "system": system,
            "passage": text,
            "begun": f"{text}\n\nQuestion: {rng.choice(FIRST_WORDS)}",
        }
        for text in texts
    ]
    starts: list[Row] = [
        {"system": system, "begun": rng.choice(lines_of("openings.txt"))} for _ in range(openings)
    ]
    asked = written(out / "questions", write, asked, QUESTION_TOKENS, seed)
    starts = written(out / "openings", write, starts, OPENING_TOKENS, seed)
    rows = []
    for row in asked:
        start = row["begun"].removeprefix(row["passage"] + "\n\nQuestion: ")
        found = _QUESTION.match(f"{start} {row['text']}")
        if found and fault(f"{row['passage']} {found[0]}", True) is None:
            rows.append(arranged(found[0], row["passage"], rng) | {"source": "question"})
    for row in starts:
        text = f"{row['begun']} {row['text']}"
        if fault(text, row["ended"]) is None:
            rows.append({"instruction": text, "input": "", "source": "opening"})
    rng.shuffle(rows)
    print(f"{len(rows):,} of {len(asked) + len(starts):,} prompts kept")
    with replace_folder(out / "prompts") as folder:
        write_file(folder / "train.jsonl", json_lines(rows))


def passages(prompts: list[Prompt]) -> list[str]:
    """Return the distinct inputs of prompts that are prose of two sentences or more.

    Example:
        >>> text = "The mill stands by the river. " + "It has been turned by water since 1870. " * 3
        >>> passages([Prompt("a", "Summarize.", text.strip()), Prompt("b", "What is 1 + 2?", "")])
        ['The mill stands by the river. It has been turned by water since 1870. ...
    """
    found = dict.fromkeys(" ".join(prompt.input.split()) for prompt in prompts if prompt.input)
    return [
        text
        for text in found
        if len(text.split()) in PASSAGE_WORDS and len(SENTENCE_END.split(text)) > 1
    ]


if __name__ == "__main__":
    cyclopts.run(main)
