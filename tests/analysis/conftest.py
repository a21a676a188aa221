"""One whole synthetic run for all tests of answers: made once, never changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.questions.asking import findings
from analysis.questions.published import as_json
from analysis.rundir.run import Run, open_run
from tests.support.runs.synthetic_run import Damage, Truth, write_run

Changed = Callable[..., Run]


@pytest.fixture(name="run", scope="session")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two arms, three rates, six pairs of blocks, hit rate 0.95; VALID."""
    return open_run(write_run(tmp_path_factory.mktemp("run") / "whole"))


@pytest.fixture(name="found", scope="session")
def _found(run: Run) -> dict[str, Any]:
    """Its findings, read back from JSON as a report would."""
    text = as_json(findings(run))
    document: dict[str, Any] = json.loads(text)
    return document


@pytest.fixture(name="small")
def _small(tmp_path: Path) -> Changed:
    """Writes and opens a small run (one rate, two pairs) with the damage that is named."""

    def write(truth: Truth | None = None, **damage: Any) -> Run:  # noqa: ANN401 - as Damage
        kept = truth or Truth(rates_per_s=(20.0,), pairs=2, block_s=2.0)
        return open_run(write_run(tmp_path / "small", kept, Damage(**damage)))

    return write
