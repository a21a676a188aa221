"""Opening a run directory: what is read, and what is refused in which words."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from analysis.errors import ColumnError, InputError
from analysis.rundir.manifest import parse
from analysis.rundir.run import TABLE_COLUMNS, Run, open_run, read_table
from tests.support.runs.synthetic_run import Truth, write_foreign_run, write_run

TINY = Truth(rates_per_s=(10.0,), pairs=1, block_s=1.0)


def change_manifest(folder: Path, **changes: object) -> None:
    """Overwrite top-level keys of a manifest."""
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "tiny", TINY)


def test_every_table_has_the_columns_and_types_of_the_format(run: Run) -> None:
    """The four tables have exactly the format's columns, with the types that keep their nulls."""
    for table, columns in TABLE_COLUMNS.items():
        found = getattr(run, table)

        assert columns == {name: str(kind) for name, kind in found.dtypes.items()}


def test_warm_up_is_read_and_not_counted(run: Run) -> None:
    """Two warm-up blocks of 40 requests are in the table and not among the measured."""
    warmup = [block.block for block in run.manifest.blocks if block.warmup]

    assert [0, 1] == warmup
    assert 80 == len(run.requests) - len(run.measured_requests)
    assert set() == set(warmup) & set(run.measured_spans["block"])


def test_spans_outside_of_blocks_are_not_counted(folder: Path) -> None:
    """A span without a block, such as one from pre-warming, is read and not measured."""
    spans = pd.read_parquet(folder / "spans.parquet")
    before = len(open_run(folder).measured_spans)
    extra = spans.tail(1).assign(block=None)
    pd.concat([spans, extra]).to_parquet(folder / "spans.parquet")

    again = open_run(folder)

    assert len(spans) + 1 == len(again.spans)
    assert before == len(again.measured_spans)


def test_a_run_without_blocks_counts_everything(tmp_path: Path) -> None:
    """Somebody else's service has no blocks, so all its spans count and there is no baseline."""
    run = open_run(write_foreign_run(tmp_path / "foreign", requests=20))

    assert len(run.spans) == len(run.measured_spans) > 0
    assert run.manifest.baseline is None


def test_nanoseconds_are_read_exactly(run: Run) -> None:
    """Times near 1.8e18 keep their last digit, which a float64 would round to 256 ns."""
    raw = pd.read_parquet(run.path / "requests.parquet")["end_ns"].astype("int64")

    assert list(raw) == list(run.requests["end_ns"].astype("int64"))


def test_the_unflagged_first_arm_is_the_baseline(folder: Path) -> None:
    """Without a flag the first arm is what the others are held against."""
    change_manifest(folder, arms=[{"name": "one"}, {"name": "two"}])

    manifest = open_run(folder).manifest

    assert ("one", ("two",)) == (manifest.baseline, manifest.treatments)


def test_blocks_numbered_by_arm_get_numbers_of_their_own(folder: Path) -> None:
    """Two arms that both begin at block 0 are not taken for one block."""
    expected = len(open_run(folder).measured_requests)
    manifest = json.loads((folder / "manifest.json").read_text())
    again = {2: 0, 3: 0, 0: 1, 1: 1}
    for block in manifest["blocks"]:
        block["block"] = again[block["block"]]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for table in ("spans", "requests"):
        rows = pd.read_parquet(folder / f"{table}.parquet")
        rows["block"] = rows["block"].map(again).astype("int32")
        rows.to_parquet(folder / f"{table}.parquet")

    run = open_run(folder)

    assert [0, 1, 2, 3] == [block.block for block in run.manifest.blocks]
    assert expected == len(run.measured_requests)
    assert {2: "off", 3: "on"} == dict(run.measured_requests.groupby("block")["arm"].first())


def test_unknown_manifest_keys_do_no_harm(folder: Path) -> None:
    """A later writer's keys do not make a run unreadable."""
    before = open_run(folder).manifest
    change_manifest(folder, something_new={"a": 1})

    assert before == open_run(folder).manifest


def test_a_manifest_that_was_written_is_read_back(folder: Path) -> None:
    """``as_json`` and ``parse`` are each other's inverse, through a file."""
    manifest = open_run(folder).manifest

    assert manifest == parse(json.loads(json.dumps(manifest.as_json())))


def test_old_names_of_cross_checks_are_understood(folder: Path) -> None:
    """Older manifests call cross-checks witnesses."""
    counts = {"what": "database calls", "arm": "off", "from_spans": 3.0, "independent": 4.0}
    change_manifest(folder, cross_checks=[{**counts, "counted_by": "PostgreSQL"}])
    today = open_run(folder).manifest
    content = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    content["witnesses"] = [{**counts, "witness": "PostgreSQL"}]
    del content["cross_checks"]

    assert today == parse(content)
    assert "PostgreSQL" == today.cross_checks[0].counted_by


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "manifest.json").unlink(), "no manifest.json was found"),
        (lambda f: (f / "manifest.json").write_text("{"), "not readable as JSON"),
        (lambda f: (f / "manifest.json").write_text("[]"), "a JSON list was found"),
        (lambda f: change_manifest(f, format_version=2), "format version 2 was found, 1 was"),
        (lambda f: change_manifest(f, format_version=None), "format version None was found"),
        (lambda f: change_manifest(f, blocks=[{"block": 1}]), r"blocks\.0\.pair: Field required"),
        (lambda f: (f / "spans.parquet").unlink(), "spans.parquet: the table is missing"),
        (lambda f: (f / "requests.parquet").write_text("text"), "not a whole Parquet file"),
        (
            lambda f: (f / "counters.parquet").write_bytes(
                (f / "counters.parquet").read_bytes()[:-100]
            ),
            "not a whole Parquet file",
        ),
    ],
    ids=[
        "no-manifest", "half-manifest", "list", "newer", "no-version", "half-block", "no-table",
        "text-as-parquet", "cut-off",
    ],
)  # fmt: skip
def test_damage_is_one_sentence(folder: Path, damage: object, message: str) -> None:
    """Each kind of damage is refused at the door, with the file and what was found."""
    damage(folder)  # type: ignore[operator]  # the parameters are functions of the folder

    with pytest.raises(InputError, match=message):
        open_run(folder)


def test_damaged_pages_are_found_when_read(folder: Path) -> None:
    """A table whose footer is whole and whose pages are not is an error, not half a table."""
    file = folder / "spans.parquet"
    content = bytearray(file.read_bytes())
    content[100:3000] = b"\xff" * 2900
    file.write_bytes(bytes(content))

    with pytest.raises(InputError, match="the table is damaged"):
        read_table(folder, "spans")


def test_a_missing_column_is_named(folder: Path) -> None:
    """A table without a column of the format says which."""
    spans = pd.read_parquet(folder / "spans.parquet").drop(columns=["duration_ns"])
    spans.to_parquet(folder / "spans.parquet")

    with pytest.raises(ColumnError, match="column duration_ns is missing"):
        open_run(folder)


@pytest.mark.parametrize("name", ["absent", "file"])
def test_what_is_no_folder_is_said(tmp_path: Path, name: str) -> None:
    """Nothing, or a file, in place of the run directory is said as such."""
    (tmp_path / "file").write_text("")
    found = {"absent": "nothing", "file": "a file"}[name]

    with pytest.raises(InputError, match=f"{found} was found where a run directory"):
        open_run(tmp_path / name)


def test_a_cut_off_simulator_log_names_its_line(folder: Path) -> None:
    """A half-written last line of the LLM's log is named with its number."""
    log = folder / "logs" / "llm.jsonl"
    lines = log.read_text().splitlines()
    log.write_text("\n".join([*lines[:3], lines[3][:10]]))

    with pytest.raises(InputError, match=r"llm\.jsonl, line 4: not a JSON object"):
        _ = open_run(folder).llm_calls
