"""The command `pcrl-gym calibrate`, which certifies a policy, given prompts and a generator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

from cyclopts import Parameter
from cyclopts.types import PositiveInt
from cyclopts.validators import Number

from pcrl_gym.cli_tools import Names
from pcrl_gym.compressor.lost_answers import TOLERANCE, LostBy

Share = Annotated[float, Parameter(validator=Number(gt=0, lt=1))]


def calibrate(
    prompts: str,
    /,
    *,
    generator: str,
    out: str,
    model: str = "instruct",
    risk: Share = 0.05,
    confidence: Share = 0.95,
    split: str = "validation_seen",
    lost_by: Names = (),
    tolerance: Annotated[float, Parameter(validator=Number(gte=0))] = TOLERANCE,
    max_new_tokens: PositiveInt = 30,
    overwrite: bool = False,
    device: str = "auto",
) -> str:
    """Find how much a policy can drop without losing many answers, and save it with a certificate.

    `pcrl-gym compress --model FOLDER` then uses this rate, unless `--rate` or `--target-tokens` is
    given.

    Args:
        prompts: Dataset as for `gym.make`: a name, a file (`.json`, `.jsonl`, `.csv`,
            `.parquet`), a folder, or a hub id. The policy must not have been trained on it.
        generator: The model that answers: `"micro"`, `"smollm2"`, a folder, a hub id,
            `"openai:MODEL@BASE_URL"`, ...
        out: Folder for the policy with its certificate.
        model: `"instruct"` or `"micro"`, which ship with the package, a folder, or a hub id.
        risk: Largest accepted share of lost answers.
        confidence: Confidence that the risk is not exceeded.
        split: Split of the dataset. A single file has only one.
        lost_by: Criteria for lost answers: `likelihood`, `answer`, `check`. By default `likelihood`
            or, if the generator provides none, `answer`, plus `check` if prompts have checks.
        tolerance: Accepted likelihood loss, in nats per token.
        max_new_tokens: Maximum length of each answer in tokens.
        overwrite: Replace an existing compressor in the folder.
        device: `"auto"`, `"cpu"`, `"cuda"`, ...
    """
    # Imported late: `--help` and wrong arguments must not wait for torch.
    from pcrl_gym.compressor.compressor import Compressor
    from pcrl_gym.compressor.folder import check_replaceable

    check_replaceable(Path(out).resolve(), overwrite)
    calibrated = Compressor.from_pretrained(model, device=device).calibrate(
        prompts,
        generator,
        risk=risk,
        confidence=confidence,
        split=split,
        lost_by=cast(tuple[LostBy, ...], tuple(lost_by)) or None,
        tolerance=tolerance,
        max_new_tokens=max_new_tokens,
        progress=True,
    )
    calibrated.save_pretrained(out, overwrite=overwrite)
    return f"{calibrated.certificate}\nWritten to {out}: pcrl-gym compress --model {out}\n"
