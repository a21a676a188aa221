"""A history of runs: what is worse is found, what is not is seldom called so, changes are seen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.questions.history import answer as history
from analysis.questions.history.answer import Point, Series
from analysis.stats.intervals import Estimate
from tests.support.runs.synthetic_run import INVALID, Truth, write_run
from worthit.__main__ import main

TRUTH = Truth(rates_per_s=(20.0,), pairs=6, block_s=1.0)


def points(values: np.ndarray) -> list[Point]:
    """A number in so many runs."""
    return [
        Point(
            run=f"run-{at}",
            started_ns=at,
            estimate=Estimate(value=float(value), unit="ms", n=100, blocks=6),
        )
        for at, value in enumerate(values)
    ]


def gated(columns: list[np.ndarray]) -> list[str]:
    """What the newest of these runs is called, number by number."""
    series = [
        Series(
            arm=None, what=str(at), worse="higher", points=tuple(points(values)), changes=(),
            gate=history.gate(points(values), "higher", margin=0.02, last=10),
        )
        for at, values in enumerate(columns)
    ]  # fmt: skip
    return [one.gate.decided for one in history.together(series, margin=0.02)]


@pytest.mark.parametrize("heavy", [False, True])
def test_a_service_that_is_2_percent_slower_at_most_fails_in_5_percent_of_its_runs(
    heavy: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Five numbers, 2 % slower in truth, runs that scatter by 3 %: any is "worse" in 5 %."""
    rng = np.random.default_rng(18)
    shift = np.append(np.zeros(10), np.log(1.02))

    def runs() -> np.ndarray:
        scatter = rng.standard_t(4, 11) / np.sqrt(2) if heavy else rng.normal(size=11)
        return np.asarray(np.exp(shift + 0.03 * scatter))

    failed = sum("worse" in gated([runs() for _ in range(5)]) for _ in range(400))

    assert failed <= 0.07 * 400


def test_a_service_that_is_a_quarter_slower_fails() -> None:
    """At a scatter of 3 % one of five numbers that is 25 % worse is found in nine of ten."""
    rng = np.random.default_rng(19)
    columns = [
        [np.exp(0.03 * rng.normal(size=11)) for _ in range(4)]
        + [np.exp(np.append(np.zeros(10), np.log(1.25)) + 0.03 * rng.normal(size=11))]
        for _ in range(100)
    ]

    assert sum(gated(one)[-1] == "worse" for one in columns) >= 90


def test_a_level_that_began_is_found_at_its_run_and_none_where_there_is_none() -> None:
    """A step of four standard deviations after 12 of 20 runs; of 200 level ones few."""
    rng = np.random.default_rng(20)

    def found(step: float, length: int) -> list[str]:
        level = step * (np.arange(length) >= 12)
        return list(history.changes(points(np.exp(0.01 * (level + rng.normal(size=length))))))

    assert sum(found(4.0, 20) in (["run-11"], ["run-12"], ["run-13"]) for _ in range(20)) >= 18
    assert sum(bool(found(0.0, 10)) for _ in range(200)) <= 0.07 * 200


@pytest.fixture(name="runs", scope="module")
def _runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six runs alike, one INVALID, one of another experiment, the newest 30 % slower."""
    folder = tmp_path_factory.mktemp("history")
    made = []
    for at in range(9):
        truth = Truth(
            rates_per_s=(20.0,), pairs=6, block_s=1.0, llm_ms=3640.0 if at == 8 else 2800
        )
        path = write_run(folder / f"{at}", truth, INVALID if at == 6 else None, seed=at)
        manifest = json.loads((path / "manifest.json").read_text())
        manifest |= {"run_id": f"run-{at}", "started_ns": manifest["started_ns"] + at * 10**12}
        if at == 6:
            manifest["verdict"] = {"verdict": "INVALID", "reasons": ["The load came late."]}
        if at == 7:
            manifest["name"] = "another"
        (path / "manifest.json").write_text(json.dumps(manifest))
        made.append(path)
    return made


def test_the_newest_of_nine_runs_is_worse_and_ends_with_3(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both arms' response time is; queries are not; what is left out is named with its reason."""
    picture = tmp_path / "history.png"

    code = main(["history", *map(str, runs), "--figure", str(picture), "--json"])
    document = json.loads(capsys.readouterr().out)
    decided = {(one["what"], one["arm"]): one["gate"]["decided"] for one in document["series"]}

    assert (3, 1) == (code, document["schema_version"])
    assert {"mean response time"} == {what for what, _ in decided if decided[what, _] == "worse"}
    assert [f"run-{at}" for at in (0, 1, 2, 3, 4, 5, 8)] == document["runs"]
    assert {"run-6": "it is INVALID: no number in it may be believed"}.items() <= {
        one["run"]: one["why"] for one in document["apart"]
    }.items()
    assert "its experiment differs" in document["apart"][1]["why"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_with_few_earlier_runs_nothing_is_decided_and_invalid_ends_with_4(
    runs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Four runs pass, and say that five earlier ones are needed; a newest run may be INVALID."""
    few = main(["history", *map(str, runs[:4]), "--json"])
    said = {one["gate"]["sentence"] for one in json.loads(capsys.readouterr().out)["series"]}
    invalid = main(["history", *map(str, runs[5:7])])

    assert (0, 4) == (few, invalid)
    assert said == {"3 earlier runs, and 5 are needed."}
