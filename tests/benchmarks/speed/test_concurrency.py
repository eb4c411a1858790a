from __future__ import annotations

from typing import Any

import pytest

from benchmarks.speed.concurrency import run
from fault_server import FaultServer
from pcrl_gym.generators.openai.generator import OpenAIGenerator


def test_requests_in_flight_are_measured(monkeypatch: pytest.MonkeyPatch, capsys):
    levels = []

    class Watched(OpenAIGenerator):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            levels.append(options["concurrency"])
            super().__init__(*arguments, **options)

    monkeypatch.setattr("benchmarks.speed.concurrency.OpenAIGenerator", Watched)
    with FaultServer() as server:
        run(model="m", base_url=server.url, levels=(1, 3), prompts=5, max_new_tokens=4)
        assert len(server.log) == 3 + 2 * 5
        assert len(set(server.asked)) == len(server.log)
    assert levels == [3, 1, 3]  # the first one warms up
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()]
    assert [row[1].strip() for row in rows[2:]] == ["1", "3"]
    assert all(float(row[2]) > 0 for row in rows[2:])


def test_more_prompts_than_micro_has_are_refused():
    with pytest.raises(ValueError, match="use fewer"):
        run(model="m", base_url="http://localhost:1/v1", prompts=100_000)
