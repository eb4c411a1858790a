"""The certificate of a compressor: how many answers it costs, how sure that is, what for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date as calendar_date
from typing import Any


@dataclass(frozen=True)
class Certificate:
    """What `Compressor.calibrate` found for one policy, one generator and one kind of prompts.

    It says: of prompts drawn like those of the calibration, which the policy compresses at `rate`,
    at most a share `risk` loses its answer. Such a statement is wrong in a share of at most
    `1 - confidence` of all calibrations.

    Attributes:
        rate: Share of the droppable units that is dropped, in [0, 1]; 0.0 where no rate passed:
            the original is sent.
        risk: Largest share of lost answers, above 0 and below 1.
        confidence: Above 0 and below 1.
        prompts: Number of prompts in the calibration.
        lost: How many of them lost their answer at `rate`.
        compression_ratio: Mean share of their tokens that was saved, at most 1.
        lost_by: What makes an answer lost, each of it alone; see `lost_answers.LostRule`.
        tolerance: Likelihood loss that is accepted, in nats per token; None if likelihoods do not
            count.
        max_new_tokens: Limit of each answer in generator tokens.
        data: Where the prompts came from.
        data_sha256: Their checksum, see `prompts.datasets.dataset_checksum`.
        generator: Name of the model that answered.
        generator_fingerprint: What only generators with the same answers share; None: not known.
        date: Day of the calibration, "2025-01-31".
        version: Version of `pcrl_gym`.

    Raises:
        ValueError: If a share is out of its range, more answers are lost than there are prompts, or
            the date is none.
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
            raise ValueError(f"rate must be a share from 0 to 1, got {self.rate!r}")
        check_inner_share("risk", self.risk)
        check_inner_share("confidence", self.confidence)
        if not 0 <= self.lost <= self.prompts:
            raise ValueError(f"lost must be from 0 to {self.prompts}, got {self.lost!r}")
        calendar_date.fromisoformat(self.date)

    def __str__(self) -> str:
        """Return the statement in a sentence."""
        risk, confidence = f"{100 * self.risk:g} %", f"{100 * self.confidence:g} % confidence"
        if not self.rate:
            return (
                f"No rate was found at which at most {risk} of the answers are lost, with "
                f"{confidence}: nothing is dropped."
            )
        return (
            f"At rate {self.rate:g}, at most {risk} of the answers are lost, with {confidence} "
            f"({self.lost} of {self.prompts} were, and {100 * self.compression_ratio:.1f} % of the "
            "tokens saved)."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return asdict(self) | {"lost_by": list(self.lost_by)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Certificate:
        """Return the certificate of some JSON; fields of a later version are left out.

        Raises:
            ValueError: If a field is missing, has another type or is out of its range.
        """
        from pydantic import TypeAdapter

        return TypeAdapter(cls).validate_python(dict(data))


def check_inner_share(name: str, value: float) -> None:
    """Raise a ValueError that names the argument if a share is not above 0 and below 1."""
    if not isinstance(value, (int, float)) or not 0.0 < value < 1.0:
        raise ValueError(f"{name} must be a share above 0 and below 1, got {value!r}")
