"""What is taken from `traceparent` and `baggage`, and what is not."""

from __future__ import annotations

import pytest

from reference_service.handlers.request_span import read_caller
from reference_service.telemetry.request_context import (
    RequestContext,
    read_baggage,
    read_traceparent,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    "header",
    [
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        "",
        "garbage",
    ],
)
def test_a_malformed_traceparent_starts_a_new_trace(header: str) -> None:
    """What W3C Trace Context calls invalid is ignored."""
    assert read_traceparent(header.encode()) is None


@pytest.mark.parametrize("header", [f"00-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-00-what"])
def test_a_good_traceparent_is_continued(header: str) -> None:
    """Also of a later version, whose further parts are ignored."""
    parent = read_traceparent(header.encode())
    assert parent is not None
    assert (TRACE, SPAN) == (parent.trace_id.hex(), parent.span_id.hex())


def test_baggage_is_typed_and_ours_only() -> None:
    """Step, block and draw are integers; other people's members go nowhere."""
    header = "a=b,worthit.arm=on%20x;p=1, worthit.step=3 ,worthit.draw=12,worthit.block=x"
    context = RequestContext(read_baggage(header.encode()))

    expected = {"worthit.arm": "on x", "worthit.step": 3, "worthit.draw": 12}
    assert expected == context.attributes
    assert 12 == context.draw
    assert "worthit.arm=on%20x,worthit.step=3,worthit.draw=12" == context.baggage


def test_no_caller_says_what_this_service_measures() -> None:
    """What the service itself writes on spans under the same prefix cannot come from outside."""
    header = "worthit.emulated_ns=9,worthit.key=x,worthit.pool_wait_ns=1,worthit.run=r"
    context = RequestContext(header)

    assert {"worthit.run": "r"} == context.attributes
    assert "worthit.run=r" == context.baggage


@pytest.mark.parametrize(("lines", "kept"), [(2, 2), (3, 0)])
def test_the_limit_of_baggage_is_for_all_its_lines(lines: int, kept: int) -> None:
    """Lines of 3 KB each are one list: two are within the 8 KB of W3C Baggage, three are not."""
    line = b"worthit.run=x," + b"a=" + b"y" * 3000
    headers = [(b"baggage", line.replace(b"run", name)) for name in (b"run", b"arm", b"scenario")]
    _, context = read_caller({"headers": headers[:lines]})

    assert kept == len(context.attributes)


@pytest.mark.parametrize(
    "header",
    [b"worthit.draw=1\r\nX: y", b"worthit.draw=\xff", b"worthit.arm=" + b"x" * 9000],
    ids=["line-break", "not-ascii", "too-long"],
)
def test_baggage_unfit_to_pass_on_is_dropped(header: bytes) -> None:
    """What would break the next request's headers is neither read nor passed on."""
    assert "" == read_baggage(header)


@pytest.mark.parametrize("draw", ["-1", "1.5", "9223372036854775808", "99999999999999999999", ""])
def test_a_draw_out_of_range_is_none(draw: str) -> None:
    """A draw is a decimal integer from 0 to 2^63 - 1, or there is none."""
    assert RequestContext(f"worthit.draw={draw}").draw is None
