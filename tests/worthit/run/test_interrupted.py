"""A run that is stopped half-way is kept as what it is, and carried on to a whole one.

Its two arms are equal, so it is the real A/A run of the tests as well. A chat takes seconds:
what is waited for after Ctrl-C spans several blocks, none of which was sent.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from analysis.questions.asking import findings
from analysis.questions.published import as_dict
from analysis.rundir.run import open_run
from worthit.experiments.model import Experiment
from worthit.experiments.plan import make_plan
from worthit.load.schedule.schedule import Schedule
from worthit.run.load_process import load_plan

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(500)]

EXPERIMENT = """\
name = "equal-arms"
question = "Does worthit see a difference where there is none?"
profile = "seed"
seed = 3
cached_operation = "personality.lookup"
cached_collection = "personalities"
thresholds = ["response_time: p(95)<0.001"]

[load]
rates_per_s = [25]
blocks = 6
block_s = 1
warmup_s = 1

[[arms]]
name = "off"
env = { REDIS_ENABLED = false }

[[arms]]
name = "on"
env = { REDIS_ENABLED = false }
"""
LAST_BLOCK = 14
"""Two of warm-up, then six an arm."""
EQUAL_WITHIN = 0.05
"""No two processes are quite equal: one may come out a little slower all along, and all
comparisons of a run share that luck. What must not happen is a difference that matters."""
HALF_WIDTHS = 3.0
"""Other tests run beside this one. One 95 % interval in twenty misses zero by chance; by three
times its half-width (t with 5 degrees of freedom) one in 1,600."""


NOBODY = "http://127.0.0.1:9"
"""An endpoint that is down: all telemetry is to be passed on to it too."""


def worthit(*arguments: str, scratch: Path) -> subprocess.Popen[str]:
    """Start the command with a temporary folder of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "worthit", "run", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch), "OTEL_EXPORTER_OTLP_ENDPOINT": NOBODY},
    )


def manifest(folder: Path) -> dict[str, Any]:
    """The run's manifest."""
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return found


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Read progress until a line holds `words`."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if words in line:
            return said
    raise AssertionError(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """What the interrupted command said and left, and what the second one made of it."""

    interrupted_code: int
    interrupted_said: str
    still_running: list[psutil.Process]
    left_in_scratch: list[Path]
    first: dict[str, Any]
    resumed_code: int
    resumed_said: str
    resumed: dict[str, Any]
    whole: Path


@pytest.fixture(name="halves", scope="module")
def _halves(tmp_path_factory: pytest.TempPathFactory) -> Halves:
    """Start, interrupt in the second pair, resume."""
    folder = tmp_path_factory.mktemp("halves")
    folder.chmod(0o755)
    folder.parent.chmod(0o755)
    scratch, out = folder / "scratch", folder / "runs"
    scratch.mkdir(mode=0o755)
    file = folder / "equal.toml"
    file.write_text(EXPERIMENT, encoding="utf-8")
    process = worthit(str(file), "--out", str(out), scratch=scratch)
    read_until(process, "load 25/s")
    children = psutil.Process(process.pid).children(recursive=True)
    time.sleep(2.4)  # the first pair is done, the second has begun
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=200)
    code = process.returncode
    still_running = [child for child in children if child.is_running()]
    left = list(scratch.iterdir())
    (kept,) = out.iterdir()
    first = manifest(kept)
    process = worthit(
        "--resume", str(kept), "--out", str(out), "--json", "--quiet", scratch=scratch
    )
    stdout, resumed_said = process.communicate(timeout=300)
    assert stdout, resumed_said
    resumed = json.loads(stdout)
    return Halves(
        interrupted_code=code,
        interrupted_said=said,
        still_running=still_running,
        left_in_scratch=left,
        first=first,
        resumed_code=process.returncode,
        resumed_said=resumed_said,
        resumed=resumed,
        whole=Path(resumed["run"]),
    )


def test_ctrl_c_keeps_what_it_is(halves: Halves) -> None:
    """After Ctrl-C nothing runs on and no file is left; what is kept says incomplete."""
    assert halves.interrupted_code == 130, halves.interrupted_said
    assert "kept as incomplete" in halves.interrupted_said
    assert [] == halves.still_running
    assert [] == halves.left_in_scratch
    assert halves.first["complete"] is False
    assert halves.first["verdict"]["verdict"] != "VALID"
    assert 2 < len(halves.first["blocks"]) < LAST_BLOCK


def test_resume_makes_it_whole(halves: Halves) -> None:
    """Each block is there once, from two segments, and the exact counts agree over both."""
    assert halves.resumed_code in {3, 4}, halves.resumed_said
    second = manifest(halves.whole)

    assert second["complete"] is True
    measured = sorted(block["block"] for block in second["blocks"] if not block["warmup"])
    assert list(range(2, LAST_BLOCK)) == measured
    assert 2 == len(second["segments"])
    cross_checks = [row for row in second["cross_checks"] if row["exact"]]
    assert len(cross_checks) > 5
    for row in cross_checks:
        assert row["from_spans"] == row["independent"], row


def test_a_threshold_that_is_not_kept_is_the_exit_code(halves: Halves) -> None:
    """No request is answered within a microsecond: 3, or 4 for a run not to be believed."""
    if halves.resumed["verdict"] == "INVALID":
        assert (halves.resumed_code, halves.resumed["thresholds"]) == (4, [])
        return
    assert halves.resumed_code == 3
    assert [False] == [row["within"] for row in halves.resumed["thresholds"]]


def test_an_endpoint_that_is_down_costs_the_run_nothing(halves: Halves) -> None:
    """What could not be passed on is told at both ends, and is in the recording all the same."""
    passed_on = halves.resumed["passed_on"]

    assert passed_on["endpoint"] == NOBODY
    assert passed_on["missed"] == passed_on["batches"] > 0
    assert f"batches of telemetry were not passed on to {NOBODY}" in halves.interrupted_said
    assert manifest(halves.whole)["parts"]["recorder"]["passed_on"] == passed_on


def planned_draws(document: dict[str, Any]) -> dict[int, list[int]]:
    """The draws that the schedule has for each block of an experiment."""
    plan = make_plan(Experiment.model_validate(document))
    hosts = {arm.name: "http://x" for arm in plan.arms}
    found: dict[int, list[int]] = {}
    for window in Schedule(load_plan(plan, "run", hosts)).until(10**18):
        draws = found.setdefault(window.block.block, [])
        draws += [window.draw(place) for place in range(len(window.offsets_ns))]
    return found


def test_a_block_that_is_kept_was_sent_whole(halves: Halves) -> None:
    """Every block that either half kept as run holds exactly its planned draws."""
    requests = pd.read_parquet(halves.whole / "requests.parquet")
    sent = {int(block): sorted(rows["draw"]) for block, rows in requests.groupby("block")}
    planned = planned_draws(manifest(halves.whole)["experiment"])

    assert {n: planned[n] for n in range(2, LAST_BLOCK)} == {
        n: sent[n] for n in range(2, LAST_BLOCK)
    }


def test_both_halves_drew_the_same_for_both_arms(halves: Halves) -> None:
    """No request is there twice, and the arms were asked the same."""
    requests = pd.read_parquet(halves.whole / "requests.parquet")
    assert requests["trace_id"].is_unique
    counted = requests[requests["block"].isin(range(2, LAST_BLOCK))]
    assert not counted.duplicated(["arm", "draw"]).any()
    draws = {arm: sorted(rows["draw"]) for arm, rows in counted.groupby("arm")}
    assert draws["off"] == draws["on"]


def test_equal_arms_are_not_called_different(halves: Halves) -> None:
    """One query a lookup in both arms, exactly; and no difference of time that matters."""
    found = as_dict(findings(open_run(halves.whole)))

    row = next(row for row in found["load"]["reductions"] if row["step"] is None)
    assert (1.0, 1.0, 1.0) == tuple(row["factor"][end] for end in ("low", "value", "high"))
    assert row["before"]["n"] > 100
    means = [row for row in found["faster"]["end_to_end"] if row["statistic"] == "mean"]
    assert means
    for row in means:
        change = row["relative"]
        chance = HALF_WIDTHS * (change["high"] - change["low"]) / 2
        assert abs(change["value"]) <= max(EQUAL_WITHIN, chance), row
    if found["verdict"]["verdict"] != "INVALID":
        sentences = " ".join(found["headline"]["sentences"])
        assert "database queries in both arms" in sentences
