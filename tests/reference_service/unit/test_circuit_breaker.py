"""The breaker's states; the probe itself is tested with the connections."""

from __future__ import annotations

from reference_service.resilience.circuit_breaker import BreakerState, CircuitBreaker


def _opened() -> CircuitBreaker:
    breaker = CircuitBreaker("test", failures_to_open=3)
    for _ in range(3):
        assert breaker.allow()
        breaker.failed()
    return breaker


def test_opens_after_failures_in_a_row() -> None:
    """The third failure in a row opens it; a success in between starts the row anew."""
    breaker = CircuitBreaker("test", failures_to_open=3)
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


def test_nobody_is_let_through_while_a_probe_is_under_way() -> None:
    """Half open, too, turns every caller away: the probe is none of theirs."""
    breaker = _opened()
    breaker.probing()

    assert BreakerState.HALF_OPEN is breaker.state
    assert 0 == sum(breaker.allow() for _ in range(100))


def test_a_probe_that_fails_opens_it_again() -> None:
    """One failure is enough then; it takes no further row of them."""
    breaker = _opened()
    breaker.probing()
    breaker.failed()

    assert BreakerState.OPEN is breaker.state


def test_a_probe_that_succeeds_closes_it() -> None:
    """After one good probe everybody is let through, and the row starts anew."""
    breaker = _opened()
    breaker.probing()
    breaker.succeeded()

    assert BreakerState.CLOSED is breaker.state
    assert all(breaker.allow() for _ in range(10))
    breaker.failed()
    assert breaker.allow()
