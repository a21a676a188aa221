"""Which rows belong to one trace, and which row is whose parent.

Ids of any form turned into integers, exactly.

Ids are read where they lie, in Arrow's buffers; no Python string is made. Two ids are equal when
their bytes are: the 64-bit hash only says where to look.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from analysis.kernels import hashing


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """A column of ids as bytes: row i is ``data[offsets[i]:offsets[i + 1]]``.

    ``hashes`` is 0 where the id is missing.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    missing: NDArray[np.bool_]
    hashes: NDArray[np.uint64]


def ids(column: pd.Series[str]) -> Ids:
    """Read the bytes of a column of ids; a missing or empty id counts as missing."""
    array = pa.array(column, type=pa.large_string(), from_pandas=True)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    _, offset_buffer, data_buffer = array.buffers()
    if offset_buffer is None or len(array) == 0:
        offsets = np.zeros(len(array) + 1, np.int64)
    else:
        offsets = np.frombuffer(offset_buffer, np.int64)[
            array.offset : array.offset + len(array) + 1
        ]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer else np.zeros(0, np.uint8)
    missing = array.is_null().to_numpy(zero_copy_only=False)
    return Ids(
        data=data, offsets=offsets, missing=missing, hashes=hashing.hashes(data, offsets, missing)
    )


def trace_codes(column: pd.Series[str]) -> tuple[NDArray[np.int32], int]:
    """Number the traces in order of first appearance: one code a row, and how many there are."""
    found = ids(column)
    codes, count = hashing.numbered(found.data, found.offsets, found.hashes)
    return codes, count
