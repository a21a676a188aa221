"""Arms, steps and blocks as a recording's spans have them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from worthit.run.recorded_arms import found_on_spans


@pytest.mark.parametrize("parent", [None, "00000000000000ff"], ids=["none", "not recorded"])
def test_a_root_may_have_a_parent_that_nobody_recorded(tmp_path: Path, parent: str | None) -> None:
    """A load or a gateway that exports nothing leaves requests with a parent: they count."""
    rows = [
        {
            "span_id": f"{number:016x}",
            "parent_span_id": parent,
            "kind": "SERVER",
            "arm": arm,
            "step": 0,
            "block": block,
            "start_ns": number * 1000,
            "duration_ns": 10,
        }
        for number, (arm, block) in enumerate([("off", 0), ("on", 1)] * 3)
    ]
    inner = {**rows[0], "span_id": "a" * 16, "parent_span_id": rows[0]["span_id"]}
    pd.DataFrame([*rows, inner]).to_parquet(tmp_path / "spans.parquet")

    found = found_on_spans(tmp_path / "spans.parquet")

    assert [("off", True), ("on", False)] == [(arm.name, arm.baseline) for arm in found.arms]
    assert [(0, "off"), (1, "on")] == [(block.block, block.arm) for block in found.blocks]
