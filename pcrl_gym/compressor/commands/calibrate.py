"""Command line `pcrl-gym calibrate`: prompts and a generator in, a certified policy out."""

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
    """Find how much a policy may drop so that few answers are lost, and save it with a certificate.

    `pcrl-gym compress --model FOLDER` then drops so much, unless `--rate` or `--target-tokens`
    says otherwise.

    Args:
        prompts: Dataset as `gym.make` takes it: a name, a file (`.json`, `.jsonl`, `.csv`,
            `.parquet`), a folder or a hub id. The policy must not have been trained on it.
        generator: What answers: `"micro"`, `"smollm2"`, a folder, a hub id,
            `"openai:MODEL@BASE_URL"`, ...
        out: Folder for the policy with its certificate.
        model: `"instruct"` or `"micro"`, which come with the package, a folder or a hub id.
        risk: Largest share of lost answers.
        confidence: How sure that is to be.
        split: Split of the dataset; a single file has but one.
        lost_by: What makes an answer lost: `likelihood`, `answer`, `check`; by default `likelihood`
            or, if the generator gives none, `answer`, and `check` where prompts have checks.
        tolerance: Likelihood loss that is accepted, in nats per token.
        max_new_tokens: Limit of each answer.
        overwrite: Replace a compressor that is in the folder.
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
