"""The breaker, on a clock of the test's own."""

from __future__ import annotations

from reference_service.resilience.circuit_breaker import BreakerState, CircuitBreaker


class _Clock:
    """Time that only the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def _opened() -> tuple[CircuitBreaker, _Clock]:
    clock = _Clock()
    breaker = CircuitBreaker("test", clock, failures_to_open=3, reset_seconds=1.0)
    for _ in range(3):
        assert breaker.allow()
        breaker.failed()
    return breaker, clock


def test_opens_after_failures_in_a_row() -> None:
    """The third failure in a row opens it; a success in between starts the row anew."""
    breaker = CircuitBreaker("test", _Clock(), failures_to_open=3)
    for outcome in (
        breaker.failed,
        breaker.failed,
        breaker.succeeded,
        breaker.failed,
        breaker.failed,
    ):
        outcome()
    assert BreakerState.CLOSED is breaker.state

    breaker.failed()
    assert BreakerState.OPEN is breaker.state
    assert not breaker.allow()


def test_lets_one_of_a_hundred_probe() -> None:
    """When the interval is over, of a hundred callers one is let through."""
    breaker, clock = _opened()
    clock.now = 1.0

    assert 1 == sum(breaker.allow() for _ in range(100))


def test_one_probe_an_interval_while_the_server_stays_away() -> None:
    """Over ten intervals of a lasting outage, ten probes and no more get through."""
    breaker, clock = _opened()
    probes = 0
    for step in range(1, 1001):
        clock.now = step / 100
        if breaker.allow():
            probes += 1
            breaker.failed()

    assert 10 == probes


def test_a_probe_that_succeeds_closes_it() -> None:
    """After one good probe everybody is let through."""
    breaker, clock = _opened()
    clock.now = 1.0
    assert breaker.allow()
    breaker.succeeded()

    assert BreakerState.CLOSED is breaker.state
    assert all(breaker.allow() for _ in range(10))


def test_a_probe_that_never_reports_blocks_nobody_for_long() -> None:
    """When the probe's caller is cancelled, the next interval has its own probe."""
    breaker, clock = _opened()
    clock.now = 1.0
    assert breaker.allow()

    clock.now = 1.5
    assert not breaker.allow()
    clock.now = 2.0
    assert breaker.allow()
