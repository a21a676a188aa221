"""How long does one wait for one of c connections? M/M/c and M/M/c/K, as Erlang found.

Arrivals are Poisson with rate lambda, service is exponential with rate mu per server. Erlang B by
its recursion (Cooper, Introduction to Queueing Theory, 2nd ed. 1981, equation 5.14), Erlang C from
it: factorials would overflow near 170 servers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.errors import NotEnoughDataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Steady state of a queue. Times in the inverse unit of the rates."""

    servers: int
    utilisation: float
    p_wait: float
    """Probability that an arrival waits (M/M/c) or is blocked (M/M/c/K: ``p_full``)."""
    wait: float
    """Mean wait before service."""
    response: float
    """Mean wait and service."""
    queue_length: float
    in_system: float
    p_empty: float
    p_full: float
    """Probability that an arrival is turned away; 0 without a limit."""


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


def mmc(arrival: float, service: float, servers: int) -> Queue:
    """M/M/c in steady state; infinite waits at and beyond saturation."""
    offered = arrival / service
    p_wait = erlang_c(servers, offered)
    spare = servers * service - arrival
    wait = p_wait / spare if spare > 0 else math.inf
    p_empty = _p_empty(offered, servers) if spare > 0 else 0.0
    return Queue(
        servers=servers,
        utilisation=offered / servers,
        p_wait=p_wait,
        wait=wait,
        response=wait + 1.0 / service,
        queue_length=arrival * wait,
        in_system=arrival * wait + offered,
        p_empty=p_empty,
        p_full=0.0,
    )


def mmck(arrival: float, service: float, servers: int, places: int) -> Queue:
    """M/M/c/K: at most ``places`` in the system, waiting or served; the rest is turned away."""
    offered = arrival / service
    _check(servers, offered)
    if places < servers:
        raise NotEnoughDataError(
            f"{places} places were given for {servers} servers: at least one each is needed"
        )
    states = np.arange(places + 1)
    steps = np.log(offered) - np.log(np.minimum(np.maximum(states, 1), servers))
    steps[0] = 0.0
    weights = np.exp(np.cumsum(steps) - np.cumsum(steps).max())
    p = weights / weights.sum()
    waiting = float(np.sum(np.maximum(states - servers, 0) * p))
    inside = float(np.sum(states * p))
    taken = arrival * (1.0 - float(p[-1]))
    return Queue(
        servers=servers,
        utilisation=taken / service / servers,
        p_wait=float(p[servers:].sum()),
        wait=waiting / taken,
        response=inside / taken,
        queue_length=waiting,
        in_system=inside,
        p_empty=float(p[0]),
        p_full=float(p[-1]),
    )


def servers_needed(arrival: float, service: float, *, p_wait: float) -> int:
    """The fewest servers with which at most the share ``p_wait`` of arrivals waits."""
    servers = max(1, math.floor(arrival / service) + 1)
    while erlang_c(servers, arrival / service) > p_wait:
        servers += 1
    return servers


def _p_empty(offered: float, servers: int) -> float:
    """Probability of an empty system, with logarithms for large numbers of servers."""
    log = math.log(offered) if offered else -math.inf
    terms = [n * log - math.lgamma(n + 1) if n else 0.0 for n in range(servers)]
    last = servers * log - math.lgamma(servers + 1)
    terms.append(last - math.log(1.0 - offered / servers))
    top = max(terms)
    return math.exp(-top) / sum(math.exp(term - top) for term in terms)


def _check(servers: int, offered: float) -> None:
    if servers < 1 or offered < 0 or not math.isfinite(offered):
        raise NotEnoughDataError(
            f"{servers} servers at {offered} Erlang were asked about: at least one server and a"
            " load of 0 or more are needed"
        )
