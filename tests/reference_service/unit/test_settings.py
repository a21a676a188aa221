"""Settings that are wrong are refused in a sentence, before anything starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = {"DATABASE_URL": "postgresql://x/y", "LLM_BASE_URL": "http://x/v1"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, ["DATABASE_URL is not set", "LLM_BASE_URL is not set"]),
        ({**GOOD, "REDIS_ENABLED": "true"}, ["REDIS_URL is not set"]),
        (
            {**GOOD, "DB_POOL_MIN": "9", "DB_POOL_MAX": "3"},
            ["DB_POOL_MIN is 9, above"],
        ),
        (
            {**GOOD, "PIPELINE": "sideways"},
            ["PIPELINE is 'sideways'; expected one of 'sequential' or 'parallel'"],
        ),
        (
            {**GOOD, "RATE_LIMIT_PER_MINUTE": "0"},
            ["RATE_LIMIT_PER_MINUTE is '0'; expected at least"],
        ),
    ],
    ids=["missing", "redis", "pool", "pipeline", "limit"],
)
def test_a_wrong_setting_is_a_sentence(
    tmp_path: Path, settings: dict[str, str], said: list[str]
) -> None:
    """The process ends with exit code 2 and names the setting; no traceback."""
    root = Path(__file__).parents[3]
    ended = subprocess.run(
        [sys.executable, "-m", "reference_service", "--port", "1"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root), **settings},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 2 == ended.returncode
    for sentence in said:
        assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
