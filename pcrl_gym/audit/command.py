"""The command `pcrl-gym audit`, which tests whether a compressor loses what must not be lost."""

from __future__ import annotations

import json
import sys
from functools import partial
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
    """Count the pairs of prompts for which a compressor loses the detail that decides the answer.

    The prompts of a pair differ in one detail, such as "not", a number, or a format. There are
    about 200 pairs written one by one and 2,000 from micro's tasks. Prints flips by class, with
    intervals.

    Args:
        compressor: `module:function` from text to text, `module:Class` with a method `compress`, or
            a policy: `instruct`, `micro`, a folder, a Hub id.
        rate: Share to drop, passed on to a policy, or a function that takes `rate`.
        protect: For a policy, `constraints` keeps negations, limits, formats, and the like.
        json_file: File for the full results, with every pair that fails.
        html_file: File for an HTML page, with up to 200 of these pairs.
        max_flips: Exit with status 1 if more pairs fail.
        device: Device for a policy.
    """
    from pcrl_gym.audit.flips import Compress, default_pairs
    from pcrl_gym.audit.flips import audit as count_flips
    from pcrl_gym.audit.page import audit_page
    from pcrl_gym.compressor.worker import find_function, takes_rate
    from pcrl_gym.storage.atomic import write_file

    for option, file in {"--json": json_file, "--html": html_file}.items():
        if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
            raise ValueError(f"{option} {file}: expected a file in an existing folder")
    compress: Compress
    pairs = default_pairs()
    if ":" in compressor and not Path(compressor).exists():
        sys.path.insert(0, str(Path.cwd()))  # like `python -m`
        function = find_function(compressor)
        if protect is not None or (rate is not None and not takes_rate(function)):
            option = "--protect" if protect else "--rate"
            raise ValueError(f"{compressor} does not accept {option}: leave it out")
        compress = function if rate is None else partial(function, rate=rate)
    else:
        from pcrl_gym.compressor.compressor import Compressor

        policy = Compressor.from_pretrained(compressor, device=device)
        texts = list({text: None for pair in pairs for text in (pair.first, pair.second)})
        done = policy(texts, rate=rate, protect=protect)
        compress = dict(zip(texts, (one.text for one in done), strict=True)).__getitem__

    found = count_flips(compress, compressor, pairs, progress=True)
    if json_file is not None:
        write_file(json_file, json.dumps(found.to_dict(), indent=1, ensure_ascii=False) + "\n")
    if html_file is not None:
        write_file(html_file, audit_page(found))
    print(found, end="")
    return int(max_flips is not None and found.total.flips > max_flips)
