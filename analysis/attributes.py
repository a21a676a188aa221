"""What does one attribute say, on every span at once? Reads a key out of the JSON text column.

The text is searched, not parsed: ten million spans are looked through in seconds. That is exact
for the keys asked for here, whose values are numbers or plain words without quotes in them.
"""

from __future__ import annotations

import re

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


def numbers(attributes: pd.Series, key: str) -> pd.Series:
    """The number under ``key`` (also when written as a string), NaN where there is none."""
    found = _extract(attributes, key, r'"?(?P<value>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"?')
    return pd.to_numeric(found).astype("float64")


def words(attributes: pd.Series, key: str) -> pd.Series:
    """The text under ``key``, missing where there is none."""
    return _extract(attributes, key, r'"(?P<value>[^"\\]*)"')


def _extract(attributes: pd.Series, key: str, value: str) -> pd.Series:
    texts = pa.array(attributes, from_pandas=True)
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    texts = texts.cast(pa.large_string())
    pattern = rf'"{re.escape(key)}"\s*:\s*{value}'
    matches = pc.extract_regex(texts, pattern)
    values = pc.struct_field(matches, "value").to_pandas()
    return pd.Series(values.to_numpy(), index=attributes.index, name=key, dtype="str")
