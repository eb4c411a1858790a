"""Effect of data types on answers: how many differ from float32, and by batch size."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from cyclopts.types import PositiveInt

from benchmarks.speed import figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcrl_gym.generators.base import Answer

_BATCH = 7  # rows of the other batches, with other positions and neighboring prompts
_COLUMNS = {
    "data type": "{dtype}", "prompts/s": "{prompts_per_second:.1f}",
    "differ from float32": "{from_float32:.1%}", "differ with the batch": "{with_batch:.1%}",
}  # fmt: skip


def run(
    *,
    generator: str = "smollm2",
    data: str = "instruct",
    prompts: PositiveInt = 1000,
    dtypes: tuple[str, ...] = ("float32", "bfloat16"),
    device: str = "auto",
    out: str | None = None,
) -> None:
    """Answer the same prompts in several data types and batches, and print how many answers differ.

    Args:
        generator: Name, ID, folder or GGUF file.
        data: Dataset whose split validation_seen, and then train, is answered.
        prompts: Number of prompts.
        dtypes: float32, which is always the first, and others.
        device: Device of the generator.
        out: JSON file for all results; must not exist.
    """
    settings = {**locals(), "new_tokens": figures.NEW_TOKENS, "batch": _BATCH}
    figures.check_new(out)
    from pcrl_gym.generators.loading import load_generator
    from pcrl_gym.named_datasets import load_prompts
    from pcrl_gym.prompts.template import make_template

    chosen = [row for split in (figures.SPLIT, "train") for row in load_prompts(data, split)]
    chosen, batches = chosen[:prompts], cast("list[Any]", ["auto", _BATCH])
    provenance, rows = figures.origin(), list[dict[str, Any]]()
    exact: Sequence[Answer] = ()
    for dtype in dict.fromkeys(["float32", *dtypes]):
        found: list[Sequence[Answer]] = []
        seconds: list[float] = []
        for batch in batches:
            loaded = load_generator(generator, device, dtype, batch)
            template = "chat" if loaded.tokenizer.chat_template else "alpaca"
            made = make_template(template, loaded.tokenizer)
            asked = [made.render(row).text for row in chosen]
            began = time.perf_counter()
            found.append(loaded.generate(asked, figures.NEW_TOKENS))
            seconds.append(time.perf_counter() - began)
        exact = exact or found[0]
        shares = {"from_float32": _differ(found[0], exact), "with_batch": _differ(*found)}
        rows.append({"dtype": dtype, "prompts_per_second": len(asked) / seconds[0], **shares})
    print(f"{len(asked)} prompts of {data}, {figures.NEW_TOKENS} tokens, {loaded.name}\n")
    print(figures.format_rows(rows, _COLUMNS), end="")
    result = {"settings": settings, "generator": loaded.name, "rows": rows}
    figures.write_figures(out, result | {"provenance": provenance})


def _differ(one: Sequence[Answer], other: Sequence[Answer]) -> float:
    pairs = zip(one, other, strict=True)
    return sum(a.token_ids != b.token_ids for a, b in pairs) / len(one)
