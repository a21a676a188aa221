from __future__ import annotations

import pytest

from analysis.report.evidence import generator_section
from worthit.contract.manifest import Generator


@pytest.mark.parametrize(("own_p99_ms", "is_shown"), [(1.25, True), (None, False)])
def test_the_loads_own_part_is_shown_where_it_was_calibrated(
    own_p99_ms: float | None, *, is_shown: bool
) -> None:
    """Beside the schedule delay, explained; a run without calibration has no empty column."""
    step = Generator(
        step=0, offered_per_s=10.0, achieved_per_s=10.0, lag_p99_ms=0.5, own_p99_ms=own_p99_ms
    )

    section = generator_section([step])

    said = repr(section.tables[0])
    assert ("Load's own p99" in said, "1.25" in said) == (is_shown, is_shown)
    assert ("a server that answers at once" in section.reading) == is_shown
