"""Late sends after a stall: whose fault are they?"""

from __future__ import annotations

import numpy as np

from tests.support.load.load_plans import a_block
from worthit.load.requests.request_log import delays_ns
from worthit.load.requests.rows import Rows
from worthit.load.requests.stalls import Stalls

MS = 1_000_000
BLOCK = a_block(block=0, step=0)


def apart_of(*, service_stalls: bool) -> tuple[int, int]:
    """Return how many late sends are kept for judgement, and how many there are.

    500/s for 4 s, and nothing from 1 s to 3 s: either the service answers nothing while requests
    go out, and all of it at 3 s, or the generator itself stands still. What is due in the 0.2 s
    after it is sent up to 100 ms late in both.
    """
    rows = Rows()
    sends = []
    for due in range(0, 4000, 2):
        late = max(100 - (due - 3000), 0) if 3000 <= due < 3200 else 0
        if not service_stalls and 1000 <= due < 3000:
            late = 3000 - due
        sent = due + late
        end = max(sent + 5, 3000 + (due % 100)) if 1000 <= sent < 3000 else sent + 5
        sends.append((end, due, sent))
    for end, due, sent in sorted(sends):
        rows.add(
            bytes(16), "s", "n", BLOCK, due, due * MS, sent * MS, end * MS, 200, None, 1,
            wire_ns=sent * MS,
        )  # fmt: skip
    _batch, packed = rows.take()
    delays = delays_ns(packed)
    apart = Stalls().apart(packed, delays)
    late = delays > 5 * MS
    return int(np.count_nonzero(late & apart)), int(np.count_nonzero(late))


def test_a_stall_of_the_service_excuses_what_is_sent_after_it() -> None:
    """Requests went out on time through the silence: no late send is left to be judged."""
    kept, late = apart_of(service_stalls=True)

    assert late > 40
    assert kept == 0


def test_a_pause_of_the_generator_excuses_nothing() -> None:
    """Nothing was sent in the silence: every late send is judged."""
    kept, late = apart_of(service_stalls=False)

    assert late > 40
    assert kept == late
