"""Model card of a saved compressor, with the origin, results, and limits of the policy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pcrl_gym.compressor.certificate import Certificate
from pcrl_gym.compressor.domain import QUANTILE

Row = Mapping[str, "str | int | float | None"]


@dataclass(frozen=True)
class PolicyCard:
    """Information that users need before using a policy.

    Attributes:
        dataset: Training data, such as "micro, split train".
        generator: The language model whose answers determined the reward.
        reward: Reward function, such as "threshold (0.9)".
        agent: How the policy was trained, such as "ppo, 5 minutes, seed 0".
        results: Rows of a table, keyed by column name.
        limits: Limitations beyond those of every policy.
        details: Other facts by name, such as command, commit, versions, and hours.
        license: Hub identifier of the license of the weights, such as "apache-2.0".
        language: Language code of the prompts, such as "en".
        base_model: Hub id of the encoder that the policy is based on.
        datasets: Hub ids of the training data.

    Raises:
        ValueError: If a field has the wrong type, or a row or detail holds anything but strings,
            numbers and None.
    """

    dataset: str = ""
    generator: str = ""
    reward: str = ""
    agent: str = ""
    results: tuple[Row, ...] = ()
    limits: str = ""
    details: Row = field(default_factory=dict)
    license: str = ""
    language: str = ""
    base_model: str = ""
    datasets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "results", tuple(self.results))
        object.__setattr__(self, "datasets", tuple(self.datasets))
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("results", "details"):
                rows = value if item.name == "results" else (value,)
                if not all(isinstance(row, Mapping) for row in rows):
                    raise ValueError(f"PolicyCard.{item.name} must contain mappings, got {value!r}")
                cells = [cell for row in rows for cell in row.values()]
                if not all(cell is None or isinstance(cell, (str, int, float)) for cell in cells):
                    raise ValueError(
                        f"PolicyCard.{item.name} may contain only strings, numbers, and None, got "
                        f"{value!r}"
                    )
            elif item.name == "datasets":
                if not all(isinstance(name, str) for name in value):
                    raise ValueError(f"PolicyCard.datasets must contain strings, got {value!r}")
            elif not isinstance(value, str):
                raise ValueError(f"PolicyCard.{item.name} must be a string, got {value!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-compatible data."""
        return asdict(self) | {
            "results": [dict(row) for row in self.results],
            "datasets": list(self.datasets),
            "details": dict(self.details),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PolicyCard:
        """Return the card from JSON data, ignoring fields of later versions."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


def card_text(card: PolicyCard, settings: Mapping[str, Any], name: str, parameters: int) -> str:
    """Return the model card as Markdown with front matter for the Hugging Face Hub.

    The settings `template`, `unit`, and `max_units` are required. `whole_words`,
    `max_tokens_per_word`, and `certificate` are optional.
    """
    front = {
        "library_name": "pcrl_gym",
        "license": card.license,
        "language": card.language,
        "base_model": card.base_model,
        "datasets": list(card.datasets),
        "tags": ["prompt-compression", "reinforcement-learning"],
        "model-index": _model_index(card, name),
    }
    # JSON is valid YAML and quotes any value.
    lines = [f"{key}: {json.dumps(value)}" for key, value in front.items() if value]
    facts = {
        "Training data": card.dataset,
        "Generator": card.generator,
        "Reward": card.reward,
        "Training": card.agent,
    } | {name: format_cell(value) for name, value in card.details.items()}
    facts = {fact: value or "not recorded" for fact, value in facts.items()}
    facts["Reads"] = (
        f"{settings['max_units']} {settings['unit']} units at once, "
        f"in the template `{settings['template']}`"
    )
    if settings.get("whole_words"):
        facts["Drops"] = "whole words, numbers and names"
    if limit := settings.get("max_tokens_per_word"):
        facts["Tokens per word"] = (
            f"at most {limit:.3f} in {100 * QUANTILE:g}% of the training prompts; a text with "
            "more has `in_domain=False`"
        )
    limits = f"\n\n{card.limits}" if card.limits else ""
    columns = list(dict.fromkeys(column for row in card.results for column in row))
    rows = [[format_cell(row.get(column)) for column in columns] for row in card.results]
    return f"""---
{chr(10).join(lines)}
---
# {" ".join(name.split())}

A prompt compressor of {parameters:,} parameters for
[pcrl_gym](https://pypi.org/project/pcrl-gym/). It deletes the parts of a prompt that, from what it
learned, a language model does not need for its answer. The remaining text is the user's own.

```python
from pcrl_gym import Compressor

compressor = Compressor.from_pretrained({json.dumps(name)})
print(compressor("Could you please sort these words for me: pear, fig, apple"))
print(compressor("Could you please sort these words for me: pear, fig, apple", rate=0.3))
```

## Training

{_table(("", ""), facts.items())}

## Results

{_table(columns, rows) if rows else "None are recorded."}

{_certificate_text(settings.get("certificate"))}## Limits

It was trained with the data, the generator and the reward above. Words that are not needed there
may be needed elsewhere, so measure on your own prompts and model before relying on it. It reads
only the prompt, and does not know which names or numbers must not be lost. Protect them with
`force_keep` and `keep_digits`.{limits}
"""


def _model_index(card: PolicyCard, name: str) -> list[dict[str, Any]]:
    """Return the results in the format of the Hub, or an empty list if there are none.

    See https://huggingface.co/docs/hub/model-cards#evaluation-results.
    """
    results = []
    for row in card.results:
        labels = {key: str(value) for key, value in row.items() if isinstance(value, str)}
        figures = {key: v for key, v in row.items() if isinstance(v, (int, float))}
        dataset = ", ".join(labels.values()) or card.dataset or "unknown"
        metrics = [{"type": key, "value": value} for key, value in figures.items()]
        task = {"type": "other", "name": "prompt compression"}
        results.append(
            {"task": task, "dataset": {"name": dataset, "type": dataset}, "metrics": metrics}
        )
    return [{"name": name, "results": results}] if results else []


def _certificate_text(stored: Mapping[str, Any] | None) -> str:
    """Return the certificate section, or an empty string without a certificate."""
    if stored is None:
        return ""
    # Imported late, as loading a policy does not need it.
    from pcrl_gym.scoring.scorer import SURVIVAL_THRESHOLD

    certificate = Certificate.from_dict(stored)
    loss = f"its likelihood falls by more than {certificate.tolerance} nats per token"
    meanings = {
        "likelihood": loss,
        "answer": f"its similarity to the original one is at most {SURVIVAL_THRESHOLD}",
        "check": "it fails the prompt's check, and the original one does not",
    }
    facts = {
        "An answer is lost if": ", or ".join(meanings[name] for name in certificate.lost_by),
        "Prompts": f"{certificate.prompts}: {certificate.data}",
        "Checksum of the prompts": f"`{certificate.data_sha256}`",
        "Answered by": f"{certificate.generator}, {certificate.max_new_tokens} tokens at most",
        "Fingerprint": f"`{certificate.generator_fingerprint or 'not known'}`",
        "When": f"{certificate.date}, pcrl_gym {certificate.version}",
    }
    return f"""## Certificate

{certificate} This holds for prompts that are drawn like those of the calibration, for this
generator, and for calls with a text or an instruction and no rate, budget or further protection.

{_table(("", ""), facts.items())}

"""


def format_cell(value: str | int | float | None) -> str:
    """Return a table cell, with floats rounded to three decimals.

    Example:
        >>> format_cell(0.25), format_cell(None), format_cell(12)
        ('0.250', '', '12')
    """
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _table(columns: Any, rows: Any) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in line) + " |"
        for line in lines
    )
