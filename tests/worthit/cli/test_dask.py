"""--dask ADDRESS: a scheduler and two worker processes give what one process gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.runs.synthetic_run import Truth, write_run
from tests.support.traces.importable import jaeger, otlp, zipkin
from worthit.__main__ import main

distributed = pytest.importorskip(
    "distributed", reason="Dask is not installed; it comes with the extra worthit[scale]"
)
pytestmark = pytest.mark.integration


@pytest.fixture(name="address", scope="module")
def _address() -> Iterator[str]:
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
    ) as cluster:
        yield str(cluster.scheduler_address)


@pytest.fixture(name="traces", scope="module")
def _traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traces")
    for salt, write in enumerate((jaeger, otlp, zipkin), start=1):
        document = write(requests=20, queries=salt, salt=salt, arm="on" if salt > 1 else "off")
        (folder / f"{salt}.json").write_text(json.dumps(document))
    return folder


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert 0 == main([*arguments, "--json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_shares_are_equal(
    address: str, traces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of files and a run together, every number of `worthit shares` is the same."""
    run = write_run(tmp_path / "run", Truth(rates_per_s=(20.0,), pairs=2, block_s=2.0))
    asked = ["shares", str(traces), str(run)]

    alone = _json(capsys, *asked)
    together = _json(capsys, *asked, "--dask", address)

    assert alone == together


def test_reports_are_equal(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every answer of `worthit report` is the same when the workers give it."""
    run = write_run(tmp_path / "run", Truth(rates_per_s=(20.0,), pairs=2, block_s=2.0))

    for about in ([], ["--operation", "memory.retrieve"]):
        alone = _json(capsys, "report", str(run), *about)
        together = _json(capsys, "report", str(run), *about, "--dask", address)

        assert alone == together


def test_imported_runs_are_equal(
    address: str, traces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files that the workers read become the same run, resource attributes included."""
    asked = ["import", str(traces), "--arm-from", "service.version", "--out", str(tmp_path)]
    alone = _json(capsys, *asked)
    together = _json(capsys, *asked, "--dask", address)
    first, second = (
        pd.read_parquet(Path(told["run"]) / "spans.parquet")
        .sort_values(["trace_id", "span_id"], ignore_index=True)
        for told in (alone, together)
    )  # fmt: skip

    pd.testing.assert_frame_equal(first, second)
    assert alone["reasons"] == together["reasons"]


def test_a_scheduler_that_is_not_there_is_said(
    traces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody at the address is a sentence and exit code 1."""
    monkeypatch.setattr("analysis.scale.CONNECT_SECONDS", 1)

    code = main(["shares", str(traces), "--dask", "tcp://127.0.0.1:9"])

    assert 1 == code
    assert "No Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err


def test_what_needs_all_traces_at_once_is_refused(
    traces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--waits with --dask is wrong usage."""
    assert 2 == main(["shares", str(traces), "--waits", "--dask", "tcp://127.0.0.1:9"])
    assert "leave out --dask" in capsys.readouterr().err
