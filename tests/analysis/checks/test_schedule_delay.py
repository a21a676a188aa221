from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.checks.run_checks import about_generator
from analysis.checks.schedule_delay import schedule_delay_ms
from analysis.rundir.manifest import Manifest
from tests.analysis.claims.test_thresholds import ZERO_NS, observed

MS = 1_000_000


def requests(*, wire_ms: float | None, connect_ms: float = 0.0, count: int = 200) -> pd.DataFrame:
    """Return requests whose clients were called 1 ms late, answered after 100 ms."""
    intended = ZERO_NS + np.arange(count) * 10 * MS
    wire = [pd.NA] * count if wire_ms is None else (intended + round(wire_ms * MS)).tolist()
    return pd.DataFrame(
        {
            "step": pd.array([0] * count, dtype="Int32"),
            "name": "/chat",
            "scenario": "chat",
            "arm": "off",
            "status_code": pd.array([200] * count, dtype="Int64"),
            "error": None,
            "intended_ns": intended,
            "sent_ns": intended + MS,
            "end_ns": pd.array((intended + 100 * MS).tolist(), dtype="Int64"),
            "wire_ns": pd.array(wire, dtype="Int64"),
            "connect_ns": pd.array([round(connect_ms * MS)] * count, dtype="Int64"),
        }
    )


@pytest.mark.parametrize(
    ("wire_ms", "connect_ms", "delay_ms"), [(4.5, 3.0, 1.5), (40.0, 0.0, 40.0), (None, 0.0, 1.0)]
)
def test_the_delay_ends_at_the_socket_without_connecting(
    wire_ms: float | None, connect_ms: float, delay_ms: float
) -> None:
    """As in the worked example; without a transport it ends where the client was called."""
    table = requests(wire_ms=wire_ms, connect_ms=connect_ms)

    assert schedule_delay_ms(table).tolist() == pytest.approx([delay_ms] * len(table))
    assert observed("lag: p(99)<1", requests=table) == pytest.approx(delay_ms)


def test_an_older_table_has_only_the_clients_call() -> None:
    """Without the columns of the socket the delay is that of the call."""
    table = requests(wire_ms=40.0).drop(columns=["wire_ns", "connect_ns"])

    assert schedule_delay_ms(table).tolist() == pytest.approx([1.0] * len(table))
    assert observed("lag: max<1", requests=table) == pytest.approx(1.0)


def test_a_request_held_up_behind_the_clients_call_speaks_against_the_run() -> None:
    """Called 1 ms late and at the socket 40 ms late: the schedule was not kept."""
    table = requests(wire_ms=40.0)

    said = about_generator(Manifest(format_version=1, run_id="run"), table, table)

    late = [issue for issue in said if "rrivals were sent late" in issue.sentence]
    assert [issue.sentence.split(":")[0] for issue in late] == [
        "Arrivals were sent late, schedule delay p99 40.0 ms, above 5.0 ms"
    ]
