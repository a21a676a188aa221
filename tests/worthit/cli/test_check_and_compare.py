"""``worthit check`` and ``worthit compare``: what they print, and the codes they end with."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.support.runs.synthetic_run import INVALID, Truth, write_foreign_run, write_run
from worthit.__main__ import main

TRUTH = Truth(rates_per_s=(40.0,), pairs=6, block_s=2.0)


@pytest.fixture(name="runs", scope="module")
def _runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of two arms: one good, one of another seed, one INVALID; and somebody else's."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "good", TRUTH)
    write_run(folder / "again", TRUTH, seed=2)
    write_run(folder / "invalid", TRUTH, INVALID)
    manifest = json.loads((folder / "invalid" / "manifest.json").read_text())
    manifest["verdict"] = {"verdict": "INVALID", "reasons": ["The load came late."]}
    (folder / "invalid" / "manifest.json").write_text(json.dumps(manifest))
    write_foreign_run(folder / "foreign", requests=40)
    claims = (
        '[[claim]]\nid = "{0}"\ntext = "t"\nquantity = "hit_rate"\n'
        'comparison = "at least"\nvalue = {1}\n'
    )
    (folder / "true.toml").write_text(claims.format("true", 0.5))
    (folder / "false.toml").write_text(claims.format("false", 0.999))
    return folder


def test_a_claim_that_holds_ends_with_0(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The ledger is printed with the estimate, its interval and n."""
    code = main(["check", str(runs / "good"), "--claims", str(runs / "true.toml")])
    printed = capsys.readouterr().out

    assert 0 == code
    assert "1 holds, 0 does not hold, 0 not decided." in printed


def test_a_claim_that_does_not_hold_ends_with_3(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 3, JSON is alone on stdout, and JUnit calls it a failure."""
    junit = tmp_path / "junit.xml"
    arguments = ["--claims", str(runs / "true.toml"), "--claims", str(runs / "false.toml")]

    code = main(["check", str(runs / "good"), *arguments, "--json", "--junit", str(junit)])
    document = json.loads(capsys.readouterr().out)
    suite = ET.fromstring(junit.read_text())  # noqa: S314 - written by this test's own command

    assert 3 == code
    assert ["holds", "does not hold"] == [
        row["verdict"] for ledger in document["ledgers"] for row in ledger["claims"]
    ]
    assert ("2", "1", "0") == (suite.get("tests"), suite.get("failures"), suite.get("skipped"))


def test_of_several_runs_each_claim_is_held_against_the_one_it_is_about(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A catalogue's runs together: the claim's own experiment answers, else who measures it."""
    other = tmp_path / "sweep"
    write_run(other, TRUTH, seed=3)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest |= {"name": "hit-rate-sweep", "run_id": "the-sweep"}
    (other / "manifest.json").write_text(json.dumps(manifest))
    claims = tmp_path / "claims.toml"
    own = 'experiment = "experiments/hit-rate-sweep.toml"\n'
    text = (runs / "true.toml").read_text()
    claims.write_text(text + own + text.replace('id = "true"', 'id = "anywhere"'))

    code = main(["check", str(runs / "good"), str(other), "--claims", str(claims), "--json"])
    document = json.loads(capsys.readouterr().out)
    rows = {row["id"]: row for row in document["ledgers"][0]["claims"]}

    assert 0 == code
    assert ["VALID", "VALID"] == [one["verdict"]["verdict"] for one in document["runs"]]
    assert "the-sweep" == rows["true"]["run"]
    assert document["runs"][0]["run"] == rows["anywhere"]["run"] != "the-sweep"


def test_an_invalid_run_is_not_checked(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No claim is held against a run that did not prove itself: exit 4 and its reasons."""
    code = main(["check", str(runs / "invalid"), "--claims", str(runs / "true.toml")])
    streams = capsys.readouterr()

    assert 4 == code
    assert "is INVALID, so no claim was checked in it: The load came late." in streams.err
    assert "" == streams.out


def test_missing_claims_are_wrong_usage(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of claims that is not there is one sentence and exit 2."""
    code = main(["check", str(runs / "good"), "--claims", str(runs / "absent.toml")])

    assert 2 == code
    assert "absent.toml: the claims cannot be read" in capsys.readouterr().err


def test_two_arms_are_compared_pair_by_pair(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """RUN:off against RUN:on is paired, and finds what the cache took from lookup and database."""
    code = main(["compare", f"{runs / 'good'}:off", f"{runs / 'good'}:on", "--json"])
    document = json.loads(capsys.readouterr().out)
    said = {row["what"]: row["decided"] for row in document["rows"] if row["rate_per_s"] is None}

    assert 0 == code
    assert document["paired"]
    assert "lower" == said["personality.lookup, mean"]
    assert "lower" == said["queries per request, personalities"]
    assert "not decided" == said["emotion.detect, mean"]


def test_a_sentence_says_what_differs_before_the_table(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The response time first, then what moved most: the queries that the cache took away."""
    main(["compare", f"{runs / 'good'}:off", f"{runs / 'good'}:on"])
    printed = capsys.readouterr().out.replace("\u202f", " ")
    first = printed.split("\n", 1)[0]

    assert first.startswith("The response time, mean: ")
    assert "Most moved queries per request, personalities: " in first
    assert "lower, 1" in first


def test_the_other_way_round_changes_the_sign(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against the arm with the cache, the one without is slower and asks more."""
    main(["compare", f"{runs / 'good'}:on", f"{runs / 'good'}:off", "--json"])
    document = json.loads(capsys.readouterr().out)
    said = {row["what"]: row["decided"] for row in document["rows"] if row["rate_per_s"] is None}

    assert "higher" == said["personality.lookup, mean"]


def test_two_runs_are_not_paired(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two runs of one machine and plan may be compared, and nothing pairs."""
    code = main(["compare", str(runs / "good"), str(runs / "again"), "--json"])
    document = json.loads(capsys.readouterr().out)

    assert 0 == code
    assert not document["paired"]
    assert [] == document["reasons_against"]
    assert {"response time, mean", "queries per request, all"} <= {
        row["what"] for row in document["rows"]
    }


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("profile", "native", "The latency profile differs: seed and native."),
        ("scenario", "burst", "The scenario differs: chat and burst."),
        ("machine", {"cpus": 64}, "The machine's number of CPUs differs: 2 and 64."),
        ("versions", {"postgres": "17"}, "The version of postgres differs: 18 and 17."),
        (
            "experiment",
            {"cpu_profile": True},
            "The sampling of a CPU profile differs: off and on.",
        ),
    ],
)
def test_runs_that_differ_in_kind_are_refused_in_words(
    runs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    key: str,
    value: object,
    sentence: str,
) -> None:
    """What speaks against a comparison is said, and --anyway compares with it said again."""
    folder = write_run(tmp_path / "other", Truth(rates_per_s=(40.0,), pairs=1, block_s=1.0))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {key: value}))

    refused = main(["compare", str(runs / "good"), str(folder)])
    said = capsys.readouterr()
    anyway = main(["compare", str(runs / "good"), str(folder), "--anyway"])

    assert (2, 0) == (refused, anyway)
    assert sentence in said.err
    assert "" == said.out
    assert f"Compared anyway: {sentence}" in capsys.readouterr().out


def test_an_invalid_run_is_refused(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that nobody may believe stands against nothing."""
    code = main(["compare", str(runs / "good"), str(runs / "invalid")])

    assert 2 == code
    assert "is INVALID: no number in it may be believed" in capsys.readouterr().err


def test_an_arm_that_is_not_there_is_named(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown arm is refused with those that are known, and an arm against itself too."""
    unknown = main(["compare", f"{runs / 'good'}:x", str(runs / "good")])
    first = capsys.readouterr().err
    itself = main(["compare", f"{runs / 'good'}:on", f"{runs / 'good'}:on"])

    assert (2, 2) == (unknown, itself)
    assert "no arm 'x' was found; its arms are: off, on" in first
    assert "an arm was compared with itself" in capsys.readouterr().err


def test_somebody_elses_run_can_be_compared_anyway(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run without arms, blocks or requests still has queries per request and operations."""
    code = main(["compare", str(runs / "foreign"), str(runs / "good"), "--anyway", "--json"])

    assert 0 == code
    assert isinstance(json.loads(capsys.readouterr().out)["rows"], list)
