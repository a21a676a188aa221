from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest

from worthit.contract.thresholds import ThresholdError, held, parse
from worthit.contract.token_times import ITL, TPOT, TTFT, token_time_ms

MS = 1_000_000
ZERO_NS = 1_795_000_000_000_000_000


def replies(*rows: dict[str, Any]) -> pa.Table:
    """Return streamed replies; times in ms after each was wanted, one a second."""
    made = []
    for number, row in enumerate(rows):
        intended = ZERO_NS + number * 1000 * MS

        def at(name: str, row: dict[str, Any] = row, intended: int = intended) -> int | None:
            return None if row.get(name) is None else intended + round(row[name] * MS)

        made.append(
            {
                "name": row.get("name", "/chat"),
                "error": row.get("error"),
                "intended_ns": intended,
                "sent_ns": intended,
                "end_ns": at("end"),
                "first_token_ns": at("first"),
                "last_token_ns": at("last"),
                "output_tokens": row.get("tokens"),
                "output_pieces": row.get("pieces"),
            }
        )
    return pa.Table.from_pylist(made)


EXAMPLE = {"first": 200, "last": 300, "end": 310, "tokens": 3, "pieces": 3}
SLOW = {"first": 900, "last": 1900, "end": 1900, "pieces": 11}
"""Says no number of tokens: its pieces stand in."""
SINGLE = {"first": 100, "last": 100, "end": 100, "tokens": 1, "pieces": 1}
NEVER = {"error": "HTTP 503", "end": 20}


def figure(text: str, rows: pa.Table) -> float:
    """Return what a threshold sees."""
    threshold = parse(text)
    return held(threshold, rows).observed


def test_times_are_those_of_the_worked_example() -> None:
    """Pieces at 200, 250 and 300 ms, three tokens; a reply of one token has no time between."""
    rows = replies(EXAMPLE, SLOW, SINGLE)

    times = {metric: token_time_ms(metric, rows).to_pylist() for metric in (TTFT, TPOT, ITL)}

    assert times[TTFT] == pytest.approx([200.0, 900.0, 100.0])
    assert times[TPOT] == pytest.approx([100.0, 1900 / 11, 100.0])
    assert times[ITL][:2] == pytest.approx([50.0, 100.0])
    assert times[ITL][2] is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("time_to_first_token: p(50)<1", 200.0),
        ("time_to_first_token: max<1", math.inf),
        ("inter_token_latency: min<1", 50.0),
        ("inter_token_latency: p(66)<1", 100.0),
        ("time_per_output_token: min<1", 100.0),
        ("output_tokens: count>1", 15.0),
        ("output_tokens: rate>1", 15.0 / 4),
        ("goodput{time_to_first_token:500}: count>1", 2.0),
        ("goodput{time_to_first_token:500}: share>0", 0.5),
        ("goodput{time_to_first_token:500,inter_token_latency:20}: count>1", 1.0),
        ("goodput{response_time:2000}: rate>1", 3 / 4),
        ("goodput{response_time:2000,name:/none}: count>1", 0.0),
        ("goodput{time_to_first_token:5000,name:/empty}: share>0", 0.5),
    ],
)
def test_thresholds_are_about_streamed_replies(text: str, expected: float) -> None:
    """Plain requests are left out; one that should have brought tokens and did not is in.

    The load went on for 4 s, plain requests among it.
    """
    plain = {"name": "/static", "end": 1}
    both = ({**EXAMPLE, "name": "/empty"}, {"name": "/empty", "end": 1})
    rows = replies(EXAMPLE, SLOW, NEVER, SINGLE, plain)
    if "/empty" in text:
        rows = replies(*both)

    assert figure(text, rows) == pytest.approx(expected)


def test_of_no_streamed_reply_nothing_is_said() -> None:
    """Without tokens, also in older recordings, times are unknown and goodput counts none."""
    plain = replies({"end": 1})
    older = plain.drop_columns(["first_token_ns", "last_token_ns", "output_tokens"])

    for rows in (plain, older):
        assert math.isnan(figure("time_to_first_token: p(99)<1", rows))
        assert figure("goodput{response_time:1}: count>1", rows) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("goodput: rate>1", "states no limit; write one as a tag, in ms"),
        ("goodput{time_to_first_token:fast}: rate>1", "time_to_first_token:MS"),
        ("errors{time_to_first_token:5}: rate<1", "has the tag 'time_to_first_token:5'"),
    ],
)
def test_a_wrong_limit_says_what_is_expected(text: str, words: str) -> None:
    """Limits are numbers, at least one, and goodput's alone."""
    with pytest.raises(ThresholdError) as refused:
        parse(text)

    assert words in str(refused.value)
