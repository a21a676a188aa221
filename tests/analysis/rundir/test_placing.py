"""To which arm, level and block a recording's requests belong, and who says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.questions.asking import findings
from analysis.report import writing
from analysis.report.assembly import assemble
from analysis.rundir.manifest import Manifest
from analysis.rundir.placing import place, write
from analysis.rundir.run import open_run
from worthit.contract.tables import COUNTERS, EVENTS, REQUESTS, SPANS_WITH_RESOURCE

SECOND = 10**9
PLAIN = Manifest(format_version=1, run_id="r", experiment={"command": ["./load.sh"]})


def span(number: int, **more: object) -> dict[str, object]:
    """A SERVER span of its own trace, one a second."""
    return {
        "trace_id": f"{number:032x}",
        "span_id": f"{number:016x}",
        "service": "shop",
        "name": "GET /price/{id}",
        "kind": "SERVER",
        "start_ns": number * SECOND,
        "duration_ns": 10_000_000,
        "status": "UNSET",
        "attributes": "{}",
        "follows_from": False,
        **more,
    }


def request(number: int, arm: str | None, block: int | None) -> dict[str, object]:
    """The load's row of the same trace."""
    at = number * SECOND - 1_000_000
    return {
        "trace_id": f"{number:032x}",
        "arm": arm,
        "step": 0,
        "block": block,
        "name": "/price/[id]",
        "scenario": "Shop",
        "draw": number,
        "intended_ns": at,
        "sent_ns": at,
        "end_ns": at + 12_000_000,
        "status_code": 200,
        "response_bytes": 10,
    }


def folder_of(
    folder: Path,
    spans: Sequence[dict[str, object]],
    requests: Sequence[dict[str, object]] = (),
    **manifest: object,
) -> Path:
    """A recording as it lies on disk, made before requests were given their arms."""
    folder.mkdir(exist_ok=True)
    for name, rows, schema in (
        ("spans", spans, SPANS_WITH_RESOURCE),
        ("requests", requests, REQUESTS),
        ("counters", (), COUNTERS),
        ("events", (), EVENTS),
    ):
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), folder / f"{name}.parquet")
    content = {
        "format_version": 1,
        "run_id": "20261130T160219Z_shop",
        "experiment": {"command": ["./load.sh"]},
        "recorded": {"spans": len(spans), "requests": len(requests)},
        "verdict": {"verdict": "VALID", "reasons": []},
        **manifest,
    }
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder


def test_the_loads_rows_place_a_service_that_knows_nothing_of_them(tmp_path: Path) -> None:
    """Two arms in four blocks follow from trace ids; health checks belong to none."""
    arms = ["off"] * 5 + ["on"] * 5 + ["on"] * 5 + ["off"] * 5
    requests = [request(10 + at, arm, at // 5) for at, arm in enumerate(arms)]
    spans = [span(number) for number in (1, 2, *range(10, 30))]

    run = open_run(folder_of(tmp_path / "run", spans, requests))

    assert [("off", True), ("on", False)] == [
        (arm.name, arm.baseline) for arm in run.manifest.arms
    ]
    found = [(block.block, block.arm, block.pair) for block in run.manifest.blocks]
    assert [(0, "off", 0), (1, "on", 0), (2, "on", 1), (3, "off", 1)] == found
    assert len(run.measured_spans) == 20
    assert run.spans["arm"].isna().sum() == 2
    placed = run.manifest.placed
    assert placed is not None
    assert (20, 0, 2) == (placed.requests, placed.spans, placed.nobody)
    assert (
        "Arms of 22 traces: 20 by the load's record of their trace id;"
        " 2 could not be placed and are left out." == placed.sentence()
    )


def test_the_four_parties_are_believed_in_order(tmp_path: Path) -> None:
    """A row before baggage, baggage before the named resource attribute, then the recording."""
    resource = {"resource": '{"service.name":"shop","service.version":"v2"}'}
    spans = [
        span(1, arm="baggage", step=1, block=7, **resource),
        span(2, arm="baggage", step=1, block=7, **resource),
        span(3, **resource),
        span(4, resource='{"service.name":"shop"}'),
    ]
    folder = folder_of(tmp_path, spans, [request(1, "row", 3)])
    wishes = replace(PLAIN, arm_from="service.version", arm="whole", block=9)

    placement = place(folder, wishes)
    write(folder / "spans.parquet", placement)

    written = pd.read_parquet(folder / "spans.parquet")
    assert ["row", "baggage", "v2", "whole"] == written["arm"].tolist()
    assert [3, 7] == written["block"].iloc[:2].tolist()
    placed = placement.placed
    assert (1, 1, 1, 1, 0) == (
        placed.requests, placed.spans, placed.resource, placed.recording, placed.nobody,
    )  # fmt: skip


def test_a_whole_recording_may_be_one_block_of_one_arm(tmp_path: Path) -> None:
    """`record --arm off --block 3`: any load tool, nothing on the spans."""
    folder = folder_of(tmp_path, [span(number) for number in range(1, 21)])

    placement = place(folder, replace(PLAIN, arm="off", block=3))

    (block,) = placement.blocks
    assert (3, "off", 0) == (block.block, block.arm, block.step)
    assert block.rate_per_s == pytest.approx(20 / 19.01)


def test_arms_of_a_resource_attribute_make_blocks_of_their_stretches(tmp_path: Path) -> None:
    """The service was restarted between the arms; a first request by hand is no block."""
    versions = ["on"] + ["off"] * 20 + ["on"] * 20 + ["off"] * 20
    spans = [
        span(number, resource=json.dumps({"service.version": version}))
        for number, version in enumerate(versions, start=1)
    ]
    folder = folder_of(tmp_path / "run", spans)

    run = open_run(folder, arm_from="service.version")

    assert ["off", "on", "off"] == [block.arm for block in run.manifest.blocks]
    assert [20, 20, 20] == run.measured_spans.groupby("block").size().tolist()
    assert findings(run).headline is not None


def test_a_name_with_an_id_in_it_is_one_operation(tmp_path: Path) -> None:
    """A hundred paths of one route are one row of every table."""
    spans = [span(number, name=f"GET /orders/{number}", arm="off") for number in range(1, 101)]

    run = open_run(folder_of(tmp_path / "run", spans))

    assert {"GET /orders/{id}"} == set(run.projected_measured_spans["name"])
    assert "GET /orders/7" in set(run.spans["name"])


@pytest.mark.filterwarnings("error")
def test_a_report_is_written_without_a_warning_where_little_is_known(tmp_path: Path) -> None:
    """Arms and no levels, no load, spans that take no time, names in brackets: no traceback."""
    arms = ["off"] * 20 + ["on"] * 20
    spans = [
        span(number, arm=arm, name="GET /x/[id]", duration_ns=0)
        for number, arm in enumerate(arms, start=1)
    ]
    run = open_run(folder_of(tmp_path / "run", spans))
    found = findings(run)

    document = assemble(run, found)
    page = writing.write(document, found, run.path)

    text = page.read_text()
    for word in ("cache off", "mulated", "ersonality", "same draw", "hits and misses"):
        assert word not in text


def test_arms_that_serve_side_by_side_are_one_block_each(tmp_path: Path) -> None:
    """A canary beside the old version: their requests take turns."""
    spans = [span(number, arm="ab"[number % 2]) for number in range(1, 41)]

    run = open_run(folder_of(tmp_path / "run", spans))

    assert {"a": 20, "b": 20} == run.measured_spans.groupby("arm").size().to_dict()
    assert len(run.manifest.blocks) == 2


@pytest.mark.parametrize("parent", [None, "00000000000000ff"], ids=["none", "not recorded"])
def test_a_root_may_have_a_parent_that_nobody_recorded(tmp_path: Path, parent: str | None) -> None:
    """A load or a gateway that exports nothing leaves requests with a parent: they count."""
    spans = [
        span(number, parent_span_id=parent, arm=arm, step=0, block=block)
        for number, (arm, block) in enumerate([("off", 0), ("on", 1)] * 3, start=1)
    ]
    inner = {**spans[0], "span_id": "a" * 16, "parent_span_id": spans[0]["span_id"]}

    found = place(folder_of(tmp_path, [*spans, inner]), PLAIN)

    assert [("off", True), ("on", False)] == [(arm.name, arm.baseline) for arm in found.arms]
    assert [(0, "off"), (1, "on")] == [(block.block, block.arm) for block in found.blocks]


@pytest.mark.parametrize("rows", [0, 1])
def test_next_to_nothing_is_placed_without_complaint(tmp_path: Path, rows: int) -> None:
    """No span, or one without an arm: no arms, no blocks, no traceback."""
    found = place(folder_of(tmp_path, [span(1)][:rows]), PLAIN)

    assert ((), ()) == (found.arms, found.blocks)
    assert rows == found.placed.nobody


def test_marked_blocks_place_what_began_and_ended_in_them(tmp_path: Path) -> None:
    """At a mark and while an arm settles nobody knows whose a request is: set aside, counted."""
    folder = folder_of(
        tmp_path / "run",
        [
            span(9),  # before the first mark
            span(10),  # while the first block settles
            *(span(number) for number in range(12, 18)),
            span(19, duration_ns=2 * SECOND),  # under way at the mark of "on"
            *(span(number) for number in range(22, 28)),
            span(31),  # after the end
            span(25_000, start_ns=25 * SECOND, arm="baggage", block=5, step=0),
        ],
        settle_s=1.5,
    )
    marks = [(10, "off", 3), (20, "on", None), (30, None, None)]
    events = [
        {"t_ns": at * SECOND, "kind": "mark", "detail": json.dumps({"arm": arm, "block": block})}
        for at, arm, block in marks
    ]
    pq.write_table(pa.Table.from_pylist(events, schema=EVENTS), folder / "events.parquet")

    run = open_run(folder)

    found = [(block.arm, block.block) for block in run.manifest.blocks]
    assert found == [("off", 3), ("on", 4), ("baggage", 5)]
    placed = run.manifest.placed
    assert placed is not None
    assert (12, 1, 2, 2) == (placed.marks, placed.spans, placed.set_aside, placed.nobody)
    assert (
        "Arms of 17 traces: 1 by worthit.* attributes on their spans, 12 by the marked"
        " block that they began in; 2 at the edge of a marked block are set aside; 2 could not be"
        " placed and are left out." == placed.sentence()
    )
