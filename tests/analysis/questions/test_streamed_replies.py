from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.document.setting import setting_of
from analysis.questions import streamed_replies
from analysis.questions.asking import findings
from analysis.questions.measured import measured
from analysis.questions.streamed_replies import StreamedReplies
from analysis.rundir.run import Run
from analysis.stats.intervals import Estimate

MS = 1_000_000


def streamed(requests: pd.DataFrame, *, first_ms: float, gap_ms: float) -> pd.DataFrame:
    """Give every request a reply of 11 tokens; in the arm "on" the first comes twice as fast."""
    factor = np.where(requests["arm"] == "on", 0.5, 1.0)
    first = requests["intended_ns"] + np.rint(first_ms * factor * MS).astype("int64")
    return requests.assign(
        error=pd.array([None] * len(requests), dtype="str"),
        first_token_ns=first.astype("Int64"),
        last_token_ns=(first + round(10 * gap_ms * MS)).astype("Int64"),
        output_tokens=pd.array([11] * len(requests), dtype="Int32"),
        output_pieces=pd.array([4] * len(requests), dtype="Int32"),
    )


def values(row: streamed_replies.StreamedRow, *names: str) -> list[float | None]:
    """Return estimates' values."""
    found: list[Estimate] = [getattr(row, name) for name in names]
    return [estimate.value for estimate in found]


def test_each_arms_times_are_those_that_were_put_in(run: Run) -> None:
    """First token after 1000 and 500 ms, 20 ms between tokens, per token the whole over 11."""
    tables = measured(run)
    requests = streamed(tables.requests, first_ms=1000, gap_ms=20)

    off, on = streamed_replies.answer(replace(tables, requests=requests)).rows

    times = ("time_to_first_token", "inter_token_latency", "time_per_output_token", "goodput")
    assert (off.arm, on.arm) == ("off", "on")
    assert values(off, *times) == pytest.approx([1000, 20, 1200 / 11, 1])
    assert values(on, *times) == pytest.approx([500, 20, 700 / 11, 1])
    blocks = tables.blocks[tables.blocks["arm"] == "off"]
    per_s = 11 * len(requests[requests["arm"] == "off"]) / blocks["seconds"].sum()
    assert values(off, "tokens_per_s") == pytest.approx([per_s])
    assert off.time_to_first_token.has_interval


def test_the_report_says_it_of_each_arm(run: Run) -> None:
    """The section has both arms' times, with their units."""
    tables = measured(run)
    requests = streamed(tables.requests, first_ms=1000, gap_ms=20)
    answered = streamed_replies.answer(replace(tables, requests=requests))
    found = findings(run)
    others = tuple(one for one in found.answers if not isinstance(one, StreamedReplies))

    section = streamed_replies.section(
        replace(found, answers=(*others, answered)), setting_of(run.manifest)
    )

    assert section is not None
    assert section.answer.count("first token after") == 2
    assert "then one every 20" in section.answer
    assert len(section.tables[0].rows) == 2


def test_goodput_leaves_out_slow_failed_and_missing_tokens(run: Run) -> None:
    """A reply beyond a limit, one with an error and one without a token are not good."""
    tables = measured(run)
    requests = streamed(tables.requests, first_ms=1000, gap_ms=20)
    off = requests.index[requests["arm"] == "off"]
    requests.loc[off[0], "error"] = "HTTP 500"
    requests.loc[off[1], "first_token_ns"] -= 3000 * MS  # 320 ms between tokens
    requests.loc[off[2], ["first_token_ns", "last_token_ns"]] = pd.NA

    row = streamed_replies.answer(replace(tables, requests=requests)).rows[0]

    assert row.goodput.value == pytest.approx(1 - 3 / len(off))
    assert row.time_to_first_token.n == len(off) - 1


def test_a_run_without_streams_has_no_section(run: Run) -> None:
    """Nothing is said of tokens where there are none."""
    found = findings(run)

    assert found.of(StreamedReplies).rows == ()
    assert streamed_replies.section(found, setting_of(run.manifest)) is None
