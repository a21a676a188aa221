"""What does one attribute say, on every span at once? Reads a key out of the JSON text column.

The text is searched, not parsed: ten million spans are looked through in seconds. That is exact
for the keys asked for here, whose values are numbers or plain words without quotes in them.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.kernels.reading import texts as texts_kernel


def numbers_of(spans: pd.DataFrame, key: str) -> pd.Series:
    """The number under ``key`` on every span; from its own column where the table has one."""
    return spans[key] if key in spans.columns else numbers(spans["attributes"], key)


def words_of(spans: pd.DataFrame, key: str) -> pd.Series:
    """The text under ``key`` on every span; from its own column where the table has one."""
    return spans[key] if key in spans.columns else words(spans["attributes"], key)


def numbers(attributes: pd.Series, key: str) -> pd.Series:
    """The number under ``key`` (also when written as a string), NaN where there is none."""
    found = numbers_in(_texts(attributes), key).to_numpy(zero_copy_only=False)
    return pd.Series(found, index=attributes.index, name=key, dtype="float64")


def words(attributes: pd.Series, key: str) -> pd.Series:
    """The text under ``key``, missing where there is none."""
    found = words_in(_texts(attributes), key).to_pandas()
    return pd.Series(found.to_numpy(), index=attributes.index, name=key, dtype="str")


def numbers_in(texts: pa.Array, key: str, *, unreadable: float = math.nan) -> pa.Array:
    """As ``numbers``, from Arrow texts to Arrow doubles.

    ``unreadable`` stands where the key is mentioned and no number is found.
    """
    filled = np.full(len(texts), np.nan)
    state = texts_kernel.plain_numbers(
        *_bytes(texts), np.frombuffer(key.encode(), np.uint8), filled
    )
    doubtful = np.flatnonzero(state == texts_kernel.DOUBTFUL)
    if doubtful.size:
        value = r'"?(?P<value>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"?'
        rows, found = _extract(texts.take(pa.array(doubtful)), key, value)
        read = _doubles(found)
        filled[doubtful[rows]] = np.where(np.isnan(read), unreadable, read)
    return pa.array(filled, from_pandas=True)


def _bytes(texts: pa.Array) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Arrow's bytes of texts and where each begins in them; a missing text has none."""
    filled = pc.fill_null(texts, "") if texts.null_count else texts
    _, offsets, data = filled.buffers()
    if offsets is None or data is None or not len(filled):
        return np.zeros(0, np.uint8), np.zeros(len(filled) + 1, np.int64)
    wide = pa.types.is_large_string(filled.type)
    places = np.frombuffer(offsets, np.int64 if wide else np.int32)
    kept = slice(filled.offset, filled.offset + len(filled) + 1)
    return np.frombuffer(data, np.uint8), places[kept]


def words_in(texts: pa.Array, key: str) -> pa.Array:
    """As ``words``, from Arrow texts to Arrow texts."""
    rows, found = _extract(texts, key, r'"(?P<value>[^"\\]*)"')
    places = np.full(len(texts), -1, np.int64)
    places[rows] = np.arange(rows.size)
    return found.take(pa.array(places, mask=places < 0))


def _doubles(found: pa.Array) -> NDArray[np.float64]:
    """Texts of numbers as doubles, NaN for none; what is out of range as pandas has it."""
    try:
        return np.asarray(pc.cast(found, pa.float64()).to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        return np.asarray(pd.to_numeric(found.to_pandas()), dtype=np.float64)


def mentions(texts: pa.Array, key: str) -> pa.Array:
    """Whether each text holds ``key`` at all; false where there is no text."""
    return pc.fill_null(pc.match_substring(texts, key), fill_value=False)


def _texts(attributes: pd.Series) -> pa.Array:
    texts = pa.array(attributes, from_pandas=True)
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    return texts.cast(pa.large_string())


def _extract(texts: pa.Array, key: str, value: str) -> tuple[NDArray[np.int64], pa.Array]:
    """Rows that mention the key, and what stands under it: a plain search before a pattern."""
    rows = np.flatnonzero(mentions(texts, key).to_numpy(zero_copy_only=False))
    pattern = rf'"{re.escape(key)}"\s*:\s*{value}'
    matches = pc.extract_regex(texts.take(pa.array(rows)), pattern)
    return rows, pc.struct_field(matches, "value")
