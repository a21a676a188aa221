"""Progress on stderr."""

from __future__ import annotations

import io

import pytest

from worthit.cli.terminal.progress import PlainLines, spell_seconds


def test_plain_lines_are_few_and_say_what_how_far_and_how_long() -> None:
    """In 25 s of one phase three lines are printed, each with share, doing and time left."""
    stream = io.StringIO()
    now = 0.0

    progress = PlainLines("personality-cache", 100, stream, lambda: now)
    for second in range(25):
        now = float(second)
        progress.at(second, f"load, block {second} of 25")

    assert stream.getvalue().splitlines() == [
        "personality-cache: about 1 min 40 s",
        "  0 %  load, block 0 of 25  (1 min 40 s left)",
        " 10 %  load, block 10 of 25  (1 min 30 s left)",
        " 20 %  load, block 20 of 25  (1 min 20 s left)",
    ]


def test_a_new_phase_is_told_at_once() -> None:
    """A line is printed when something new begins, however soon."""
    stream = io.StringIO()

    progress = PlainLines("x", 10, stream, lambda: 0.0)
    progress.at(0, "starting PostgreSQL")
    progress.at(1, "starting the service")

    assert [
        line.split("%  ")[1].split("  (")[0] for line in stream.getvalue().splitlines()[1:]
    ] == ["starting PostgreSQL", "starting the service"]


@pytest.mark.parametrize(
    ("seconds", "spelt"),
    [(0, "0 s"), (59.6, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (7500, "2 h 5 min")],
)
def test_durations_are_spelt_for_people(seconds: float, spelt: str) -> None:
    """Seconds are spelt in the units that a waiting user thinks in."""
    assert spelt == spell_seconds(seconds)
