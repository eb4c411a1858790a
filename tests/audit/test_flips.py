"""The audit counts pairs that fail, by class; its command reports and refuses."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest

from pcrl_gym.audit.flips import audit, wilson_interval
from pcrl_gym.audit.page import audit_page
from pcrl_gym.audit.pairs import FlipPair
from pcrl_gym.cli import main
from pcrl_gym.compressor.worker import find_function

PAIRS = [
    FlipPair("not", "Name fruits that are not <sweet>", "Name fruits that are <sweet>"),
    FlipPair("not", "Who has not paid", "Who has paid"),
    FlipPair("number", "Give me 3 words", "Give me 5 words"),
]


def nothing(text: str) -> None:
    """Forgets to return."""


def without_not(text: str) -> str:
    return text.replace("not ", "")


def text_of(page: str) -> str:
    """What a page says, without its tags."""
    return unescape(re.sub(r"<[^>]+>", " ", page))


class Needs:
    def __init__(self, model: str) -> None:
        self.model = model


class Half:
    def compress(self, text: str, rate: float = 0.5) -> str:
        return text[: round(len(text) * (1 - rate))]


def test_failures_are_counted_by_class() -> None:
    found = audit(without_not, "bold", PAIRS)
    assert [(row.kind, row.pairs, row.flips) for row in found.rows] == [
        ("not", 2, 2), ("number", 1, 0), ("all", 3, 2),
    ]  # fmt: skip
    assert found.badge == "flip audit: 2 of 3 (66.7%)"
    assert [flip.fault for flip in found.flips] == ["same", "same"]
    total = sum(len(p.first + p.second) for p in PAIRS)
    assert found.total.saved == pytest.approx(8 / total)
    assert str(found).splitlines()[2].split()[:3] == ["not", "2", "2"]
    assert audit(str, "whole", PAIRS).total.flips == 0


def test_the_page_and_the_data_say_the_same() -> None:
    found = audit(without_not, "<bold>", PAIRS)
    text = text_of(audit_page(found))
    assert "Flip audit of <bold>" in text
    assert "Name fruits that are not <sweet>" in text
    assert "66.7%" in text
    data = found.to_dict()
    assert data["classes"][-1]["flips"] == 2
    assert data["flips"][0]["compressed_first"] == "Name fruits that are <sweet>"


def test_interval_by_hand() -> None:
    # z = 1.96, n = 10, p = 0: (0.192 ± 0.192) / 1.384
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-3)
    low, high = wilson_interval(5, 10)
    assert low + high == pytest.approx(1.0)


def test_what_cannot_be_audited_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        audit(str, "whole", [])
    with pytest.raises(ValueError, match="bad returned int, expected a string"):
        audit(len, "bad", PAIRS)  # type: ignore[arg-type]
    for spec, message in {
        "no_such:thing": "there is no module 'no_such'",
        ":thing": "expected module:function",
        "json:JSONDecoder": "expected a function from text to text",
        "fractions:Fraction": "expected a function from text to text",
        "html.parser:HTMLParser.x": "expected a function",
        f"{__name__}:Needs": "created without arguments",
        "json:no_such": "expected a function from text to text",
    }.items():
        with pytest.raises(ValueError, match=message):
            find_function(spec)


@pytest.mark.parametrize(("limit", "status"), [([], 0), (["--max-flips", "0"], 1)])
def test_the_command_reports_and_its_status_is_for_ci(
    limit: list[str], status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--html", str(tmp_path / "a.html")]
    assert main(["audit", f"{__name__}:without_not", *files, *limit]) == status
    out = capsys.readouterr().out
    assert "all " in out
    data = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert data["classes"][-1]["pairs"] >= 2_200
    assert data["classes"][-1]["flips"] > 100
    assert data["name"] in text_of((tmp_path / "a.html").read_text(encoding="utf-8"))


def test_classes_and_rates(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", f"{__name__}:Half", "--rate", "0"]) == 0
    assert " 0   0.0%" in capsys.readouterr().out.splitlines()[-1]
    assert main(["audit", f"{__name__}:without_not", "--rate", "0.5"]) == 2
    assert "does not accept --rate: leave it out" in capsys.readouterr().err
    assert main(["audit", "no_such_folder"]) == 2
    assert main(["audit", f"{__name__}:without_not", "--json", "no/such/folder.json"]) == 2
    assert "--json no/such/folder.json: expected a file in an existing" in capsys.readouterr().err
    assert main(["audit", f"{__name__}:nothing"]) == 2
    assert "returned NoneType, expected a string" in capsys.readouterr().err
    assert main(["audit", "micro", "--rate", "0.2", "--protect", "constraints"]) == 0
    assert capsys.readouterr().out.startswith("micro\nclass")


@pytest.mark.slow
def test_protected_constraints_do_not_flip(tmp_path: Path) -> None:
    """Micro's policy, with all that the written classes are about protected."""
    from pcrl_gym import Compressor
    from pcrl_gym.audit.pairs import written_pairs

    policy = Compressor.from_pretrained("micro", device="cpu")
    chosen = [p for p in written_pairs() if p.kind in {"not", "only", "except", "limit"}]
    plain = audit(lambda text: policy(text, rate=0.3).text, "plain", chosen)
    safe = audit(lambda text: policy(text, rate=0.3, protect="constraints").text, "safe", chosen)
    assert safe.total.flips < plain.total.flips / 2
