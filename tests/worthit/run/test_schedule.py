"""The file of `worthit record --schedule`: what it accepts, and what it says of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from worthit.contract.marks import Mark
from worthit.errors import UsageError
from worthit.run.schedule import read_schedule

SECOND = 10**9

IN_TOML = """
[[block]]
seconds = 2
[[block]]
arm = "off"
seconds = 1.5
[[block]]
arm = "on"
block = 4
seconds = 1
"""

IN_JSON = """
[{"seconds": 2}, {"arm": "off", "seconds": 1.5},
 {"arm": "on", "block": 4, "start": 3.5, "end": 4.5}]
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("blocks.toml", IN_TOML),
        ("blocks.csv", "arm,block,seconds\n,,2\noff,,1.5\non,4,1\n"),
        ("blocks.json", IN_JSON),
    ],
)
def test_blocks_follow_each_other_from_the_recordings_start(
    name: str, text: str, tmp_path: Path
) -> None:
    """In each format the same: a pause of 2 s, then two blocks, then nothing."""
    file = tmp_path / name
    file.write_text(text)

    marks = read_schedule(file).marks(100 * SECOND)

    assert marks == [
        Mark(t_ns=100 * SECOND, arm=None),
        Mark(t_ns=102 * SECOND, arm="off"),
        Mark(t_ns=103_500_000_000, arm="on", block=4),
        Mark(t_ns=104_500_000_000, arm=None),
    ]


def test_a_block_may_be_given_by_the_clock(tmp_path: Path) -> None:
    """Date-times with a zone: for a load that another machine starts."""
    file = tmp_path / "blocks.csv"
    file.write_text("arm,start,end\noff,2026-11-30T16:00:00Z,2026-11-30T17:00:10+01:00\n")

    marks = read_schedule(file).marks(0)

    assert marks == [
        Mark(t_ns=1_796_054_400 * SECOND, arm="off"),
        Mark(t_ns=1_796_054_410 * SECOND, arm=None),
    ]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("b.csv", "arm,seconds\noff,0\n", "Block 1 of the schedule .*greater than 0"),
        ("b.csv", "arm,length\noff,3\n", "Block 1 of the schedule .*length: Extra inputs"),
        ("b.csv", "arm,start\noff,3\n", "it needs either seconds, or both start and end"),
        ("b.csv", "arm,start,end\noff,2026-11-30T16:00:00,2026-11-30T16:01:00\n", "no time zone"),
        ("b.csv", "arm,start,end\noff,0,5\non,4,9\n", "Block 2 .*before the one above it ends"),
        ("b.csv", "arm,seconds\n,5\n", "No block of the schedule .* names an arm"),
        ("b.csv", "", "has no block"),
        ("b.yaml", "[]", "its name ends in .yaml"),
        ("b.json", "{", "cannot be read"),
    ],
)
def test_what_it_does_not_accept_is_said(
    name: str, text: str, sentence: str, tmp_path: Path
) -> None:
    """The block, what is wrong with it, and what is accepted."""
    file = tmp_path / name
    file.write_text(text)

    with pytest.raises(UsageError, match=sentence):
        read_schedule(file)


def test_a_schedule_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    """Its path and the reason."""
    with pytest.raises(UsageError, match="No such file or directory"):
        read_schedule(tmp_path / "none.toml")
