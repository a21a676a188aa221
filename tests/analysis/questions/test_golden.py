"""What synthetic runs find stays what it was."""

from __future__ import annotations

import json

import pytest

from tests.support.runs.golden_runs import GOLDEN, RUNS, found_in, same


@pytest.mark.parametrize("name", RUNS)
def test_what_is_found_is_as_before(name: str) -> None:
    """Every number, interval, decision and verdict of the kept run is the one that was kept."""
    kept = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))

    found = found_in(name)

    assert len(kept) > 10
    assert sorted(kept) == sorted(found)
    moved = {key: (kept[key], found[key]) for key in kept if not same(kept[key], found[key])}
    assert {} == moved
