"""How many queries can MySQL or MariaDB have had while a service was recorded?

``performance_schema`` counts the statements of one database by digest, but on MariaDB not those
that a client prepared in the binary protocol, and never what came out of the query cache: so many
more may have been asked. Where it is off, or has lost digests, ``SHOW GLOBAL STATUS`` counts the
commands of the whole server.
"""

from __future__ import annotations

import pandas as pd

from analysis.checks.counts.statement_counts import ServerCount, growth_of, statements

DIGESTS = "performance_schema"
COMMANDS = "SHOW GLOBAL STATUS"


def of_mysql(counters: pd.DataFrame) -> ServerCount | None:
    """How many queries it can have had over the recording; None where nobody asked it."""
    grown = {
        name: growth_of(counters, name, source="mysql")
        for name in ("command_calls", "prepared_calls", "query_cache_hits", "digests_lost")
    }
    cached = grown["query_cache_hits"] or 0.0
    told = statements(counters, "mysql")
    if told is not None and told[1] and not grown["digests_lost"]:
        apart = (grown["prepared_calls"] or 0.0) + cached
        return ServerCount(least=told[0], most=told[0] + apart, counted_by=DIGESTS)
    commands = grown["command_calls"]
    if commands is None:
        return None
    # each of the recorder's readings of the digests between the two ends is a SELECT
    ours = ((counters["source"] == "mysql") & (counters["name"] == "statement_reading")).sum()
    total = max(0.0, commands - ours) + cached
    return ServerCount(least=total, most=total, counted_by=COMMANDS)
