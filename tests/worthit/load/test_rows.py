from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.load.load_plans import a_block
from worthit.contract.tables import REQUESTS, read_stream
from worthit.load.requests.request_log import Clock, Mark, RequestLog
from worthit.load.requests.rows import Rows, StreamFile
from worthit.load.requests.token_stream import TokenStream

BLOCK = a_block(block=3, step=1)


def add(rows: Rows, number: int, **changes: object) -> None:
    """Add one row."""
    values: dict[str, object] = {
        "trace_id": number.to_bytes(16, "big"),
        "scenario": "chat",
        "name": "/chat",
        "block": BLOCK,
        "draw": 10**12 + number,
        "intended_ns": 1_795_000_000_000_000_001 + number,
        "sent_ns": 1_795_000_000_000_000_002 + number,
        "end_ns": 1_795_000_000_000_000_003 + number,
        "status_code": 200,
        "error": None,
        "response_bytes": 12,
        **changes,
    }
    rows.add(**values)  # type: ignore[arg-type] # the columns' own types


def a_reply() -> TokenStream:
    """Return a streamed reply of two pieces and nine tokens."""
    stream = TokenStream()
    stream.feed(b'data: {"choices": [{"text": "a"}]}\n\n', 1_795_000_000_000_000_005)
    stream.feed(
        b'data: {"choices": [{"text": "b"}], "usage": {"completion_tokens": 9}}\n\n',
        1_795_000_000_000_000_006,
    )
    return stream


def test_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    """Every column of a row, nulls too, is read back from the stream as it was added."""
    rows, file = Rows(), StreamFile(tmp_path / "requests-0.arrows")
    add(
        rows, 1, method="POST", wire_ns=1_795_000_000_000_000_003,
        first_byte_ns=1_795_000_000_000_000_004, tokens=a_reply(),
    )  # fmt: skip
    add(
        rows,
        255,
        kind="grpc",
        end_ns=None,
        status_code=None,
        error="ä: refused",
        name="/other",
        block=None,
    )
    file.write(rows.take()[0])
    file.close()

    found = read_stream(tmp_path / "requests-0.arrows").to_pylist()

    first = {
        "trace_id": f"{1:032x}",
        "scenario": "chat",
        "name": "/chat",
        "arm": "off",
        "step": 1,
        "block": 3,
        "draw": 1_000_000_000_001,
        "intended_ns": 1_795_000_000_000_000_002,
        "sent_ns": 1_795_000_000_000_000_003,
        "end_ns": 1_795_000_000_000_000_004,
        "status_code": 200,
        "error": None,
        "response_bytes": 12,
        "method": "POST",
        "request_type": "http",
        "wire_ns": 1_795_000_000_000_000_003,
        "connect_ns": 0,
        "first_byte_ns": 1_795_000_000_000_000_004,
        "first_token_ns": 1_795_000_000_000_000_005,
        "last_token_ns": 1_795_000_000_000_000_006,
        "output_tokens": 9,
        "output_pieces": 2,
    }
    second = {
        **first,
        "trace_id": f"{255:032x}",
        "name": "/other",
        "arm": None,
        "step": None,
        "block": None,
        "draw": 1_000_000_000_255,
        "intended_ns": 1_795_000_000_000_000_256,
        "sent_ns": 1_795_000_000_000_000_257,
        "end_ns": None,
        "status_code": None,
        "error": "ä: refused",
        "method": None,
        "request_type": "grpc",
        "wire_ns": None,
        "connect_ns": None,
        "first_byte_ns": None,
        "first_token_ns": None,
        "last_token_ns": None,
        "output_tokens": None,
        "output_pieces": None,
    }
    assert found == [first, second]


def test_the_columns_are_those_of_the_run_directory() -> None:
    """The stream's columns are requests.parquet's, in the order that the documentation gives."""
    text = (Path(__file__).parents[3] / "docs" / "run-directory.md").read_text(encoding="utf-8")
    section = text.split("\n## requests.parquet")[1].split("\n## ")[0]
    rows = [line.strip("| ").rsplit("|", 1)[0] for line in section.splitlines() if "|" in line][2:]
    types = {"string", "int32", "int64", "null"}
    words = [word for row in rows for word in re.findall(r"\w+", row)]
    documented = [word for word in words if word not in types]

    # the second column's words are only types, so what is left are the columns' names
    assert [name for name in documented if name in REQUESTS.names] == REQUESTS.names


@pytest.mark.parametrize("cut", [1, 100, 1000])
def test_a_stream_that_was_cut_off_keeps_its_whole_batches(tmp_path: Path, cut: int) -> None:
    """Of a stream that a kill cut short, every whole batch is read."""
    path = tmp_path / "requests-0.arrows"
    rows, file = Rows(), StreamFile(path)
    for number in range(3):
        for row in range(100):
            add(rows, number * 100 + row)
        file.write(rows.take()[0])
    whole = path.read_bytes()
    file.close()
    path.write_bytes(whole[:-cut])

    assert len(read_stream(path)) == 200


def test_an_empty_stream_is_an_empty_table(tmp_path: Path) -> None:
    """A stream without rows, or with nothing in it at all, is an empty table with all columns."""
    StreamFile(tmp_path / "a.arrows").close()
    (tmp_path / "b.arrows").write_bytes(b"")

    for name in ("a.arrows", "b.arrows"):
        table = read_stream(tmp_path / name)
        assert (table.num_rows, table.schema) == (0, REQUESTS)


def test_it_fits_into_parquet(tmp_path: Path) -> None:
    """The stream's table is written as Parquet and read back equal."""
    rows = Rows()
    add(rows, 1)
    table = StreamTable(tmp_path, rows).table

    pq.write_table(table, tmp_path / "requests.parquet")

    assert pq.read_table(tmp_path / "requests.parquet").equals(table)


class StreamTable:
    """Rows that went through a file."""

    def __init__(self, folder: Path, rows: Rows) -> None:
        file = StreamFile(folder / "requests-9.arrows")
        file.write(rows.take()[0])
        file.close()
        self.table = read_stream(folder / "requests-9.arrows")


def test_memory_does_not_grow_with_requests(tmp_path: Path) -> None:
    """After 2,000 requests, 20,000 more leave less than two bytes of memory each."""
    log = RequestLog(tmp_path / "requests-0.arrows", Clock())
    run_requests(log, 2_000)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()

    run_requests(log, 20_000)

    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    log.close(reason="end")
    assert after - before < 40_000
    assert len(read_stream(tmp_path / "requests-0.arrows")) == 22_000


def test_answers_that_nobody_judges_are_recorded_in_bounded_memory(tmp_path: Path) -> None:
    """Of 100,000 answers whose ``with`` block is never entered, all are rows, with their ends."""
    log = RequestLog(tmp_path / "requests-0.arrows", Clock())
    tracemalloc.start()
    for number in range(100_000):
        mark = a_mark(number)
        log.begin(mark)
        mark.undecided = True
        mark.end_ns, mark.status_code = mark.sent_ns + 1, 200
        log.wait(mark)
        if number % 1000 == 0:
            log.flush()
            log.take_fresh()
            log.take_delays()
        if number == 20_000:
            before, _ = tracemalloc.get_traced_memory()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    log.close(reason="stopped before it ended")

    rows = read_stream(tmp_path / "requests-0.arrows")
    assert after - before < 500_000
    assert len(rows) == 100_000
    assert rows["end_ns"].null_count == rows["trace_id"].null_count - 100_000 == 0
    assert rows["error"].null_count == 100_000


def run_requests(log: RequestLog, count: int) -> None:
    """Begin and finish this many requests, flushing as a worker does."""
    for number in range(count):
        mark = a_mark(number)
        log.begin(mark)
        log.finish(mark, end_ns=mark.sent_ns + 1, status_code=200, error=None, response_bytes=1)
        if number % 1000 == 0:
            log.flush()
            log.take_fresh()
            log.take_delays()


def a_mark(number: int) -> Mark:
    """Return the mark of a request."""
    return Mark(bytes(24), BLOCK, number, "chat", "/chat", intended_ns=number, sent_ns=number + 5)


def test_what_never_ended_is_recorded_at_the_end(tmp_path: Path) -> None:
    """A request that is open when the test ends is a row without an end, with the reason."""
    log = RequestLog(tmp_path / "requests-0.arrows", Clock())
    log.begin(a_mark(1))

    log.close(reason="stopped before it ended")

    row = read_stream(tmp_path / "requests-0.arrows").to_pylist()[0]
    assert (row["end_ns"], row["error"]) == (None, "stopped before it ended")


def test_a_request_is_recorded_once(tmp_path: Path) -> None:
    """A second finish of the same request adds no row."""
    log = RequestLog(tmp_path / "requests-0.arrows", Clock())
    mark = a_mark(1)
    log.begin(mark)
    for _ in range(2):
        log.finish(mark, end_ns=9, status_code=200, error=None, response_bytes=1)
    log.close(reason="end")

    assert len(read_stream(tmp_path / "requests-0.arrows")) == 1


def test_many_different_errors_do_not_eat_the_memory() -> None:
    """Beyond 10,000 different error texts the rest share one."""
    rows = Rows(rows=4096)
    texts: list[str] = []
    for number in range(12_000):
        add(rows, number, error=f"error {number}")
        if rows.full:
            texts += rows.take()[0].column("error").to_pylist()
    texts += rows.take()[0].column("error").to_pylist()

    assert len(set(texts)) == 10_001
    assert texts[-1] == "(other)"


def test_a_row_takes_120_bytes() -> None:
    """What a request costs in memory until it is on disk is 120 bytes."""
    rows = Rows(rows=10)
    add(rows, 1)

    _batch, packed = rows.take()

    assert packed.dtype.itemsize == 120
    assert np.int64(packed["intended"][0]) == 1_795_000_000_000_000_002
