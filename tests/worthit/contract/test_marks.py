"""Marks become windows: which arm's block was under way when."""

from __future__ import annotations

import pytest

from worthit.contract.errors import UserMistakeError
from worthit.contract.marks import Mark, Window, mark_from, read_written, windows, written


def test_each_mark_ends_the_block_before_it() -> None:
    """Blocks without a number get the next free one; a mark without an arm only ends."""
    marks = [
        Mark(t_ns=30, arm="off", block=7),
        Mark(t_ns=10, arm="off"),
        Mark(t_ns=20, arm="on"),
        Mark(t_ns=40, arm=None),
        Mark(t_ns=50, arm="on"),
    ]

    assert windows(marks) == (
        Window(arm="off", block=8, start_ns=10, end_ns=20),
        Window(arm="on", block=9, start_ns=20, end_ns=30),
        Window(arm="off", block=7, start_ns=30, end_ns=40),
        Window(arm="on", block=10, start_ns=50, end_ns=None),
    )


def test_a_mark_is_read_as_it_was_written() -> None:
    """The recorder's file gives back what came, with its moment."""
    mark = Mark(t_ns=1_700_000_000_123_456_789, arm="größer", block=0)

    assert read_written(written(mark)) == mark


@pytest.mark.parametrize(
    "content",
    [[], {"arm": ""}, {"arm": 3}, {"arm": "off", "block": -1}, {"arm": "off", "block": True},
     {"block": 1}, {"arm": "off", "level": 2}],
    ids=str,
)  # fmt: skip
def test_what_is_no_mark_is_refused(content: object) -> None:
    """With a sentence that says what one is."""
    with pytest.raises(UserMistakeError, match=r"mark|block"):
        mark_from(content, 0)
