"""Certificate that bounds the share of answers that a compressor loses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date as calendar_date
from typing import Any


@dataclass(frozen=True)
class Certificate:
    """Result of `Compressor.calibrate` for one policy, one generator, and one kind of prompts.

    It states that at most a share `risk` of prompts loses its answer if they are drawn like the
    calibration prompts and compressed by the policy at `rate`. Such statements are wrong for at
    most a share `1 - confidence` of all calibrations.

    Attributes:
        rate: Share of the droppable units that is dropped, in [0, 1]. If no rate passed, it is 0.0,
            and the original is sent.
        risk: Largest accepted share of lost answers, above 0 and below 1.
        confidence: Confidence of the statement, above 0 and below 1.
        prompts: Number of prompts in the calibration.
        lost: Number of these prompts that lost their answer at `rate`.
        compression_ratio: Mean share of their tokens that was saved, at most 1.
        lost_by: Criteria, any of which makes an answer lost; see `lost_answers.LostRule`.
        tolerance: Accepted likelihood loss in nats per token, or None if likelihoods do not count.
        max_new_tokens: Maximum length of each answer in generator tokens.
        data: Source of the prompts.
        data_sha256: Checksum of the prompts, see `prompts.datasets.dataset_checksum`.
        generator: Name of the model that answered.
        generator_fingerprint: Shared only by generators that give the same answers, or None if
            unknown.
        date: Date of the calibration, such as "2025-01-31".
        version: Version of `pcrl_gym`.

    Raises:
        ValueError: If a share is out of range, there are more lost answers than prompts, or the
            date is invalid.
    """

    rate: float
    risk: float
    confidence: float
    prompts: int
    lost: int
    compression_ratio: float
    lost_by: tuple[str, ...]
    tolerance: float | None
    max_new_tokens: int
    data: str
    data_sha256: str
    generator: str
    generator_fingerprint: str | None
    date: str
    version: str

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate <= 1.0:
            raise ValueError(f"rate must be between 0 and 1, got {self.rate!r}")
        check_inner_share("risk", self.risk)
        check_inner_share("confidence", self.confidence)
        if not 0 <= self.lost <= self.prompts:
            raise ValueError(f"lost must be from 0 to {self.prompts}, got {self.lost!r}")
        calendar_date.fromisoformat(self.date)

    def __str__(self) -> str:
        """Return the statement as a sentence."""
        risk, confidence = f"{100 * self.risk:g}%", f"{100 * self.confidence:g}% confidence"
        if not self.rate:
            return (
                f"No rate was found at which at most {risk} of the answers are lost, with "
                f"{confidence}: nothing is dropped."
            )
        return (
            f"At rate {self.rate:g}, at most {risk} of the answers are lost, with {confidence} "
            f"({self.lost} of {self.prompts} were, and {100 * self.compression_ratio:.1f}% of the "
            "tokens saved)."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-compatible data."""
        return asdict(self) | {"lost_by": list(self.lost_by)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Certificate:
        """Return the certificate from JSON data, ignoring fields of later versions.

        Raises:
            ValueError: If a field is missing, has the wrong type, or is out of range.
        """
        from pydantic import TypeAdapter

        return TypeAdapter(cls).validate_python(dict(data))


def check_inner_share(name: str, value: float) -> None:
    """Raise a `ValueError` naming the argument unless its value is above 0 and below 1."""
    if not isinstance(value, (int, float)) or not 0.0 < value < 1.0:
        raise ValueError(f"{name} must be above 0 and below 1, got {value!r}")
