"""The pieces of a run that need no server: directory, timeline, plan document, halves joined."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.rundir.run import TABLE_COLUMNS
from tests.support.runs.experiments import experiment
from worthit.contract.manifest import Generator
from worthit.contract.plan import parse
from worthit.contract.scenario_files import scenarios_folder
from worthit.contract.tables import REQUESTS
from worthit.errors import UsageError, WorthitError
from worthit.experiments.plan import make_plan
from worthit.run import resume, run_directory
from worthit.run.artifacts import (
    Events,
    blocks_run,
    load_report,
    read_requests,
)
from worthit.run.load_process import begun_until_s, load_plan
from worthit.run.run_directory import RunDirectory, check_space
from worthit.run.session import spell_position

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def test_a_run_is_hidden_until_it_is_whole(tmp_path: Path) -> None:
    """Nothing stands under the final name before ``finish``, and all of it after."""
    run = RunDirectory(tmp_path, "small", NOON)
    run.write_json("manifest.json", {"a": 1})
    hidden = [path.name for path in tmp_path.iterdir()]

    path = run.finish()

    assert [".20261123T120000Z_small.part"] == hidden
    assert ["20261123T120000Z_small"] == [path.name for path in tmp_path.iterdir()]
    assert {"a": 1} == json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    assert not (path / "raw").exists()


def test_a_discarded_run_leaves_nothing(tmp_path: Path) -> None:
    """``discard`` removes all there is, and does nothing to a finished run."""
    RunDirectory(tmp_path, "small", NOON).discard()
    kept = RunDirectory(tmp_path, "small", NOON)
    kept.finish()
    kept.discard()

    assert ["20261123T120000Z_small"] == [path.name for path in tmp_path.iterdir()]


def test_what_a_power_cut_left_is_removed_by_the_next_run(tmp_path: Path) -> None:
    """A half whose lock nobody holds goes; a running one, a young one and other folders stay."""
    left = RunDirectory(tmp_path, "left", NOON)
    left._let_go()  # as when its process is gone
    young = RunDirectory(tmp_path, "young", NOON)
    young._let_go()
    running = RunDirectory(tmp_path, "running", NOON)
    foreign = tmp_path / ".foreign.part"
    foreign.mkdir()
    for folder in (left.path, running.path, foreign):
        os.utime(folder, (0, 0))

    RunDirectory(tmp_path, "next", NOON).discard()

    assert {young.path, running.path, foreign} == set(tmp_path.iterdir())


def test_two_runs_in_one_second_have_two_names(tmp_path: Path) -> None:
    """A name that a finished or a growing run has is not taken again."""
    first = RunDirectory(tmp_path, "small", NOON)
    second = RunDirectory(tmp_path, "small", NOON)
    first.finish()
    third = RunDirectory(tmp_path, "small", NOON)

    assert 3 == len({first.run_id, second.run_id, third.run_id})


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """``--out`` naming a file ends in one sentence that says what to do, exit code 2."""
    (tmp_path / "runs").write_text("")

    with pytest.raises(UsageError, match=r"cannot be written to .*; name another with --out DIR"):
        RunDirectory(tmp_path / "runs", "small", NOON)


def test_too_little_space_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 10 MB free a run is refused, and the sentence names found, needed and a way out."""
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000_000)
    monkeypatch.setattr(run_directory.shutil, "disk_usage", lambda _: usage)

    with pytest.raises(WorthitError, match=r"has 10 MB free .* needs about 314 MB; .*--out DIR"):
        check_space(tmp_path / "not" / "there" / "yet", 1000)


def test_the_plan_document_is_what_the_load_reads() -> None:
    """PLAN.json has the plan's blocks with each arm's host, and own knobs where they differ."""
    plan = make_plan(experiment())
    hosts = {"off": "http://127.0.0.1:1", "on": "http://127.0.0.1:2"}

    load = load_plan(plan, "run", hosts)

    assert load == parse(json.loads(json.dumps(load.as_json())))
    assert len(plan.blocks) == len(load.blocks)
    assert hosts["on"] == load.blocks[1].host
    assert {"personalities": plan.personalities, "people": 500} == load.knobs
    assert all(block.knobs is None for block in load.blocks)
    assert (scenarios_folder() / "chat.py").is_file()


def test_blocks_are_cut_where_the_run_was_stopped() -> None:
    """Blocks after the stop are left out, the one that was running ends there."""
    plan = make_plan(experiment())  # warm-up 2 x 3 s, then blocks of 2 s
    rows = blocks_run(plan, 1_000, 1_000 + 7_000_000_000)

    assert [0, 1, 2] == [row.block for row in rows]
    assert 1_000 + 7_000_000_000 == rows[-1].end_ns


def test_events_tell_the_schedule() -> None:
    """Blocks and steps have a begin and an end; warm-up ends where the first step begins."""
    plan = make_plan(experiment())
    events = Events(lambda: 5)
    events.add_schedule(plan, 0, 10**12)

    kinds = [kind for _, kind, _ in events.rows]
    assert [18, 18, 2, 2, 1] == [
        kinds.count(kind)
        for kind in ("block_start", "block_end", "step_start", "step_end", "warmup_end")
    ]
    (warm,) = [t for t, kind, _ in events.rows if kind == "warmup_end"]
    assert 6_000_000_000 == warm


@pytest.mark.parametrize(
    ("elapsed_s", "said"),
    [
        (-1.0, "starting Locust"),
        (1.0, "warming up, arm off"),
        (6.5, "load 5/s, arm off, block 3 of 18"),
        (99.0, "waiting for the last replies"),
    ],
)
def test_progress_says_where_the_schedule_stands(elapsed_s: float, said: str) -> None:
    """The sentence of the progress follows the plan."""
    assert said == spell_position(make_plan(experiment()), elapsed_s)


def test_requests_of_a_killed_worker_are_read_up_to_the_cut(tmp_path: Path) -> None:
    """A stream cut off inside its second batch gives the first batch's rows."""
    rows = {name: [None] for name in REQUESTS.names} | {"intended_ns": [1]}
    batch = pa.RecordBatch.from_pydict(rows, schema=REQUESTS)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, REQUESTS) as writer:
        writer.write_batch(batch)
        first_ends = sink.tell()
        writer.write_batch(batch)
    whole = sink.getvalue().to_pybytes()
    (tmp_path / "requests-0.arrows").write_bytes(whole[: first_ends + 100])

    assert 1 == read_requests(tmp_path).num_rows


def test_what_is_left_begins_with_a_warm_up_and_keeps_numbers_and_draws() -> None:
    """What is left after one pair: a warm-up of both arms, then the others, back to back."""
    plan = make_plan(experiment())
    left = [b for b in plan.blocks if not b.warmup and b.block > 3]

    rest = resume._plan_of(plan, left)

    assert [b.block for b in left] == [b.block for b in rest.blocks if not b.warmup]
    assert [b.pair for b in left] == [b.pair for b in rest.blocks if not b.warmup]
    assert [True, True, False] == [b.warmup for b in rest.blocks[:3]]
    assert [0.0, 3.0, 6.0, 8.0] == [b.start_s for b in rest.blocks[:4]]
    assert len({b.block for b in (*plan.blocks, *rest.blocks)}) == len(plan.blocks) + 2


def counters(*rows: tuple[int, str, str, float]) -> pa.Table:
    """A counters table of (time, source, name, value) without labels."""
    return pa.table(
        {
            "t_ns": [row[0] for row in rows],
            "source": [row[1] for row in rows],
            "name": [row[2] for row in rows],
            "labels": ["{}" for _ in rows],
            "value": [float(row[3]) for row in rows],
        }
    )


def test_counts_go_on_and_gauges_do_not() -> None:
    """Counts of 3 to 10, then of 2 to 6 by a new server, are 3 to 14; a gauge stays."""
    first = counters(
        (1, "postgres", "xact_commit", 3),
        (2, "postgres", "xact_commit", 10),
        (2, "postgres", "connections", 7),
    )
    second = counters(
        (3, "postgres", "xact_commit", 2),
        (4, "postgres", "xact_commit", 6),
        (4, "postgres", "connections", 1),
    )

    assert [10, 14, 1] == resume.carried_on(first, second).column("value").to_pylist()


def test_self_checks_add_up_or_keep_the_worse() -> None:
    """Sums of arrivals, the larger lag, and the half that missed its rate by more."""
    half = Generator(
        step=0,
        offered_per_s=10.0,
        achieved_per_s=10.0,
        arrivals_planned=10,
        arrivals_sent=10,
        lag_p50_ms=1.0,
        lag_p99_ms=2.0,
        in_flight_max=3,
    )
    worse = replace(half, achieved_per_s=9.0, arrivals_sent=9, dropped=1, lag_p99_ms=8.0)

    (row,) = resume.merge_generator([half], [worse])

    assert (20, 19, 1) == (row.arrivals_planned, row.arrivals_sent, row.dropped)
    assert (9.0, 8.0, None) == (row.achieved_per_s, row.lag_p99_ms, row.lag_max_ms)


def test_a_complete_run_is_not_resumed(tmp_path: Path) -> None:
    """Resuming a complete run is refused in a sentence."""
    for name, columns in TABLE_COLUMNS.items():
        empty = pa.table({column: pa.array([], pa.string()) for column in columns})
        pq.write_table(empty, tmp_path / f"{name}.parquet")
    (tmp_path / "manifest.json").write_text(
        json.dumps({"format_version": 1, "run_id": "x", "complete": True}), encoding="utf-8"
    )

    with pytest.raises(UsageError, match="is complete: there is nothing left to run"):
        resume.unfinished(tmp_path)


def test_a_recording_is_not_resumed(tmp_path: Path) -> None:
    """What `worthit record` was asked is no experiment: a sentence, not a traceback."""
    for name, columns in TABLE_COLUMNS.items():
        empty = pa.table({column: pa.array([], pa.string()) for column in columns})
        pq.write_table(empty, tmp_path / f"{name}.parquet")
    block = {"block": 0, "pair": 0, "arm": "off", "step": 0, "rate_per_s": 1.0, "warmup": False}
    content = {
        "format_version": 1,
        "run_id": "x",
        "complete": False,
        "experiment": {"command": ["locust"], "seconds": None},
        "blocks": [{**block, "start_ns": 1, "end_ns": 2}],
    }
    (tmp_path / "manifest.json").write_text(json.dumps(content), encoding="utf-8")

    with pytest.raises(UsageError, match="holds no experiment that could be carried on"):
        resume.unfinished(tmp_path)


def test_progress_counts_the_blocks_of_what_is_left() -> None:
    """A resumed run's blocks keep their numbers; the progress counts those of this half."""
    plan = make_plan(experiment())
    rest = resume._plan_of(plan, [b for b in plan.blocks if not b.warmup and b.block > 13])

    assert "load 20/s, arm off, block 3 of 6" == spell_position(rest, 6.5)


def test_databases_of_one_arm_are_one() -> None:
    """On a server of the user's own each half names its databases anew; the counts go on."""
    first = counters((1, "postgres", "xact_commit", 3), (2, "postgres", "xact_commit", 10))
    second = counters((3, "postgres", "xact_commit", 2), (4, "postgres", "xact_commit", 6))
    labels = [
        [json.dumps({"database": name, "table": "t"}, sort_keys=True)] * 2
        for name in ("w1_off", "w2_off")
    ]
    tables = [
        table.set_column(3, "labels", pa.array(texts))
        for table, texts in zip((first, second), labels, strict=True)
    ]

    renamed = resume.renamed(tables[0], {"w1_off": "w2_off"})

    assert labels[1] == renamed.column("labels").to_pylist()
    assert [10, 14] == resume.carried_on(renamed, tables[1]).column("value").to_pylist()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, 0.0), ("{", 0.0), ('{"begun_until_ns": 1500000000}', 1.5)],
    ids=["never written", "half written", "written"],
)
def test_how_far_a_stopped_load_came_is_its_own_word(
    tmp_path: Path, text: str | None, seconds: float
) -> None:
    """Without it nothing is known to be whole."""
    if text is not None:
        (tmp_path / "generator.json").write_text(text, encoding="utf-8")

    assert begun_until_s(tmp_path) == seconds


def test_every_locust_of_a_script_is_read(tmp_path: Path) -> None:
    """Each has a folder of its own: rows are put together, steps added up, workers listed."""
    rows = {name: [None] for name in REQUESTS.names} | {"intended_ns": [1]}
    batch = pa.RecordBatch.from_pydict(rows, schema=REQUESTS)
    step = {
        "step": 0,
        "offered_per_s": 10.0,
        "achieved_per_s": 10.0,
        "arrivals_planned": 10,
        "arrivals_sent": 10,
        "dropped": 0,
        "in_flight_cap_hits": 0,
        "in_flight_max": 3,
        "lag_p50_ms": 1.0,
        "lag_p99_ms": 2.0,
        "lag_max_ms": 3.0,
    }
    for number in ("1", "2"):
        folder = tmp_path / number
        folder.mkdir()
        with pa.ipc.new_stream(folder / "requests-0.arrows", REQUESTS) as writer:
            writer.write_batch(batch)
        report = {"generator": [step], "workers": [{"worker": "0"}]}
        (folder / "generator.json").write_text(json.dumps(report), encoding="utf-8")

    found = load_report(tmp_path)

    assert 2 == read_requests(tmp_path).num_rows
    assert [20] == [row.arrivals_sent for row in found.generator]
    assert 2 == len(found.workers)
