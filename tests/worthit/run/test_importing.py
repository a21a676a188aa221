"""Traces of other tools become runs: ``worthit import``, and what then works on them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.servers.otlp_receiver import receiver
from tests.support.traces.importable import jaeger, otlp, zipkin
from worthit.__main__ import main

WRITERS = {"jaeger": jaeger, "otlp": otlp, "zipkin": zipkin}


def _write(path: Path, document: object) -> str:
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)


def _import(capsys: pytest.CaptureFixture[str], out: Path, *arguments: str) -> dict[str, Any]:
    assert 0 == main(["import", *arguments, "--out", str(out), "--json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def _manifest(told: dict[str, Any]) -> dict[str, Any]:
    text = (Path(told["run"]) / "manifest.json").read_text(encoding="utf-8")
    manifest: dict[str, Any] = json.loads(text)
    return manifest


def _spans(told: dict[str, Any]) -> pd.DataFrame:
    return pd.read_parquet(Path(told["run"]) / "spans.parquet")


@pytest.mark.parametrize("tool", WRITERS)
def test_report_check_and_export_work_on_imported_traces(
    tool: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two arms with three and two queries per request the reduction factor is 1.5."""
    write = WRITERS[tool]
    before = _write(tmp_path / "before.json", write(requests=80, queries=3, salt=1))
    after = _write(tmp_path / "after.json", write(requests=80, queries=2, salt=2))
    told = _import(
        capsys, tmp_path / "runs", "--name", "two", "--arm", f"off={before}",
        "--arm", f"on={after}", "--block-seconds", "1",
    )  # fmt: skip
    claims = tmp_path / "claims.toml"
    claims.write_text(
        '[[claim]]\nid = "fewer"\ntext = "t"\nquantity = "reduction_factor"\n'
        'comparison = "at least"\nvalue = 1.4\n'
    )

    assert 0 == main(["report", told["run"], "--json"])
    findings = json.loads(capsys.readouterr().out)
    assert 0 == main(["check", told["run"], "--claims", str(claims)])
    assert "1 holds" in capsys.readouterr().out
    sent = asyncio.run(_exported(told["run"]))

    assert ("SUSPECT", ["off", "on"], 160) == (told["verdict"], told["arms"], told["requests"])
    assert told["reasons"][0].startswith("No independent count:")
    whole = [row for row in findings["load"]["reductions"] if row["step"] is None]
    assert 1.5 == pytest.approx(whole[0]["factor"]["value"])
    assert told["spans"] == 80 * 4 + 80 * 3 == sent


async def _exported(run: str) -> int:
    async with receiver() as backend:
        code = await asyncio.to_thread(main, ["export", run, "--otlp", backend.url, "--quiet"])
        assert 0 == code
        return len(backend.spans)


def test_the_arm_is_what_an_attribute_of_the_resource_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--arm-from reads spans and resources; who lacks the attribute is counted and said."""
    one = _write(tmp_path / "1.json", jaeger(requests=10, queries=3, salt=1, version="1.0"))
    two = _write(tmp_path / "2.json", otlp(requests=12, queries=2, salt=2, version="2.0"))
    nameless = otlp(requests=5, queries=2, salt=3)
    nameless["resourceSpans"][0]["resource"]["attributes"].pop()
    none = _write(tmp_path / "3.json", nameless)

    told = _import(
        capsys, tmp_path, one, two, none, "--arm-from", "service.version", "--baseline", "2.0"
    )
    roots = _spans(told).query("kind == 'SERVER'")

    assert {"1.0": 10, "2.0": 12} == roots["arm"].value_counts().to_dict()
    assert 5 == told["unknown_arm"] == _manifest(told)["imported"]["unknown_arm"]
    assert "5 of 27 requests are of no known arm by attribute service.version" in " ".join(
        told["reasons"]
    )
    assert ["2.0"] == [arm["name"] for arm in _manifest(told)["arms"] if arm["baseline"]]


def test_a_protobuf_file_gives_the_same_arms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Resource attributes that are asked for come out of OTLP's bytes as out of its JSON."""
    from google.protobuf.json_format import ParseDict  # noqa: PLC0415 - here alone
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415 - as above
        ExportTraceServiceRequest,
    )

    document = otlp(requests=4, queries=2, salt=1, version="7", state="ot=th:8")
    for span in document["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for key in ("traceId", "spanId", "parentSpanId"):  # protobuf's own JSON has base64
            span[key] = _base64(span[key])
    message = ParseDict(document, ExportTraceServiceRequest())
    (tmp_path / "traces.bin").write_bytes(message.SerializeToString())

    told = _import(
        capsys, tmp_path / "runs", str(tmp_path / "traces.bin"), "--arm-from", "service.version"
    )
    spans = _spans(told)

    assert {"7": 12} == spans["arm"].value_counts().to_dict()
    assert spans["attributes"].str.contains('"w3c.tracestate":"ot=th:8"', regex=False).all()


def _base64(hexadecimal: str) -> str:
    import base64  # noqa: PLC0415 - here alone

    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def test_blocks_that_the_traces_name_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """worthit.block on a root is that trace's block, and its arm is worthit.arm."""
    document = otlp(requests=6, queries=1, salt=1)
    spans = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    for number, span in enumerate(s for s in spans if not s["parentSpanId"]):
        named = {"worthit.arm": "off" if number < 3 else "on", "worthit.step": "0"}
        named["worthit.block"] = str(10 + number // 3)
        span["attributes"] += [
            {"key": key, "value": {"stringValue": value}} for key, value in named.items()
        ]

    told = _import(capsys, tmp_path, _write(tmp_path / "traces.json", document))

    found = {(block["arm"], block["block"]) for block in _manifest(told)["blocks"]}
    assert {("off", 10), ("on", 11)} == found
    assert {10: 6, 11: 6} == _spans(told)["block"].value_counts().to_dict()


def test_seconds_cut_each_arm_into_blocks_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten requests a second for four seconds are four blocks of ten, also without an arm."""
    file = _write(tmp_path / "traces.json", zipkin(requests=40, queries=1, salt=1))

    told = _import(capsys, tmp_path, file, "--block-seconds", "1")
    roots = _spans(told).query("kind == 'SERVER'")

    assert {0: 10, 1: 10, 2: 10, 3: 10} == roots["block"].value_counts().to_dict()
    assert ["all"] == told["arms"]


def test_the_run_is_the_same_in_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--partitions changes where the spans are kept meanwhile, and nothing else."""
    file = _write(tmp_path / "traces.json", jaeger(requests=30, queries=2, salt=1, arm="on"))
    common = [file, "--block-seconds", "1", "--name"]

    whole = _import(capsys, tmp_path, *common, "whole")
    parts = _import(capsys, tmp_path, *common, "parts", "--partitions", "3")
    first, second = (
        _spans(told).sort_values(["trace_id", "span_id"], ignore_index=True)
        for told in (whole, parts)
    )

    pd.testing.assert_frame_equal(first, second)
    assert _manifest(whole)["blocks"] == _manifest(parts)["blocks"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Name the traces"),
        (["FILE", "--arm", "on", "--arm-from", "service.version"], "choose one"),
        (["FILE", "--arm", "on", "--arm", "off"], "--arm NAME=FILES"),
        (["FILE", "--arm", "on=FILE"], "in place of FILES"),
        (["--arm", "=FILE"], "--arm NAME=FILES was expected"),
        (["--arm", "on=FILE", "--arm", "off=FILE"], "is of one arm"),
        (["FILE", "--arm-from", "no.such"], "No request has the attribute no.such"),
        (["FILE", "--arm", "on", "--baseline", "off"], "their arms are: on"),
        (["FILE", "--name", "a/b"], "cannot be a folder's"),
        (["gone.json"], "gone.json"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_leaves_nothing(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong usage ends with 2 and a sentence, and no run directory is left."""
    file = _write(tmp_path / "traces.json", otlp(requests=2, queries=1, salt=1))
    given = [argument.replace("FILE", file) if argument != "=FILE" else argument
             for argument in arguments]  # fmt: skip

    code = main(["import", *given, "--out", str(tmp_path / "runs")])

    assert 2 == code
    assert said in capsys.readouterr().err
    assert [] == list((tmp_path / "runs").glob("**/*"))


def test_what_was_passed_over_is_in_the_manifest_and_in_the_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --skip-damaged a damaged file is named in both."""
    good = _write(tmp_path / "good.json", otlp(requests=2, queries=1, salt=1))
    bad = tmp_path / "bad.json"
    bad.write_text('{"resourceSpans": [')

    told = _import(capsys, tmp_path / "runs", good, str(bad), "--skip-damaged")

    assert "bad.json" in _manifest(told)["imported"]["passed_over"][0]
    assert any("1 source was left out" in reason for reason in told["reasons"])


def test_compare_takes_trace_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two files are compared as two runs; the difference of one query is decided over blocks."""
    before = _write(tmp_path / "before.json", jaeger(requests=80, queries=3, salt=1))
    after = _write(tmp_path / "after.json", zipkin(requests=80, queries=2, salt=2))

    assert 0 == main(["compare", before, after, "--block-seconds", "1", "--json"])
    document = json.loads(capsys.readouterr().out)

    rows = {row["what"]: row for row in document["rows"]}
    queries = rows["queries per request, all"]
    assert [3, 2] == pytest.approx([queries[side]["value"] for side in ("before", "after")])
    assert "lower" == queries["decided"]


def test_a_sample_is_said_in_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rate of a known sample is a note, mixed and unknown samples are reasons."""
    tenth = otlp(requests=4, queries=1, salt=1, state="ot=th:e6666666666666")
    half = otlp(requests=4, queries=1, salt=2, state="ot=th:8")
    tail = otlp(requests=4, queries=1, salt=3)
    for span in tail["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        span["attributes"].append({"key": "tailsampling.policy", "value": {"stringValue": "slow"}})
    files = [
        _write(tmp_path / f"{name}.json", document)
        for name, document in (("tenth", tenth), ("half", half), ("tail", tail))
    ]

    known = " ".join(_import(capsys, tmp_path, files[0])["reasons"])
    mixed = " ".join(_import(capsys, tmp_path, *files[:2])["reasons"])
    unknown = " ".join(_import(capsys, tmp_path, files[2])["reasons"])

    assert "4 traces, kept with probability 0.1, stand for about 40 requests" in known
    assert "Traces were kept with different probabilities" in mixed
    assert "4 of 4 traces were chosen by tailsampling.policy" in unknown
    assert "different probabilities" not in known
