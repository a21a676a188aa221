from __future__ import annotations

from pathlib import Path

import msgpack  # under Locust, which cannot be imported here: it patches the process
import numpy as np
import pytest

from tests.support.load.load_plans import a_block, a_plan
from worthit.contract.manifest import Worker
from worthit.load.coordination.assignment import Share
from worthit.load.coordination.messages import (
    Assigned,
    Begin,
    Counted,
    Driven,
    Progress,
    StepDriven,
)
from worthit.load.coordination.recent_seconds import RecentSeconds
from worthit.load.requests.counters import Histogram, StepCounts


def histogram(*took_ms: float) -> Histogram:
    """Return a histogram of these durations."""
    found = Histogram()
    found.add((np.array(took_ms) * 1e6).astype(np.int64))
    return found


def a_progress(begun: int, *service_ms: float, driven: Driven | None = None) -> Progress:
    """Return the report of a worker whose requests took so long."""
    fresh = StepCounts(requests=len(service_ms), service=histogram(*service_ms))
    return Progress(
        number=3,
        worker=1,
        recording=True,
        sending_spans=False,
        check=Worker(worker="1", cpu_share_max=0.5, gc_pauses=2),
        cpu_share=0.25,
        in_flight=begun - len(service_ms),
        notes={"had no row": 2},
        counted=Counted(begun=begun, delays=histogram(), fresh={-1: fresh}, driven=driven),
    )


A_BEGIN = Begin(
    number=3,
    plan=a_plan(a_block(block=4, rate_per_s=80.0)),
    t0_ns=10**18,
    classes=["Chat"],
    out=Path("out"),
    max_in_flight=100,
    client_spans=False,
    calibrate_per_s=200.0,
)
A_DRIVEN = Driven(
    shares_begun=2,
    last_begun=41,
    running=1,
    steps={0: StepDriven(sent=12, in_flight_max=3)},
    last_sent_ns={4: 2 * 10**9},
    calibration=histogram(0.4, 0.5),
)


@pytest.mark.parametrize(
    "message",
    [
        A_BEGIN,
        Assigned(number=3, share=Share(from_ns=0, to_ns=10**9, slot=1, of=3)),
        a_progress(12, 5.0, 7.0, driven=A_DRIVEN),
        a_progress(0),
        Progress(
            number=-1,
            worker=0,
            recording=False,
            sending_spans=False,
            check=Worker(worker="0"),
            cpu_share=0.0,
        ),
    ],
)
def test_a_message_arrives_as_it_was_sent(message: Begin | Assigned | Progress) -> None:
    """Packed and unpacked as Locust does it, every message is equal to what was sent."""
    packed = msgpack.dumps(message.to_wire())

    arrived = msgpack.loads(packed, raw=False, strict_map_key=False)

    assert type(message).from_wire(arrived) == message


def test_the_live_view_adds_workers_up_by_second() -> None:
    """Two workers' reports make one sample a second: offered, achieved and in flight add up."""
    live = RecentSeconds()
    live.sample(100.0, scheduled=True)
    live.add("a", a_progress(10, 5.0, 5.0))
    live.add("b", a_progress(20, 5.0))
    live.due = 32
    live.sample(101.0, scheduled=True)
    live.add("a", a_progress(15))
    live.due = 36
    live.sample(102.0, scheduled=True)

    rates = [(s["offered"], s["achieved"], s["in_flight"]) for s in live.samples]
    assert rates == [(32.0, 30.0, 27), (4.0, 5.0, 34)]
    assert live.samples[0]["service"][0] == pytest.approx(5.0, rel=0.005)
    assert live.samples[1]["service"] == [None, None, None]
