"""A run that is stopped half-way is kept as what it is, and carried on to a whole one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.endtoend, pytest.mark.timeout(500)]

EXPERIMENT = """\
name = "short"
question = "Is it carried on?"
profile = "native"
seed = 3
cached_operation = "personality.lookup"
cached_collection = "personalities"

[load]
rates_per_s = [25]
blocks = 4
block_s = 1
warmup_s = 1

[[arms]]
name = "off"
env = { REDIS_ENABLED = false }

[[arms]]
name = "on"
env = { REDIS_ENABLED = true, PERSONALITY_PREWARM = 50 }
"""


def worthit(*arguments: str, scratch: Path) -> subprocess.Popen[str]:
    """Start the command with a temporary folder of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "run", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch)},
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


def test_ctrl_c_keeps_what_it_is_and_resume_makes_it_whole(tmp_path: Path) -> None:
    """After Ctrl-C nothing runs on; what is kept says incomplete; --resume gives a whole run."""
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:2]:
        parent.chmod(0o755)
    scratch, out = tmp_path / "scratch", tmp_path / "runs"
    scratch.mkdir(mode=0o755)
    file = tmp_path / "short.toml"
    file.write_text(EXPERIMENT, encoding="utf-8")

    process = worthit(str(file), "--out", str(out), scratch=scratch)
    read_until(process, "load 25/s")
    children = psutil.Process(process.pid).children(recursive=True)
    time.sleep(2.4)  # the first pair is done, the second has begun
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=200)

    assert process.returncode == 130, said
    assert "kept as incomplete" in said
    assert not [child for child in children if child.is_running()]
    assert [] == list(scratch.iterdir())
    (kept,) = out.iterdir()
    first = manifest(kept)
    assert first["complete"] is False
    assert first["verdict"]["verdict"] != "VALID"
    assert 2 < len(first["blocks"]) < 10

    process = worthit(
        "--resume", str(kept), "--out", str(out), "--json", "--quiet", scratch=scratch
    )
    stdout, said = process.communicate(timeout=300)
    assert process.returncode in {0, 4}, said
    whole = Path(json.loads(stdout)["run"])
    second = manifest(whole)

    assert second["complete"] is True
    measured = sorted(block["block"] for block in second["blocks"] if not block["warmup"])
    assert list(range(2, 10)) == measured
    assert 2 == len(second["segments"])
    _counts_agree(whole, second)


def _counts_agree(folder: Path, content: dict[str, Any]) -> None:
    """The witnesses of both halves together agree exactly, and no request is there twice."""
    witnesses = [row for row in content["witnesses"] if row["exact"]]
    assert len(witnesses) > 5
    for row in witnesses:
        assert row["from_spans"] == row["independent"], row
    requests = pd.read_parquet(folder / "requests.parquet")
    assert requests["trace_id"].is_unique
    counted = requests[requests["block"].isin(range(2, 10))]
    assert not counted.duplicated(["arm", "draw"]).any()
    draws = {arm: sorted(rows["draw"]) for arm, rows in counted.groupby("arm")}
    assert draws["off"] == draws["on"]
