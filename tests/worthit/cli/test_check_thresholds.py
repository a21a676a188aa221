"""``worthit check --threshold``: limits in k6's words on a recorded run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.queries import per_request
from analysis.rundir.run import open_run
from tests.support.runs.synthetic_run import Truth, write_run
from worthit.__main__ import main

TRUTH = Truth(rates_per_s=(40.0,), pairs=6, block_s=2.0)


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two arms."""
    return write_run(tmp_path_factory.mktemp("runs") / "good", TRUTH)


def test_thresholds_that_hold_end_with_0(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Response time, errors, share and queries per request are each held against the run."""
    code = main([
        "check", str(run),
        "--threshold", "response_time: p(95)<60000", "--threshold", "errors: rate<0.5",
        "--threshold", "share{operation:personality.lookup}: value<1",
        "--threshold", "queries_per_request{arm:off}: value>0",
    ])  # fmt: skip

    assert 0 == code
    assert "4 holds, 0 does not hold, 0 not decided." in capsys.readouterr().out


def test_a_crossed_threshold_ends_with_3(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two limits on queries per request, by arm, the one that the run crosses is named."""
    exact = per_request(open_run(run).measured_spans, by="arm")
    queries = exact[exact["call"] == "query"].groupby("arm")["per_request"].sum()
    limit = float(queries.mean())

    code = main([
        "check", str(run), "--json",
        "--threshold", f"queries_per_request{{arm:off}}: value<{limit}",
        "--threshold", f"queries_per_request{{arm:on}}: value<{limit}",
    ])  # fmt: skip

    rows = json.loads(capsys.readouterr().out)["ledgers"][0]["claims"]
    assert 3 == code
    assert queries["off"] > queries["on"]
    assert ["does not hold", "holds"] == [row["verdict"] for row in rows]


def test_a_threshold_without_anything_to_hold_it_against_ends_with_3(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate that measured nothing does not open: not decided is not a pass."""
    monkeypatch.delenv("COLUMNS", raising=False)  # some runners set it, and sentences wrap then
    code = main(["check", str(run), "--threshold", "errors{arm:onn}: rate<0.5"])

    said = capsys.readouterr().out
    assert 3 == code
    assert "0 holds, 0 does not hold, 1 not decided." in said
    assert "Nothing was recorded that it speaks of." in said


def test_a_wrong_threshold_ends_with_2_or_says_what_is_wrong(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A threshold that cannot be read, and nothing to check at all, are said in a sentence."""
    codes = [main(["check", str(run), "--threshold", "p95<3"]), main(["check", str(run)])]

    said = capsys.readouterr().err
    assert 0 not in codes
    assert "cannot be read; write METRIC: EXPRESSION" in said
    assert "give --claims FILE or --threshold" in said
    assert "Traceback" not in said
