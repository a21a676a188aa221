"""Writes Parquet files of 12-span chat traces, any number of them, in chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

SPANS_PER_TRACE = 12
NAMES = (
    "POST /chat", "personality.lookup", "GET", "SELECT personalities", "preferences.load",
    "SELECT preferences", "memory.retrieve", "embeddings sim-embed", "SELECT memories",
    "emotion.detect", "chat sim-chat", "conversation.append",
)  # fmt: skip
PARENTS = (-1, 0, 1, 1, 0, 4, 0, 6, 6, 0, 0, 0)
"""Place of each span's parent in its trace."""
BEGINS_MS = (0, 1, 2, 4, 12, 13, 30, 31, 60, 31, 330, 2900)
TAKES_MS = (3000, 10, 1, 7, 15, 8, 280, 25, 200, 250, 2500, 90)
_KINDS = ("SERVER", "INTERNAL", "CLIENT")
_KIND = (0, 1, 2, 2, 1, 2, 1, 2, 2, 1, 2, 1)
_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)
BLOCKS = 12
START_NS = 1_795_442_400_000_000_000
CHUNK = 1_200_000


def write(path: Path, spans: int, *, seed: int = 1) -> int:
    """Write about so many spans, whole traces in order of start; give how many they are."""
    rng = np.random.default_rng(seed)
    traces = spans // SPANS_PER_TRACE
    writer = None
    for begin in range(0, traces, CHUNK // SPANS_PER_TRACE):
        count = min(CHUNK // SPANS_PER_TRACE, traces - begin)
        table = _chunk(rng, begin, count, traces)
        if writer is None:
            writer = pq.ParquetWriter(
                path, table.schema, compression="zstd",
                use_dictionary=[name for name in table.column_names if name != "span_id"],
            )  # fmt: skip
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return traces * SPANS_PER_TRACE


def write_by_pandas(path: Path, spans: int) -> int:
    """Write as ``write``, by pandas: columns of Python's texts, in the order of spans' ends."""
    count = write(path, spans)
    table = pd.read_parquet(path)
    ends = (table["start_ns"] + table["duration_ns"]).to_numpy()
    table = table.iloc[np.argsort(ends, kind="stable")].reset_index(drop=True)
    texts = table.select_dtypes("str").columns
    table.astype(dict.fromkeys(texts, object)).to_parquet(path)
    return count


def _chunk(rng: np.random.Generator, begin: int, traces: int, of: int) -> pa.Table:
    n = traces * SPANS_PER_TRACE
    place = np.tile(np.arange(SPANS_PER_TRACE), traces)
    span_bytes = rng.integers(0, 256, (n, 8), np.uint8)
    above = np.array(PARENTS)[place]
    row = np.arange(n) - place + np.maximum(above, 0)
    stretch = np.repeat(rng.lognormal(0, 0.2, traces), SPANS_PER_TRACE)
    arrival = np.repeat(np.arange(begin, begin + traces), SPANS_PER_TRACE) * 10_000_000
    start = START_NS + arrival + (np.array(BEGINS_MS)[place] * 1e6 * stretch).astype(np.int64)
    block = np.repeat(np.arange(begin, begin + traces) * BLOCKS // max(of, 1), SPANS_PER_TRACE)
    return pa.table(
        {
            "trace_id": _hex(np.repeat(rng.integers(0, 256, (traces, 16), np.uint8), 12, axis=0)),
            "span_id": _hex(span_bytes),
            "parent_span_id": _hex(span_bytes[row], missing=above < 0),
            "service": _words(("chat",), np.zeros(n, np.int64)),
            "name": _words(NAMES, place),
            "kind": _words(_KINDS, np.array(_KIND)[place]),
            "start_ns": start,
            "duration_ns": (np.array(TAKES_MS)[place] * 1e6 * stretch).astype(np.int64),
            "status": _words(("UNSET",), np.zeros(n, np.int64)),
            "arm": _words(("off", "on"), block % 2),
            "step": pa.array(np.zeros(n, np.int32)),
            "block": pa.array(block.astype(np.int32)),
        }
    )


def _hex(ids: NDArray[np.uint8], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """Give rows of bytes as a column of lower-case hex."""
    text = _HEX[ids].tobytes()
    width = ids.shape[1] * 2
    offsets = np.arange(len(ids) + 1, dtype=np.int64) * width
    valid = None
    if missing is not None:
        valid = pa.py_buffer(np.packbits(~missing, bitorder="little").tobytes())
    return pa.LargeStringArray.from_buffers(
        len(ids), pa.py_buffer(offsets), pa.py_buffer(text), null_bitmap=valid
    )


def _words(words: tuple[str, ...], codes: NDArray[np.int64]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(codes.astype(np.int32), list(words)).cast(
        pa.large_string()
    )
