"""One row for every request, streamed to disk; 120 bytes of memory a row, for a moment.

A row is packed into 120 bytes of a fixed buffer; a full or old buffer becomes one record batch of
an Arrow IPC stream, ``requests-<worker>.arrows``, whose columns are those of requests.parquet
(docs/run-directory.md). A stream that was cut off, as by kill -9, is read up to its last whole
batch; ``worthit.contract.tables.read_stream`` does so.
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worthit.contract.plan import Block
from worthit.contract.tables import REQUESTS
from worthit.load.requests.token_stream import TokenStream

ROW_BYTES: Final = 120
_ROW = struct.Struct("<16sqqqqiHHIhHqqqHHxxxxqqii")
_ROWS_PER_BATCH = 4096
MISSING = -(1 << 62)
"""Stands for null in a row; no time, status or size takes this value."""
_MISSING_COUNT = -1
"""As above, of a status or a number of tokens."""
_NO_TOKENS = (MISSING, MISSING, _MISSING_COUNT, _MISSING_COUNT)
_MOST_TOKENS = 0x7FFFFFFF
_MOST_BYTES = 0xFFFFFFFF
"""Sizes of responses are kept up to this."""
_MOST_TEXTS = 10_000
"""Different names or errors kept apart in one stream; a service that puts a number into each error
text must not eat the memory."""
_MANY = "(other)"

_END = pa.py_buffer(b"\xff\xff\xff\xff\0\0\0\0")
"""What ends an Arrow IPC stream: a message of length 0 (Arrow Columnar Format, IPC Streaming)."""

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
            "wire",
            "connect",
            "first",
            "method",
            "kind",
            "first_token",
            "last_token",
            "tokens",
            "pieces",
        ],
        "formats": [
            *("<i8", "<i8", "<i8", "<i8", "<i4", "<u2", "<u2", "<u4", "<i2", "<u2"),
            *("<i8", "<i8", "<i8", "<u2", "<u2", "<i8", "<i8", "<i4", "<i4"),
        ],
        "offsets": [
            *(16, 24, 32, 40, 48, 52, 54, 56, 60, 62),
            *(64, 72, 80, 88, 90, 96, 104, 112, 116),
        ],
        "itemsize": ROW_BYTES,
    }
)


RowArray = NDArray[np.void]
"""Packed rows, as numpy sees them."""


class _Texts:
    """Numbers for texts, in order of appearance; number 0 is null."""

    def __init__(self) -> None:
        self.numbers: dict[str | None, int] = {None: 0}
        self._texts: list[str | None] = [None]

    def number(self, text: str | None) -> int:
        found = self.numbers.get(text)
        if found is None:
            if len(self._texts) > _MOST_TEXTS:
                text = _MANY
                if text in self.numbers:
                    return self.numbers[text]
            found = self.numbers[text] = len(self._texts)
            self._texts.append(text)
        return found

    def column(self, numbers: NDArray[np.uint16]) -> pa.Array:
        return _text_column(self._texts, numbers)


class Rows:
    """The rows since the last batch."""

    def __init__(self, *, rows: int = _ROWS_PER_BATCH) -> None:
        self._buffer = bytearray(rows * ROW_BYTES)
        self._capacity = rows
        self._names = _Texts()
        self._errors = _Texts()
        self._scenarios = _Texts()
        self._methods = _Texts()
        self._kinds = _Texts()
        self._blocks: list[Block | None] = [None]
        self._block_numbers: dict[int, int] = {}
        self.count = 0

    @property
    def full(self) -> bool:
        """Whether the next row would not fit."""
        return self.count == self._capacity

    def add(  # noqa: PLR0917 - called for every request, where naming arguments is felt
        self,
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
        method: str | None = None,
        kind: str = "http",
        wire_ns: int | None = None,
        connect_ns: int = 0,
        first_byte_ns: int | None = None,
        tokens: TokenStream | None = None,
    ) -> None:
        """Add one row; the caller takes the batch away when ``full``.

        ``trace_id`` is the first 16 bytes; more are left out. All zero is null.
        """
        numbers = self._names.numbers
        _ROW.pack_into(
            self._buffer,
            self.count * ROW_BYTES,
            trace_id,
            intended_ns,
            sent_ns,
            MISSING if end_ns is None else end_ns,
            draw,
            0 if block is None else self._block_numbers.get(id(block)) or self._number(block),
            numbers[name] if name in numbers else self._names.number(name),
            0 if error is None else self._errors.number(error),
            min(max(response_bytes, 0), _MOST_BYTES),
            status_code or _MISSING_COUNT,
            self._scenarios.number(scenario),
            MISSING if wire_ns is None else wire_ns,
            connect_ns,
            MISSING if first_byte_ns is None else first_byte_ns,
            0 if method is None else self._methods.number(method),
            self._kinds.number(kind),
            *(_NO_TOKENS if tokens is None else _packed(tokens)),
        )
        self.count += 1

    def _number(self, block: Block) -> int:
        found = self._block_numbers[id(block)] = len(self._blocks)
        self._blocks.append(block)
        return found

    def take(self) -> tuple[pa.RecordBatch, RowArray]:
        """Return the rows as a record batch and as a structured array, and start anew."""
        raw = bytes(self._buffer[: self.count * ROW_BYTES])
        rows = np.frombuffer(raw, dtype=_VIEW)
        self.count = 0
        return self._batch(raw, rows), rows

    def blocks_of(self, rows: RowArray) -> list[tuple[Block, NDArray[np.bool_]]]:
        """Return the blocks that occur in the rows, each with the mask of its rows."""
        found = []
        for number in np.unique(rows["tags"]):
            block = self._blocks[int(number)]
            if block is not None:
                found.append((block, rows["tags"] == number))
        return found

    def _batch(self, raw: bytes, rows: RowArray) -> pa.RecordBatch:
        blocks = self._blocks
        tags = rows["tags"]
        steps = np.array([0 if block is None else block.step for block in blocks], dtype=np.int32)
        numbers = np.array(
            [0 if block is None else block.block for block in blocks], dtype=np.int32
        )
        arms = [None if block is None else block.arm for block in blocks]
        none = tags == 0
        status = rows["status"].astype(np.int32)
        columns = [
            _hex_column(raw, len(rows)),
            self._scenarios.column(rows["scenario"]),
            self._names.column(rows["name"]),
            _text_column(arms, tags),
            _number_column(pa.int32(), steps[tags], missing=none),
            _number_column(pa.int32(), numbers[tags], missing=none),
            _number_column(pa.int64(), rows["draw"]),
            _number_column(pa.int64(), rows["intended"]),
            _number_column(pa.int64(), rows["sent"]),
            _number_column(pa.int64(), rows["end"], missing=rows["end"] == MISSING),
            _number_column(pa.int32(), status, missing=status == _MISSING_COUNT),
            self._errors.column(rows["error"]),
            _number_column(pa.int64(), rows["bytes"].astype(np.int64)),
            self._methods.column(rows["method"]),
            self._kinds.column(rows["kind"]),
            _number_column(pa.int64(), rows["wire"], missing=rows["wire"] == MISSING),
            _number_column(pa.int64(), rows["connect"], missing=rows["wire"] == MISSING),
            _number_column(pa.int64(), rows["first"], missing=rows["first"] == MISSING),
            _number_column(
                pa.int64(), rows["first_token"], missing=rows["first_token"] == MISSING
            ),
            _number_column(pa.int64(), rows["last_token"], missing=rows["last_token"] == MISSING),
            _number_column(pa.int32(), rows["tokens"], missing=rows["tokens"] == _MISSING_COUNT),
            _number_column(pa.int32(), rows["pieces"], missing=rows["pieces"] == _MISSING_COUNT),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=REQUESTS)


def _packed(tokens: TokenStream) -> tuple[int, int, int, int]:
    """Return what a row keeps of a streamed reply; of one without a token nothing."""
    if tokens.first_ns is None or tokens.last_ns is None:
        return _NO_TOKENS
    count = _MISSING_COUNT if tokens.tokens is None else min(tokens.tokens, _MOST_TOKENS)
    return (tokens.first_ns, tokens.last_ns, count, tokens.pieces)


# The columns are built from buffers: pa.array() would import pandas into every load generator,
# which takes a quarter of a second in the middle of the schedule, and 60 MB.


def _validity(missing: NDArray[np.bool_] | None) -> pa.Buffer | None:
    return None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little"))


def _number_column(
    kind: pa.DataType, values: NDArray[Any], *, missing: NDArray[np.bool_] | None = None
) -> pa.Array:
    buffers = [_validity(missing), pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _text_column(texts: Sequence[str | None], picks: NDArray[Any]) -> pa.Array:
    """Return the text of each pick."""
    encoded = [b"" if text is None else text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    missing = np.array([text is None for text in texts])
    dictionary = pa.StringArray.from_buffers(
        len(texts), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)), _validity(missing)
    )
    indices = _number_column(pa.int32(), picks.astype(np.int32))
    return pa.DictionaryArray.from_arrays(indices, dictionary).dictionary_decode()


def _hex_column(raw: bytes, count: int) -> pa.Array:
    """Return the trace ids as lower-case hex without a Python loop over rows."""
    ids = np.frombuffer(raw, dtype=np.uint8).reshape(count, ROW_BYTES)[:, :16]
    text = ids.tobytes().hex().encode("ascii")
    offsets = np.arange(0, 32 * count + 1, 32, dtype=np.int32)
    missing = np.asarray(~ids.any(axis=1))
    return pa.StringArray.from_buffers(
        count, pa.py_buffer(offsets), pa.py_buffer(text), _validity(missing)
    )


class StreamFile:
    """An Arrow IPC stream on disk; each batch is handed to the operating system as a whole.

    What a full disk does not take is cut off again, so that what follows, once there is room,
    stands behind whole batches and can be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: io.FileIO | None = None
        self._whole_bytes = 0
        with contextlib.suppress(OSError):  # tried again by the first batch, which tells
            self._begin()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch: a killed worker loses only what is in memory. Raises OSError."""
        self._append(self._begin(), batch.serialize())

    def close(self) -> None:
        """End the stream; one without its end is read all the same."""
        with contextlib.suppress(OSError):
            self._append(self._begin(), _END)
        if self._file is not None:
            self._file.close()

    def _begin(self) -> io.FileIO:
        if self._file is None:
            self._file = io.FileIO(self._path, "wb")
        if not self._whole_bytes:
            self._append(self._file, REQUESTS.serialize())
        return self._file

    def _append(self, file: io.FileIO, data: pa.Buffer) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(self._whole_bytes)
                file.seek(self._whole_bytes)
            raise
        self._whole_bytes += len(memoryview(data))
