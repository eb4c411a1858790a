"""Datasets by name, path, or ID, including micro and instruct, which ship with the package."""

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

    A row has an instruction and may have an input, an output (the gold answer), a source, a check,
    and an ID, all strings, under the keys of any of these formats:

    | Format | Keys |
    |---|---|
    | Alpaca | `instruction`, `input`, `output`, `source` |
    | Dolly | `instruction`, `context`, `response`, `category` |
    | prompts and completions | `prompt`, `completion` |
    | questions and answers | `question`, `context`, `answer` |
    | OpenAI's chat | `messages`: list of `role` and `content` |
    | ShareGPT | `conversations`: list of `from` and `value` |
    | IFEval | `prompt`, `instruction_id_list`, `kwargs`: constraints that can be checked |

    Formats may be mixed as long as no two keys hold different texts for the same field. Other keys
    are ignored, and null is treated as an empty string. Only the first exchange of a conversation
    is used: the user's message is the instruction, and the assistant's message is the output. If
    there is a system message, it is the instruction, and the user's message is the input. The
    default ID of a row is `{file stem}:{row}`, counting rows from 0.

    Args:
        dataset: One of

            * `"micro"` or `"instruct"`, which ship with the package;
            * `"alpaca_plus"`, downloaded once from its repository, or `"gpteacher"`, from the Hub;
            * the path of a `.json` file (a list of rows), `.jsonl` (one row per line), `.csv` (keys
              in the first line, cells separated by commas, semicolons, or tabs; Python 3.10 cannot
              read null characters), or `.parquet`. A file has no splits and is used for any split;
            * a folder with one file per split, whose name without extension is the split or ends
              with it (`train.jsonl`, `alpaca_plus_validation_seen.json`), or with its parts, as
              on the Hub (`train-00000-of-00002.parquet`). They may be in a subfolder `data`;
            * a folder written by `Dataset.save_to_disk` or `DatasetDict.save_to_disk`; without
              splits, it is used for any split;
            * the ID of a dataset on the Hugging Face Hub;
            * a sequence of `Prompt`, which is used for any split.
        split: One of `SPLITS`.
        columns: Maps further keys to `instruction`, `input`, `output`, `source`, `check`, `id`,
            `messages`, or `conversations`, for example `{"task": "instruction"}`. Other keys for
            the same field are then ignored. Not supported for datasets without rows: `"micro"`,
            `"instruct"`, and sequences.

    Returns:
        The prompts in the order of the dataset, at least one, with distinct IDs.

    Raises:
        ValueError: If the split or a value of `columns` is unknown, or `columns` is not supported.
        DatasetError: If the dataset or the split cannot be found or read, is empty, or has a row
            that violates the schema or an empty prompt; the message names file, row, and key.

    Warns:
        UserWarning: If conversations have turns after the first exchange; it gives their number.
    """
    world = _world(dataset)
    if columns and (world or not isinstance(dataset, (str, os.PathLike))):
        what = f"dataset {str(dataset)!r}" if world else "a sequence of prompts"
        raise ValueError(f"{what} has no columns, got columns={dict(columns)}; leave them out")
    return world(split) if world else read_prompts(dataset, split, columns)


def dataset_splits(dataset: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return which of `SPLITS` a dataset has, given its name, path, or ID as in `load_prompts`.

    A single file or a dataset saved to disk without splits provides the same prompts for every
    split, so it counts as "train" only.

    Raises:
        DatasetError: If there is no such dataset.
    """
    return SPLITS if _world(dataset) else read_splits(dataset)


def _world(dataset: object) -> Callable[[str], list[Prompt]] | None:
    """Return the function that makes the prompts of a split, if the dataset is built in."""
    by_name = {"micro": micro_prompts, "instruct": instruct_prompts}
    return by_name.get(os.fspath(dataset)) if isinstance(dataset, (str, os.PathLike)) else None
