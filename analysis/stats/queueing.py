"""How many arrivals wait for one of c connections? M/M/c, as Erlang found.

Arrivals are Poisson with rate lambda, service is exponential with rate mu per server. Erlang B by
its recursion (Cooper, Introduction to Queueing Theory, 2nd ed. 1981, equation 5.14), Erlang C from
it: factorials would overflow near 170 servers.
"""

from __future__ import annotations

import math

from analysis.errors import NotEnoughDataError


def erlang_b(servers: int, offered: float) -> float:
    """Probability that all of ``servers`` are busy when nobody waits; ``offered`` in Erlang."""
    _check(servers, offered)
    blocked = 1.0
    for server in range(1, servers + 1):
        blocked = offered * blocked / (server + offered * blocked)
    return blocked


def erlang_c(servers: int, offered: float) -> float:
    """Probability of waiting; 1 at and beyond saturation."""
    if offered >= servers:
        _check(servers, offered)
        return 1.0
    blocked = erlang_b(servers, offered)
    return servers * blocked / (servers - offered * (1.0 - blocked))


def servers_needed(arrival: float, service: float, *, p_wait: float) -> int:
    """The fewest servers with which at most the share ``p_wait`` of arrivals waits."""
    servers = max(1, math.floor(arrival / service) + 1)
    while erlang_c(servers, arrival / service) > p_wait:
        servers += 1
    return servers


def _check(servers: int, offered: float) -> None:
    if servers < 1 or offered < 0 or not math.isfinite(offered):
        raise NotEnoughDataError(
            f"{servers} servers at {offered} Erlang were asked about: at least one server and a"
            " load of 0 or more are needed"
        )
