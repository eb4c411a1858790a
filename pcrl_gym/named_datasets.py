"""Datasets by name, path or id: micro and instruct, which come with the package, and others."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from pcrl_gym.instruct import instruct_prompts
from pcrl_gym.micro import micro_prompts
from pcrl_gym.prompts.datasets import SPLITS, read_prompts, read_splits
from pcrl_gym.prompts.prompt import Prompt


def load_prompts(
    dataset: str | os.PathLike[str] | Sequence[Prompt],
    split: str = "train",
    columns: Mapping[str, str] | None = None,
) -> list[Prompt]:
    """Load the prompts of one split.

    A row has an instruction and may have an input, an output (the gold answer), a source, a check
    and an id, all strings, under the keys of any of these formats:

    | Format | Keys |
    |---|---|
    | Alpaca | `instruction`, `input`, `output`, `source` |
    | Dolly | `instruction`, `context`, `response`, `category` |
    | prompts and completions | `prompt`, `completion` |
    | questions and answers | `question`, `context`, `answer` |
    | OpenAI's chat | `messages`: list of `role` and `content` |
    | ShareGPT | `conversations`: list of `from` and `value` |
    | IFEval | `prompt`, `instruction_id_list`, `kwargs`: constraints that can be checked |

    Formats may be mixed as long as no two keys hold different texts for one thing. Other keys are
    ignored, and a null is the same as an empty string. Of a conversation the first exchange is
    read: the user's message is the instruction and the assistant's the output; with a system
    message, that one is the instruction and the user's message its input. The id of a row without
    one is `{file stem}:{row}`, the first row being 0.

    Args:
        dataset: One of

            * `"micro"` or `"instruct"`, which come with the package;
            * `"alpaca_plus"`, downloaded once from its repository, or `"gpteacher"`, from the hub;
            * the path of a `.json` file (a list of rows), `.jsonl` (a row per line), `.csv` (keys
              in the first line, cells separated by commas, semicolons or tabs; Python 3.10 reads
              no null characters) or `.parquet`. A file has no splits: it serves whichever is
              asked for;
            * a folder with a file per split, whose name without extension is the split or ends
              with it: `train.jsonl`, `alpaca_plus_validation_seen.json`; or with its parts, as
              on the hub: `train-00000-of-00002.parquet`. They may lie in its folder `data`;
            * a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote; one
              without splits serves whichever is asked for;
            * the id of a dataset on the Hugging Face hub;
            * a sequence of `Prompt`, which serves whichever split is asked for.
        split: One of `SPLITS`.
        columns: What to read further keys as, `instruction`, `input`, `output`, `source`, `check`,
            `id`, `messages` or `conversations`: `{"task": "instruction"}`. The other keys that may
            stand for one of these are then ignored. Not for prompts that are no rows: `"micro"`,
            `"instruct"` and sequences.

    Returns:
        The prompts in the order of the dataset, at least one, with distinct ids.

    Raises:
        ValueError: If the split is unknown, or columns are to be read as something else.
        DatasetError: If the dataset or the split cannot be found or read, is empty, or has a row
            that breaks the schema or has an empty prompt; the message names file, row and key.

    Warns:
        UserWarning: If conversations have more turns than the first; it says how many.
    """
    world = _world(dataset)
    if columns and (world or not isinstance(dataset, (str, os.PathLike))):
        what = f"dataset {str(dataset)!r}" if world else "a sequence of prompts"
        raise ValueError(f"{what} has no columns, got columns={dict(columns)}; leave them out")
    return world(split) if world else read_prompts(dataset, split, columns)


def dataset_splits(dataset: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return which of `SPLITS` a dataset has: a name, path or id as in `load_prompts`.

    A single file serves every split with the same prompts, and so does a dataset that was saved to
    disk without splits: it counts as "train" alone.

    Raises:
        DatasetError: If there is no such dataset.
    """
    return SPLITS if _world(dataset) else read_splits(dataset)


def _world(dataset: object) -> Callable[[str], list[Prompt]] | None:
    """Return what makes the prompts of a split, if the dataset is one of the package's own."""
    by_name = {"micro": micro_prompts, "instruct": instruct_prompts}
    return by_name.get(os.fspath(dataset)) if isinstance(dataset, (str, os.PathLike)) else None
