"""One row for every request, streamed to disk: at most 64 bytes of memory a row, and only for the rows of the last half second.

A row is packed into 64 bytes of a fixed buffer; a full or old buffer becomes one record batch of an Arrow IPC stream,
``requests-<worker>.arrows``, whose columns are those of requests.parquet (docs/run-directory.md). A stream that was cut
off, as by kill -9, is read up to its last whole batch; ``read_stream`` does so.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from loadtests._plan import Block

ROW_BYTES: Final = 64
_ROW = struct.Struct("<16sqqqqiHHIhH")
_ROWS_PER_BATCH = 4096
_MISSING = -(1 << 62)
"""Stands for null in a row; no time, status or size takes this value."""
_MISSING_STATUS = -1
_MOST_TEXTS = 10_000
"""Different names or errors kept apart in one stream; a service that puts a number into each error text must not eat the memory."""
_MANY = "(other)"

SCHEMA = pa.schema(
    [
        pa.field("trace_id", pa.string()),
        pa.field("scenario", pa.string()),
        pa.field("name", pa.string()),
        pa.field("arm", pa.string()),
        pa.field("step", pa.int32()),
        pa.field("block", pa.int32()),
        pa.field("draw", pa.int64()),
        pa.field("intended_ns", pa.int64()),
        pa.field("sent_ns", pa.int64()),
        pa.field("end_ns", pa.int64()),
        pa.field("status_code", pa.int32()),
        pa.field("error", pa.string()),
        pa.field("response_bytes", pa.int64()),
    ]
)
_VIEW = np.dtype(
    {
        "names": [
            "intended",
            "sent",
            "end",
            "draw",
            "tags",
            "name",
            "error",
            "bytes",
            "status",
            "scenario",
        ],
        "formats": ["<i8", "<i8", "<i8", "<i8", "<i4", "<u2", "<u2", "<u4", "<i2", "<u2"],
        "offsets": [16, 24, 32, 40, 48, 52, 54, 56, 60, 62],
        "itemsize": ROW_BYTES,
    }
)


class _Texts:
    """Numbers for texts, in order of appearance; number 0 is null."""

    def __init__(self) -> None:
        self._numbers: dict[str | None, int] = {None: 0}
        self._texts: list[str | None] = [None]

    def number(self, text: str | None) -> int:
        found = self._numbers.get(text)
        if found is None:
            if len(self._texts) > _MOST_TEXTS:
                text = _MANY
                if text in self._numbers:
                    return self._numbers[text]
            found = self._numbers[text] = len(self._texts)
            self._texts.append(text)
        return found

    def column(self, numbers: np.ndarray[tuple[int], np.dtype[np.uint16]]) -> pa.Array:
        return pa.array(self._texts, pa.string()).take(pa.array(numbers))


class Rows:
    """The rows since the last batch."""

    def __init__(self, *, rows: int = _ROWS_PER_BATCH) -> None:
        self._buffer = bytearray(rows * ROW_BYTES)
        self._capacity = rows
        self._names = _Texts()
        self._errors = _Texts()
        self._scenarios = _Texts()
        self._blocks: list[Block | None] = [None]
        self._block_numbers: dict[int, int] = {}
        self.count = 0

    @property
    def full(self) -> bool:
        """Whether the next row would not fit."""
        return self.count == self._capacity

    def add(
        self,
        *,
        trace_id: bytes,
        scenario: str,
        name: str,
        block: Block | None,
        draw: int,
        intended_ns: int,
        sent_ns: int,
        end_ns: int | None,
        status_code: int | None,
        error: str | None,
        response_bytes: int,
    ) -> None:
        """Add one row; the caller takes the batch away when ``full``."""
        _ROW.pack_into(
            self._buffer,
            self.count * ROW_BYTES,
            trace_id,
            intended_ns,
            sent_ns,
            _MISSING if end_ns is None else end_ns,
            draw,
            0 if block is None else self._block_number(block),
            self._names.number(name),
            self._errors.number(error),
            min(response_bytes, 0xFFFFFFFF),
            status_code or _MISSING_STATUS,
            self._scenarios.number(scenario),
        )
        self.count += 1

    def _block_number(self, block: Block) -> int:
        found = self._block_numbers.get(id(block))
        if found is None:
            found = self._block_numbers[id(block)] = len(self._blocks)
            self._blocks.append(block)
        return found

    def take(self) -> tuple[pa.RecordBatch, np.ndarray[tuple[int], np.dtype[np.void]]]:
        """Return the rows as a record batch and as a structured array, and start anew."""
        raw = bytes(self._buffer[: self.count * ROW_BYTES])
        rows = np.frombuffer(raw, dtype=_VIEW)
        self.count = 0
        return self._batch(raw, rows), rows

    def blocks_of(
        self, rows: np.ndarray[tuple[int], np.dtype[np.void]]
    ) -> list[tuple[Block, np.ndarray[tuple[int], np.dtype[np.bool_]]]]:
        """Return the blocks that occur in the rows, each with the mask of its rows."""
        found = []
        for number in np.unique(rows["tags"]):
            block = self._blocks[int(number)]
            if block is not None:
                found.append((block, rows["tags"] == number))
        return found

    def _batch(
        self, raw: bytes, rows: np.ndarray[tuple[int], np.dtype[np.void]]
    ) -> pa.RecordBatch:
        tags = rows["tags"]
        blocks = self._blocks
        arm = pa.array([None if block is None else block.arm for block in blocks], pa.string())
        step = pa.array([None if block is None else block.step for block in blocks], pa.int32())
        number = pa.array([None if block is None else block.block for block in blocks], pa.int32())
        picks = pa.array(tags)
        end = np.ascontiguousarray(rows["end"])
        status = rows["status"].astype(np.int32)
        columns = [
            _hex_column(raw, len(rows)),
            self._scenarios.column(np.ascontiguousarray(rows["scenario"])),
            self._names.column(np.ascontiguousarray(rows["name"])),
            arm.take(picks),
            step.take(picks),
            number.take(picks),
            pa.array(np.ascontiguousarray(rows["draw"])),
            pa.array(np.ascontiguousarray(rows["intended"])),
            pa.array(np.ascontiguousarray(rows["sent"])),
            pa.array(end, mask=end == _MISSING),
            pa.array(status, mask=status == _MISSING_STATUS),
            self._errors.column(np.ascontiguousarray(rows["error"])),
            pa.array(rows["bytes"].astype(np.int64)),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _hex_column(raw: bytes, count: int) -> pa.Array:
    """Return the trace ids as lower-case hex without a Python loop over rows."""
    ids = np.frombuffer(raw, dtype=np.uint8).reshape(count, ROW_BYTES)[:, :16]
    text = ids.tobytes().hex().encode("ascii")
    offsets = np.arange(0, 32 * count + 1, 32, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


class StreamFile:
    """An Arrow IPC stream on disk; each batch is handed to the operating system as a whole."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=1 << 16)
        self._writer = pa.ipc.new_stream(self._file, SCHEMA)
        self._file.flush()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch and flush it, so that a killed worker loses only what is still in memory."""
        self._writer.write_batch(batch)
        self._file.flush()

    def close(self) -> None:
        """End the stream."""
        self._writer.close()
        self._file.close()


def read_stream(path: Path) -> pa.Table:
    """Read a stream, whole or cut off, up to its last whole batch."""
    batches = []
    with path.open("rb") as file:
        try:
            reader = pa.ipc.open_stream(file)
            while True:
                batches.append(reader.read_next_batch())
        except (StopIteration, pa.ArrowInvalid, OSError):
            # the end, or a stream that ends inside a message: what came before it is sound, and `batches` holds it
            pass
    return pa.Table.from_batches(batches, schema=SCHEMA)
