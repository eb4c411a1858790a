"""Command line `pcrl-gym audit`: does a compressor lose what must not be lost?"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt
from cyclopts.validators import Number

Rate = Annotated[float, Parameter(validator=Number(gte=0, lte=1))]


def audit(
    compressor: str,
    /,
    *,
    rate: Rate | None = None,
    protect: Literal["constraints"] | None = None,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
    html_file: Annotated[Path | None, Parameter(name="--html")] = None,
    max_flips: NonNegativeInt | None = None,
    device: str = "auto",
) -> int:
    """Count the pairs of prompts of which a compressor loses the thing that decides the answer.

    The prompts of a pair differ in one thing, such as "not", a number or a format: about 200 pairs
    written by hand and 2,000 drawn from micro's tasks. Prints flips by class, with intervals.

    Args:
        compressor: `module:function` from text to text, `module:Class` with a method `compress`, or
            a policy: `micro`, a folder, a hub id.
        rate: Share to drop; passed on to a policy, and to a function that takes `rate`.
        protect: For a policy: `constraints` keeps negations, limits, formats and the like.
        json_file: File for all of it, failures included.
        html_file: File for a page.
        max_flips: Exit with status 1 if more pairs fail.
        device: Where a policy runs.
    """
    from pcrl_gym.audit.audit import Compress, find_function
    from pcrl_gym.audit.audit import audit as count_flips
    from pcrl_gym.audit.page import audit_page
    from pcrl_gym.storage.atomic import write_file

    compress: Compress
    if ":" in compressor and not Path(compressor).exists():
        function = find_function(compressor)
        takes_rate = "rate" in inspect.signature(function).parameters
        if protect is not None or (rate is not None and not takes_rate):
            option = "--protect" if protect else "--rate"
            raise ValueError(f"{compressor} takes no {option}: leave it out")
        options = {} if rate is None else {"rate": rate}

        def compress(text: str) -> str:
            return str(function(text, **options))
    else:
        from pcrl_gym.compressor.compressor import Compressor

        policy = Compressor.from_pretrained(compressor, device=device)

        def compress(text: str) -> str:
            return policy(text, rate=rate, protect=protect).text

    found = count_flips(compress, compressor, progress=True)
    if json_file is not None:
        write_file(json_file, json.dumps(found.to_dict(), indent=1, ensure_ascii=False) + "\n")
    if html_file is not None:
        write_file(html_file, audit_page(found))
    print(found, end="")
    return int(max_flips is not None and found.total.failed > max_flips)
