"""By how much did the load send each request late?

To the moment at which its bytes were handed to the socket, less the time for making a connection:
that is the service's and the network's. Older loads, and requests of which no transport was seen,
have only the moment at which the client was called.

Worked example: wanted at 0 ms, the client was called at 1 ms, connected until 4 ms (3 ms of it for
the connection) and sent at 4.5 ms: the schedule delay is 1.5 ms.
"""

from __future__ import annotations

import pandas as pd


def schedule_delay_ms(requests: pd.DataFrame) -> pd.Series:
    """The schedule delay of each request in ms, index as ``requests``."""
    called = requests["sent_ns"] - requests["intended_ns"]
    if "wire_ns" not in requests:
        return called / 1e6
    left = requests["wire_ns"] - requests["connect_ns"].fillna(0) - requests["intended_ns"]
    return left.fillna(called).astype("float64") / 1e6
