"""Requests of one kind are answered for by themselves: trace, compare and thresholds."""

from __future__ import annotations

import json
from pathlib import Path

import click
import jsonschema
import pytest
from click.testing import CliRunner, Result

from analysis.claims.thresholds import of_run
from analysis.rundir.run import open_run
from tests.support.traces import importable
from worthit.cli import compare, trace
from worthit.contract.thresholds import parse
from worthit.errors import UsageError
from worthit.run.importing import ArmFiles, ImportOptions, import_traces

SCHEMA = Path(__file__).parents[3] / "docs" / "schemas" / "trace.schema.json"
QUERIES = {"GET /orders": 2, "POST /pay": 3, "GET /healthz": 0}
"""Per request, by root operation."""


def _traces(file: Path, **requests: int) -> Path:
    """So many requests of each kind; names as in ``QUERIES``, by their last word."""
    documents = []
    for salt, (name, queries) in enumerate(QUERIES.items(), start=1):
        count = requests.get(name.rpartition("/")[2], 0)
        one = importable.otlp(requests=count, queries=queries, salt=salt)
        documents.append(json.dumps(one).replace(importable.NAME, name))
    file.write_text("\n".join(documents))
    return file


def _call(command: click.Command, *arguments: object) -> Result:
    result = CliRunner().invoke(
        command, [str(argument) for argument in arguments], standalone_mode=False
    )
    if result.exception is not None:
        raise result.exception
    return result


def test_one_request_of_every_root_operation_is_shown(tmp_path: Path) -> None:
    """Each with its own spans, the main one first; without the option it is the main one's."""
    file = _traces(tmp_path / "a", orders=5, pay=3, healthz=40)

    document = json.loads(_call(trace.command, file, "--by", "root", "--json").stdout)
    alone = json.loads(_call(trace.command, file, "--json").stdout)

    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    found = {root: len(one["spans"]) - 1 for root, one in document["by_root"].items()}
    assert {f"shop: {name}": queries for name, queries in QUERIES.items()} == found
    assert "shop: GET /orders" == next(iter(found))
    assert document["by_root"]["shop: GET /orders"]["trace_id"] == alone["trace_id"]
    with pytest.raises(UsageError, match="--by and --id"):
        _call(trace.command, file, "--by", "root", "--id", "0")


def test_a_mix_that_moved_is_no_difference(tmp_path: Path) -> None:
    """Queries of a total rise from 2.1 to 2.9 by the mix alone; by root operation none does."""
    before = _traces(tmp_path / "before", orders=27, pay=3, healthz=50)
    after = _traces(tmp_path / "after", orders=3, pay=27, healthz=5)

    with pytest.raises(UsageError, match="main root operation differs: shop: GET /orders and "):
        _call(compare.command, before, after)
    document = json.loads(_call(compare.command, before, after, "--by", "root", "--json").stdout)

    rows = [row for row in document["rows"] if row["what"] == "queries per request, all"]
    assert {f"shop: {name}": (queries, queries) for name, queries in QUERIES.items()} == {
        row["root"]: (round(row["before"]["value"], 9), round(row["after"]["value"], 9))
        for row in rows
    }


def test_what_is_not_compared_is_named(tmp_path: Path) -> None:
    """Without the option the main root operation is compared, and the rest are named."""
    before = _traces(tmp_path / "before", orders=9, healthz=50)
    after = _traces(tmp_path / "after", orders=9, pay=3, healthz=5)

    said = " ".join(_call(compare.command, before, after).stdout.split())

    assert "Compared by root operation: shop: GET /orders." in said
    assert "Not compared: shop: GET /healthz, shop: POST /pay." in said


@pytest.mark.parametrize(
    ("threshold", "observed"),
    [
        ("queries_per_request: value<9", 2.0),
        ("queries_per_request{root:shop: POST /pay}: value<9", 3.0),
        ("queries_per_request{root:POST /pay,service:shop}: value<9", 3.0),
        ("queries_per_request{statement:SELECT total FROM orders WHERE id = ?}: value<9", 2.0),
        ("share{root:GET /healthz,operation:GET /healthz}: value<=1", 1.0),
        ("share{operation:SELECT orders}: value<1", 8 / 20),
    ],
)
def test_thresholds_are_about_one_root_operation(
    tmp_path: Path, threshold: str, observed: float
) -> None:
    """The main one, or the one that is named, with its service or without."""
    file = _traces(tmp_path / "a", orders=9, pay=3, healthz=50)
    options = ImportOptions(name="a", sources=(ArmFiles(files=(str(file),)),), block_seconds=None)
    run = open_run(import_traces(options, out=tmp_path, say=lambda _: None).path)

    answer = of_run([parse(threshold)], run)

    assert [observed] == pytest.approx(answer["observed"].tolist())
