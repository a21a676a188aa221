"""What is taken from `baggage`, and what is not."""

from __future__ import annotations

import pytest
from opentelemetry import baggage, propagate
from opentelemetry.context import attach, detach

from reference_service.telemetry.load_baggage import caller_context, draw, members


def _taken(header: str) -> tuple[dict[str, str | int], int | None]:
    token = attach(caller_context({"baggage": header}))
    try:
        return members(), draw()
    finally:
        detach(token)


def test_members_are_typed_and_the_loads_only() -> None:
    """Step, block and draw are integers; other people's members go nowhere."""
    header = "a=b,worthit.arm=on%20x;p=1, worthit.step=3 ,worthit.draw=12,worthit.block=x"

    expected = {"worthit.arm": "on x", "worthit.step": 3, "worthit.draw": 12}
    assert (expected, 12) == _taken(header)


def test_no_caller_says_what_this_service_measures() -> None:
    """What the service itself writes on spans under the same prefix cannot come from outside."""
    header = "worthit.emulated_ns=9,worthit.key=x,worthit.pool_wait_ns=1,worthit.run=r"

    assert {"worthit.run": "r"} == _taken(header)[0]


def test_what_is_passed_on_is_what_was_taken() -> None:
    """The next server reads the same members by W3C Baggage, and no other."""
    passed: dict[str, str] = {}
    propagate.inject(passed, caller_context({"baggage": "a=b,worthit.arm=on%20x,worthit.step=3"}))

    read = baggage.get_all(propagate.extract(passed))
    assert {"worthit.arm": "on x", "worthit.step": "3"} == read


@pytest.mark.parametrize(
    "header",
    ["worthit.draw=1\r\nX: y", "worthit.draw=\xff", "worthit.arm=" + "x" * 9000],
    ids=["line-break", "not-ascii", "too-long"],
)
def test_baggage_unfit_to_pass_on_is_dropped(header: str) -> None:
    """What would break the next request's headers is neither read nor passed on."""
    assert ({}, None) == _taken(header)


@pytest.mark.parametrize("given", ["-1", "1.5", "9223372036854775808", "99999999999999999999", ""])
def test_a_draw_out_of_range_is_none(given: str) -> None:
    """A draw is a decimal integer from 0 to 2^63 - 1, or there is none."""
    assert _taken(f"worthit.draw={given}")[1] is None
