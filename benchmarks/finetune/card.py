"""The model card of a tuned generator, from what the run measured."""

from __future__ import annotations

from typing import Any

from benchmarks.finetune.evaluation import figures_tables


def card(
    settings: dict[str, Any], report: dict[str, Any], splits: dict[str, Any] | None = None
) -> str:
    """Return what the model is and is not, with figures of the held-out splits if there are any."""
    if settings["from_config"] is not None:
        origin = f"trained from random weights ({settings['from_config']})"
        warning = (
            "\nA small model that saw nothing but this data: it knows little of the world, and "
            "results with it say nothing about large language models.\n"
        )
    else:
        lora = f", LoRA of rank {settings['lora']}, merged" if settings["lora"] else ""
        origin = f"tuned from {settings['model']}{lora}"
        warning = ""
    table = ""
    if splits:
        table = (
            "\nGreedy answers against the gold ones, beside the commonest answer in training of "
            "each prompt's source (of all training, where a source is new). A text is known if a "
            "training prompt shares a rare run of six words with the prompt, the prompt "
            f"contaminated if one of those has the same answer:\n\n{figures_tables(splits)}\n"
        )
    return f"""# Tuned generator

A model of {report["parameters"]:,} parameters, {origin} on the answers of {report["rows"]:,}
prompts of `{settings["data"]}` (SHA-256 of the prompts `{settings["train_sha256"][:16]}`), laid out
by the {settings["template"]} template of pcrl_gym: {report["steps"]:,} steps in
{report["minutes"]:.0f} minutes on {report["device"]}. The terms of the data and of the model it
began with hold for it too.
{warning}{table}"""
