"""One real run of about a minute, held against what the simulator logged and the servers counted.

Expected values are worked out here from the raw tables and logs, not with the analysis under test.
"""

from __future__ import annotations

import json
import math
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.project.foreign_repository import make_foreign_repository

TIMEOUT_S = 460

pytestmark = [pytest.mark.endtoend, pytest.mark.timeout(TIMEOUT_S + 20)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What the demo printed and left behind."""

    exit_code: int
    stdout: str
    stderr: str
    said: dict[str, Any]
    folder: Path
    out: Path
    scratch: Path

    def table(self, name: str) -> pd.DataFrame:
        """One table of the run directory, as it is."""
        return pd.read_parquet(self.folder / f"{name}.parquet")

    def json(self, name: str) -> Any:  # noqa: ANN401 - any JSON document
        """One JSON file of the run directory."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def growth(self, source: str, name: str, **labels: str) -> float:
        """Last minus first value of one counter."""
        rows = self.table("counters").sort_values("t_ns")
        rows = rows[(rows["source"] == source) & (rows["name"] == name)]
        alike = [labels.items() <= json.loads(text).items() for text in rows["labels"]]
        values = rows.loc[alike, "value"]
        return float(values.iloc[-1] - values.iloc[0])


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """``worthit demo --quick``, once, from the wheel and in somebody else's repository."""
    theirs = make_foreign_repository(tmp_path_factory.mktemp("foreign"))
    out, scratch = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("scratch")
    scratch.chmod(0o755)
    scratch.parent.chmod(0o755)
    ended = subprocess.run(
        [theirs.worthit, "demo", "--quick", "--json", "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        cwd=theirs.folder,
        env=theirs.variables(TMPDIR=str(scratch), LOCUST_RUN_TIME="5s"),
        timeout=TIMEOUT_S,
    )
    assert ended.stdout, ended.stderr
    said = json.loads(ended.stdout)
    return Demo(
        exit_code=ended.returncode,
        stdout=ended.stdout,
        stderr=ended.stderr,
        said=said,
        folder=Path(said["run"]),
        out=out,
        scratch=scratch,
    )


def test_the_run_is_believed_and_told(demo: Demo) -> None:
    """The demo ends with 0, is not INVALID, names its report and says three lines that matter."""
    assert demo.exit_code == 0, (demo.said["reasons"], demo.stderr)
    assert demo.said["verdict"] in {"VALID", "SUSPECT"}, demo.said["reasons"]
    assert 2 <= len(demo.said["headline"]) <= 5
    assert Path(demo.said["report"]).stat().st_size > 50_000
    assert demo.json("manifest.json")["verdict"]["verdict"] == demo.said["verdict"]


def test_progress_went_to_stderr(demo: Demo) -> None:
    """Stdout holds one JSON document; stderr says what ran, how far it was and what was left."""
    assert demo.stdout.strip().startswith("{")
    assert "warming up, arm off" in demo.stderr
    assert " left)" in demo.stderr


def test_the_run_directory_is_whole_and_nothing_else_is_left(demo: Demo) -> None:
    """The output folder holds the run alone, and the temporary folder nothing."""
    assert [demo.folder.name] == [path.name for path in demo.out.iterdir()]
    assert [] == list(demo.scratch.iterdir())
    assert {"manifest.json", "spans.parquet", "requests.parquet", "counters.parquet"} <= {
        path.name for path in demo.folder.iterdir()
    }


def test_every_request_was_answered_by_the_simulator_once(demo: Demo) -> None:
    """Trace by trace, the LLM calls that the simulator logged are those of the requests."""
    log = pd.read_json(demo.folder / "logs" / "llm.jsonl", lines=True, dtype={"draw": "int64"})
    requests = demo.table("requests")

    assert len(requests) > 1000
    chats = log[log["kind"] == "chat"]
    assert set(requests["trace_id"]) == set(chats["trace_id"])
    assert len(requests) == len(chats)
    drawn = chats.merge(requests, on="trace_id", suffixes=("_llm", ""))
    assert (drawn["draw_llm"] == drawn["draw"]).all()


def test_the_llm_share_is_the_one_the_simulator_logged(demo: Demo) -> None:
    """The LLM's share of a request agrees with the simulator's own times to 3 parts in 100."""
    log = pd.read_json(demo.folder / "logs" / "llm.jsonl", lines=True)
    spans = demo.table("spans")
    measured = spans[(spans["arm"] == "off") & (spans["block"] > 1)]
    roots = measured[measured["name"] == "POST /chat"]
    chats = log[(log["kind"] == "chat") & log["trace_id"].isin(roots["trace_id"])]
    expected = chats["actual_ns"].sum() / roots["duration_ns"].sum()

    rows = demo.json("findings.json")["shares"]["rows"]
    llm = [
        row["share"]["value"]
        for row in rows
        if row["arm"] == "off" and "chat sim-chat" in row["operation"]
    ]
    assert 1 == len(llm)
    assert llm[0] == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("arm", ["off", "on"])
def test_queries_by_spans_are_postgresqls_own_count(demo: Demo, arm: str) -> None:
    """Database spans of an arm are exactly the transactions its database counted."""
    database = f"worthit_{arm}"
    transactions = sum(
        sign * demo.growth("postgres", name, database=database)
        for name, sign in (("xact_commit", 1), ("xact_rollback", 1), ("sessions", -1))
    )
    spans = demo.table("spans")
    queries = spans[(spans["arm"] == arm) & (spans["db_system"] == "postgresql")]

    assert len(queries) > 1000
    assert transactions == len(queries)


def test_the_reduction_is_the_one_postgresql_saw(demo: Demo) -> None:
    """Reads of the cached table, off over on, by PostgreSQL's count lie in the found interval."""
    reads = {
        arm: demo.growth(
            "postgres", "table_scans", database=f"worthit_{arm}", table="personalities"
        )
        for arm in ("off", "on")
    }
    requests = demo.table("requests").groupby("arm").size()
    expected = (reads["off"] / requests["off"]) / (reads["on"] / requests["on"])

    law = demo.json("findings.json")["law"]["law"][0]["measured"]
    assert reads["off"] == requests["off"]
    assert law["low"] < law["value"] < law["high"]
    # PostgreSQL counted the warm-up too: its misses are few but there.
    assert law["low"] * 0.7 < expected < law["high"] * 1.3
    assert 8 < law["value"] < 40


def test_hits_by_spans_are_redis_own_count(demo: Demo) -> None:
    """Cache hits and misses on the spans are exactly Redis' keyspace hits and misses."""
    spans = demo.table("spans")
    calls = spans[(spans["arm"] == "on") & (spans["db_system"] == "redis")]
    noted = [json.loads(text or "{}") for text in calls["attributes"]]
    unanswered = (calls["status"] == "ERROR").sum()

    for what in ("hits", "misses"):
        counted = demo.growth("redis", f"keyspace_{what}", arm="on")
        by_spans = sum(one.get(f"worthit.redis.{what}", 0) for one in noted)
        assert abs(counted - by_spans) <= 2 * unanswered
    assert demo.growth("redis", "keyspace_hits", arm="on") > 1000


def test_both_arms_drew_the_same(demo: Demo) -> None:
    """Within every pair of blocks both arms had the same draws at the same intended offsets."""
    blocks = pd.DataFrame(demo.json("manifest.json")["blocks"])
    requests = demo.table("requests").merge(blocks[["block", "pair", "start_ns"]], on="block")
    offset_us = ((requests["intended_ns"] - requests["start_ns"]) / 1000).round()
    pairs = requests.assign(offset_us=offset_us).groupby(["pair", "arm"])

    seen = {key: list(zip(g["draw"], g["offset_us"], strict=True)) for key, g in pairs}
    assert len(seen) == 2 * blocks["pair"].nunique()
    for (pair, arm), draws in seen.items():
        other = seen[pair, "on" if arm == "off" else "off"]
        assert [draw for draw, _ in draws] == [draw for draw, _ in other]
        assert all(
            math.isclose(a, b, abs_tol=2.0) for (_, a), (_, b) in zip(draws, other, strict=True)
        )


def test_the_memory_of_all_processes_stays_under_two_gib(demo: Demo) -> None:
    """The peak that the manifest reports is plausible and below 2 GiB."""
    peak = demo.json("manifest.json")["memory"]["peak_bytes"]

    assert 100e6 < peak < 2 * 1024**3
