"""docs/add-a-scenario.md, followed word for word with plain Locust against a small server."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.support.load.locust_process import (
    code_but_for_lag,
    end_of,
    recorded,
    start_locust,
    stub_server,
)
from tests.support.project.documented_commands import fenced
from tests.support.project.source_tree import ROOT

pytestmark = pytest.mark.integration

PAGE = ROOT / "docs" / "add-a-scenario.md"


def test_the_scenario_runs_as_written(tmp_path: Path) -> None:
    """50 arrivals per second look at items, about half of them buy, and all of it is recorded."""
    text = PAGE.read_text(encoding="utf-8")
    file, code = re.findall(r"```python\n# (\S+)\n(.*?)```", text, re.DOTALL)[0]
    (tmp_path / file).write_text(code, encoding="utf-8")
    command = next(command for command in fenced(PAGE) if command.startswith("locust -f"))

    with stub_server() as stub:
        words = shlex.split(command.replace("http://127.0.0.1:8000", stub.url))
        assert words[:3] == ["locust", "-f", file]
        ended, output = end_of(start_locust(*words[3:], files=file, cwd=tmp_path))
        seen = stub.seen()

    assert code_but_for_lag(ended, output) == 0, output
    rows = recorded(tmp_path / "out")
    sent = rows["name"].value_counts()
    planned = json.loads((tmp_path / "out/generator.json").read_text())["generator"][0]
    assert set(rows["scenario"]) == {"checkout"}
    assert sent["/items/{id}"] == planned["arrivals_planned"]
    assert 0.35 < sent["/orders"] / sent["/items/{id}"] < 0.65
    assert len(rows) == seen["requests"]
    assert seen["without_traceparent"] == 0
    assert {path.split("/")[1] for path in seen["paths"]} == {"items", "orders"}
