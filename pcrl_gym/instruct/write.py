"""Generate the prompts of instruct with SmolLM2: `python -m pcrl_gym.instruct.write --out FOLDER`.

    requests/NUMBER.jsonl   user messages that the model generates from the start of a user turn
    answers/NUMBER.jsonl    its answers to some of them, as material for other prompts
    prompts/                train.jsonl, validation_seen.jsonl, and the counts of the filters

The method follows Xu et al. 2024, "Magpie", https://arxiv.org/abs/2406.08464.

The file of a batch appears once it is complete, so the same command resumes an interrupted run. The
same seed gives the same prompts on machines that round bfloat16 identically.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import cyclopts

from pcrl_gym.instruct.compose import KINDS, choose, kind_of
from pcrl_gym.instruct.data import lines_of
from pcrl_gym.instruct.filters import fault
from pcrl_gym.progress import progress_bar
from pcrl_gym.storage.atomic import replace_folder, write_file
from pcrl_gym.storage.gguf import SMOLLM2, gguf_file, unpacked

ROWS = 256  # texts per batch
REQUEST_TOKENS, ANSWER_TOKENS = 160, 80
ANSWERED_WORDS = 40  # maximum length of a request that is answered

Row = dict[str, Any]


def main(*, out: Path, requests: int = 10_752, answers: int = 5_120, seed: int = 0) -> None:
    """Generate prompts, or resume an interrupted run.

    Args:
        out: Output folder.
        requests: Number of requests to generate before filtering.
        answers: Maximum number of short, filtered requests to answer.
        seed: Seed for sampling from the model and for all choices.
    """
    settings = {"requests": requests, "answers": answers, "seed": seed}
    check_settings(out, settings)
    write = Writer()
    rng = Random(f"{seed}:requests")
    systems = [rng.choice(lines_of("systems.txt")) for _ in range(requests)]
    asked = written(out / "requests", write, [{"system": s} for s in systems], REQUEST_TOKENS, seed)
    good = [row["text"] for row in asked if fault(row["text"], row["ended"]) is None]
    good = [text for text in good if len(text.split()) <= ANSWERED_WORDS]
    rng = Random(f"{seed}:answers")
    kinds = [kind_of(text, rng) for text in good[:answers]]
    turns = [
        {"system": lines_of("systems.txt")[0], "user": f"{text}\n{KINDS[kind]}", "kind": kind}
        for text, kind in zip(good, kinds, strict=False)
    ]
    replies = written(out / "answers", write, turns, ANSWER_TOKENS, seed)
    splits, counts = choose(asked, replies, seed)
    report = json.dumps({"settings": settings, **counts}, indent=1)
    with replace_folder(out / "prompts") as folder:
        for split, rows in splits.items():
            write_file(folder / f"{split}.jsonl", json_lines(rows))
        write_file(folder / "counts.json", report + "\n")
    print(report)


def check_settings(out: Path, settings: Row) -> None:
    """Store the settings of a new folder; exit if it was begun with others."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "settings.json"
    if file.exists() and (found := json.loads(file.read_text(encoding="utf-8"))) != settings:
        raise SystemExit(f"{out} was begun with {found}, not {settings}: give another --out")
    write_file(file, json.dumps(settings) + "\n")


def written(folder: Path, write: Writer, turns: Sequence[Row], limit: int, seed: int) -> list[Row]:
    """Return the turns with the model's output for each, reusing files in the folder."""
    folder.mkdir(exist_ok=True)
    found: list[Row] = []
    with progress_bar(total=len(turns), desc=folder.name, unit="text") as bar:
        for number, start in enumerate(range(0, len(turns), ROWS)):
            file, batch = folder / f"{number:04}.jsonl", turns[start : start + ROWS]
            if not file.exists():
                draws = Random(f"{seed}:{folder.name}:{number}").getrandbits(63)
                write_file(file, json_lines(write(batch, limit, draws)))
            found += map(json.loads, file.read_text(encoding="utf-8").splitlines())
            bar.update(len(batch))
    return found


def json_lines(rows: Sequence[Row]) -> str:
    """Return the rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


class Writer:
    """SmolLM2, loaded on first use."""

    _loaded: tuple[Any, Any] | None = None

    def __call__(self, turns: Sequence[Row], limit: int, seed: int) -> list[Row]:
        """Generate what follows each turn.

        That is the answer if it has a user message, and otherwise the user message, or the rest of
        one that is `begun`.
        """
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from pcrl_gym.instruct.sampling import sample

        if self._loaded is None:
            file = gguf_file(SMOLLM2)
            assert file is not None
            model: Any = AutoModelForCausalLM.from_pretrained(unpacked(file), dtype=torch.bfloat16)
            self._loaded = model.eval(), AutoTokenizer.from_pretrained(unpacked(file))
        model, tokenizer = self._loaded
        texts = [
            f"<|im_start|>system\n{turn['system']}<|im_end|>\n<|im_start|>user\n"
            + (f"{turn['user']}<|im_end|>\n<|im_start|>assistant\n" if "user" in turn else "")
            + turn.get("begun", "")
            for turn in turns
        ]
        written = sample(model, tokenizer(texts)["input_ids"], limit, seed)
        return [
            turn
            | {"text": str(tokenizer.decode(ids, skip_special_tokens=True)).strip(), "ended": ended}
            for turn, (ids, ended) in zip(turns, written, strict=True)
        ]


if __name__ == "__main__":
    cyclopts.run(main)
