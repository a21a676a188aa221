"""The findings document: one schema for every run, and nothing shown that may not be."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from analysis.claims.claims import check, read
from analysis.questions.asking import findings
from analysis.questions.published import as_dict, schema
from analysis.rundir.run import Run, open_run
from tests.support.runs.report_findings import typed
from tests.support.runs.synthetic_run import EMPTY, INVALID, Truth, write_foreign_run, write_run

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "findings.json"
"""Headline and ledger of the synthetic run; UPDATE_GOLDEN=1 writes it anew."""

SCHEMA = ROOT / "docs" / "schemas" / "findings.schema.json"

SMALL = Truth(rates_per_s=(20.0,), pairs=2, block_s=2.0)


def estimates(node: Any) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401 - any JSON value
    """Every estimate in a document."""
    if isinstance(node, dict):
        if {"value", "low", "high", "reason"} <= set(node):
            yield node
        for child in node.values():
            yield from estimates(child)
    elif isinstance(node, list):
        for child in node:
            yield from estimates(child)


@pytest.fixture(name="published", scope="module")
def _published() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_the_published_schema_is_that_of_the_types() -> None:
    """The committed schema is made from the answers' types; UPDATE_SCHEMA=1 writes it anew."""
    now = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_SCHEMA"):
        SCHEMA.write_text(now, encoding="utf-8")

    assert SCHEMA.read_text(encoding="utf-8") == now


def test_what_is_written_can_be_read_back(found: dict[str, Any], run: Run) -> None:
    """The findings of a whole run are the same after writing and reading."""
    again = typed(found)

    assert as_dict(again) == found == as_dict(findings(run))


def test_every_estimate_has_an_interval_or_a_reason(found: dict[str, Any]) -> None:
    """Of all numbers with an error, none stands there without n and interval or why not."""
    every = list(estimates(found))

    assert len(every) > 200
    for estimate in every:
        known = estimate["low"] is not None and estimate["high"] is not None
        assert known or estimate["reason"], estimate
        assert not known or estimate["low"] <= estimate["value"] <= estimate["high"], estimate


def test_a_whole_run_keeps_to_the_schema(
    found: dict[str, Any], published: jsonschema.Draft202012Validator
) -> None:
    """The document of a run with two arms and three rates is what the schema says."""
    published.validate(found)


@pytest.mark.parametrize("kind", ["invalid", "empty"])
def test_what_may_not_be_believed_has_no_answer(
    tmp_path: Path, kind: str, published: jsonschema.Draft202012Validator
) -> None:
    """An INVALID or empty run gives its reasons and its evidence, and no number as an answer."""
    damage = {"invalid": INVALID, "empty": EMPTY}[kind]
    manifest_says = open_run(write_run(tmp_path / kind, SMALL, damage))

    document = as_dict(findings(manifest_says))

    published.validate(document)
    assert "INVALID" == document["verdict"]["verdict"]
    assert document["verdict"]["reasons"]
    assert document["headline"] is None
    assert {"shares", "load", "faster", "capacity"} & set(document) == set()


def test_a_foreign_service_is_told_what_is_missing(
    tmp_path: Path, published: jsonschema.Draft202012Validator
) -> None:
    """One arm, no blocks, no cache: shares and queries a request, and what to record for more."""
    found = findings(open_run(write_foreign_run(tmp_path / "foreign", requests=60)))
    document = as_dict(found)
    said = " ".join(document["headline"]["sentences"])

    published.validate(document)
    assert "chat sim-chat is " in said
    assert "A request makes 5" in said
    assert "There is one arm only" in said
    assert [] == document["faster"]["end_to_end"] == document["law"]["law"]


def test_too_few_blocks_show_values_and_no_intervals(tmp_path: Path) -> None:
    """Two pairs of blocks give numbers, no interval, no decision, and say how many are missing."""
    document = as_dict(findings(open_run(write_run(tmp_path / "few", SMALL))))
    said = " ".join(document["headline"]["sentences"])

    assert "(no interval)" in said
    assert "4 more are needed" in said
    assert {"not decided"} == {row["decided"] for row in document["faster"]["end_to_end"]}


def test_more_than_two_arms_each_stand_against_the_baseline(tmp_path: Path) -> None:
    """A sweep with a third arm compares both treatments with the baseline."""
    folder = write_run(tmp_path / "three", SMALL)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["arms"].append({"name": "third", "baseline": False})
    (folder / "manifest.json").write_text(json.dumps(manifest))

    document = as_dict(findings(open_run(folder)))

    assert ["off", "on", "third"] == document["run"]["arms"]
    assert "on" == document["headline"]["arm"]


def test_the_headline_and_the_ledger_are_as_before(found: dict[str, Any]) -> None:
    """Sentences and verdicts on the write-up's claims do not change unseen."""
    ledger = check([read(ROOT / "claims" / "background.toml")], typed(found))
    now = {
        "sentences": found["headline"]["sentences"],
        "next": found["headline"]["next"],
        "claims": {row.id: f"{row.verdict}: {row.sentence}" for row in ledger.claims},
    }
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    assert json.loads(GOLDEN.read_text(encoding="utf-8")) == now
