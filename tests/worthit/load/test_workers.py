"""One schedule between several workers: no arrival twice, none lost unseen."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import psutil
import pytest

from tests.support.load.locust_process import (
    block,
    end_of,
    free_port,
    recorded,
    sleep_until,
    start_locust,
    stub_server,
    wait_for,
    write_plan,
)

pytestmark = pytest.mark.integration

QUIET = ("--headless", "--only-summary")


def pairs_of_blocks(host: str) -> list[dict[str, object]]:
    """Return two arms of one pair, 0.6 s each."""
    return [
        block(0, host=host, start_s=0.0, duration_s=0.6, arm="off", rate_per_s=80.0),
        block(1, host=host, start_s=0.6, duration_s=0.6, arm="on", rate_per_s=80.0),
    ]


def test_one_worker_or_three_follow_one_schedule(tmp_path: Path) -> None:
    """Equal seeds give equal arrivals with 1 worker and with 3; both arms of a pair are alike."""
    runs = {}
    with stub_server() as stub:
        plan = str(write_plan(tmp_path, pairs_of_blocks(stub.url)))
        alone, three = tmp_path / "alone", tmp_path / "three"
        port = str(free_port())
        processes = (
            start_locust(*QUIET, "--worthit-plan", plan, "--worthit-out", str(alone)),
            start_locust(
                *QUIET, "--worthit-plan", plan, "--worthit-out", str(three), "--processes", "3",
                "--master-bind-port", port, "--master-port", port,
            ),
        )  # fmt: skip
        ended = [end_of(process) for process in processes]
        seen = stub.seen()
    for name, out in (("alone", alone), ("three", three)):
        zero_ns = json.loads((out / "started.json").read_text())["t0_ns"]
        rows = recorded(out)
        runs[name] = sorted(
            zip(rows["arm"], rows["draw"], rows["intended_ns"] - zero_ns, strict=True)
        )

    off = [draw for arm, draw, _ in runs["alone"] if arm == "off"]
    on = [draw for arm, draw, _ in runs["alone"] if arm == "on"]
    # on a machine short of CPU the rate is missed, and said to be; who sends what stays the same
    assert {code for code, _ in ended} <= {0, 4}, ended
    assert runs["alone"] == runs["three"]
    assert sorted(off) == sorted(on)
    assert len(list(three.glob("requests-*.arrows"))) == 3
    assert all(times == 2 for times in Counter(seen["draws"]).values())


@contextmanager
def killed_joined_and_hung(master: Popen[str], port: str, out: Path) -> Iterator[int]:
    """Have a worker join, kill another, stop a third for 1.3 s; give the time of the kill."""
    sleep_until(out, -1.0)
    one, other = psutil.Process(master.pid).children()
    joined = start_locust("--worker", "--master-port", port)
    try:
        wait_for((out / "requests-2.arrows").exists, "the third worker did not join")
        time.sleep(0.5)
        one.kill()
        killed_ns = time.time_ns()
        time.sleep(1.7)
        other.suspend()
        time.sleep(1.3)
        other.resume()
        yield killed_ns
    finally:
        joined.kill()
        joined.communicate()


def test_workers_may_die_join_and_hang(tmp_path: Path) -> None:
    """One is killed, one joins, one is stopped for a while: no arrival is sent twice or lost.

    Only what the killed one had begun and not yet put on the wire never arrives; it is accounted
    for as begun, with an unknown answer.
    """
    # long enough for all of it when the third worker takes its time to import Locust
    out, rate_per_s, duration_s = tmp_path / "out", 60.0, 12.0
    with stub_server(latency_ms=150) as stub:
        plan = write_plan(
            tmp_path,
            [block(0, host=stub.url, start_s=0.0, duration_s=duration_s, rate_per_s=rate_per_s)],
        )
        port = str(free_port())
        master = start_locust(
            *QUIET, "--processes", "2", "--master-bind-port", port, "--master-port", port,
            "--worthit-plan", str(plan), "--worthit-out", str(out),
        )  # fmt: skip
        with killed_joined_and_hung(master, port, out) as killed_ns:
            code, output = end_of(master)
        seen = stub.seen()

    document = json.loads((out / "generator.json").read_text())
    row, (lost,) = document["generator"][0], document["lost_workers"]
    draws = sorted(int(text.partition(":")[2]) for text in seen["draws"])
    planned = list(range(row["arrivals_planned"]))
    rows = recorded(out)
    unanswered = rows[rows["end_ns"].isna()]
    never_seen = unanswered[~unanswered["draw"].isin(draws)]
    assert sorted([*draws, *never_seen["draw"]]) == planned, "an arrival was sent twice, or lost"
    assert (never_seen["intended_ns"] <= killed_ns).all(), "not yet due: others could send it"
    assert sorted(rows["draw"]) == planned, "an arrival has no row, or two"
    assert len(list(out.glob("requests-[0-9].arrows"))) == 3, "nobody joined"
    assert (row["dropped"], row["unknown"]) == (0, 0)
    # what the dead worker had sent and not yet written, and no more than that
    assert 0 < lost["unanswered"] == len(unanswered) < rate_per_s
    reason = r"begun by worker [01], which was lost: answer unknown"
    assert unanswered["error"].str.fullmatch(reason).all()
    assert lost["handed_over"] > 0
    assert 0.5 < (rows["sent_ns"] - rows["intended_ns"]).max() / 1e9 < 3.0, (
        "what the stopped worker held is late, and says so"
    )
    assert "is dead: " in output
    assert code == 4, output
