"""A run answers for its main root operation; what else came in is named and dilutes nothing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis.calltree.call_tree import build_trees
from analysis.questions.asking import findings
from analysis.questions.findings import Findings
from analysis.questions.root_operations import others_said, root_operations
from analysis.questions.shares.answer import Shares
from analysis.rundir.run import open_run
from tests.support.traces.span_tables import spans
from worthit.run.importing import ArmFiles, ImportOptions, import_traces


def _findings(table: pd.DataFrame, folder: Path) -> Findings:
    table.to_parquet(folder / "traces.parquet")
    files = (str(folder / "traces.parquet"),)
    options = ImportOptions(name="a", sources=(ArmFiles(files=files),), block_seconds=None)
    return findings(open_run(import_traces(options, out=folder, say=lambda _: None).path))


def _mixed() -> pd.DataFrame:
    kinds = {
        "GET /healthz": (50, 1, "SERVER"),
        "POST /checkout": (10, 500, "SERVER"),
        "GET /cart": (5, 20, "SERVER"),
        "GET /events": (20, 60_000, "SERVER"),
        "sweep": (30, 40, "INTERNAL"),
    }
    return spans(
        *(
            {"id": "r", "trace": f"{name}{n}", "name": name, "takes": takes, "kind": kind}
            for name, (count, takes, kind) in kinds.items()
            for n in range(count)
        )
    )


def test_the_main_root_operation_is_no_probe_stream_or_job() -> None:
    """Of five root operations the checkout is answered for, though four have more traffic."""
    table = _mixed()

    found = root_operations(table, build_trees(table))

    assert {
        "s: POST /checkout": "main",
        "s: GET /healthz": "health check",
        "s: sweep": "background work",
        "s: GET /events": "long-lived stream",
        "s: GET /cart": "other",
    } == dict(zip(found["root"], found["role"], strict=True))
    assert "s: POST /checkout" == found["root"].iloc[0]
    said = others_said(found)
    assert "The answers are for s: POST /checkout, 10 requests" in said
    assert "s: GET /healthz (50 requests, health check)" in said


def test_what_the_load_sent_is_no_background_work() -> None:
    """Where the load's trace ids are known, they tell requests from all else."""
    table = _mixed()
    sent = table.loc[table["name"] == "sweep", "trace_id"]

    found = root_operations(table, build_trees(table), sent).set_index("root")["role"]

    assert ("main", "background work") == (found["s: sweep"], found["s: POST /checkout"])


def test_one_root_operation_needs_no_sentence() -> None:
    """Where all requests are of one kind nothing is said of others."""
    table = spans({"id": "r", "takes": 5, "kind": "SERVER"})

    assert "" == others_said(root_operations(table, build_trees(table)))


def test_a_report_says_at_its_top_which_requests_it_is_about(tmp_path: Path) -> None:
    """The headline names the main root operation and the others with their traffic."""
    found = _findings(_mixed().assign(attributes=None), tmp_path)

    assert found.headline is not None
    assert "The answers are for s: POST /checkout, 10 requests" in found.headline.sentences[-1]
    assert 10 == found.of(Shares).requests[0].mean_ms.n


def test_many_operations_have_a_sum_per_service(tmp_path: Path) -> None:
    """Of 24 calls of 4 ms in a request of 100 ms half are the other service's: 48 %."""
    calls = [
        {"trace": f"t{n}", "id": f"c{k}", "parent": "r", "name": f"op {k}", "start": k * 4 + 2,
         "takes": 4, "service": "stock" if k % 2 else "s", "kind": "CLIENT"}
        for n in range(3)
        for k in range(24)
    ]  # fmt: skip
    roots = [{"trace": f"t{n}", "id": "r", "takes": 100, "kind": "SERVER"} for n in range(3)]
    many = spans(*roots, *calls)
    few = many[~many["name"].isin([f"op {k}" for k in range(6)])]

    found = _findings(many, tmp_path).of(Shares).services
    (tmp_path / "few").mkdir()

    assert {"s": 0.52, "stock": 0.48} == pytest.approx(
        {row.service: row.share.value for row in found}
    )
    assert () == _findings(few, tmp_path / "few").of(Shares).services
