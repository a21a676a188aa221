"""Which differently spelt ids are one? Tools cut ids short, and write them in several ways.

Zipkin and Jaeger strip leading zeros; B3 headers and older libraries carry 64 of the 128 bits of a
trace id, the low half; others write upper case, ``0x`` or dashes as in a UUID. All of these are
brought to lower-case hex of full length, where that is certain: a short trace id becomes a long
one only where exactly one long id of these traces ends with it. What is no hex is left alone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from analysis.kernels import hashing

_LONG, _SHORT = 32, 16
"""Hex digits of a trace id, and of a span id or half a trace id."""
_HEX = f"^[0-9a-f]{{1,{_LONG}}}$"
_PREFIX_OR_UUID = (
    "^0x([0-9a-f]{1,32})$",
    "^([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})$",
)
ATTRIBUTE = "repaired_ids"
"""In a spans table's ``attrs``: the rows that were repaired, the traces, the earliest example."""


def repaired(spans: pd.DataFrame) -> pd.DataFrame:
    """Give the spans with one spelling an id; the very table where there is nothing to repair.

    ``attrs[ATTRIBUTE]`` then says what was repaired: spans, traces, start_ns, example.
    """
    needed = [
        name
        for name, digits in (
            ("trace_id", (_LONG, _SHORT)), ("span_id", (_SHORT,)), ("parent_span_id", (_SHORT,))
        )
        if name in spans.columns and not _is_regular(spans[name], *digits)
    ]  # fmt: skip
    if not needed:
        return spans
    changed = {name: _whole(spans[name]) for name in needed}
    mended = {name: _plain(column) for name, column in changed.items()}
    if "trace_id" in mended:
        mended["trace_id"] = _joined(_filled(mended["trace_id"], (_SHORT, _LONG)))
    both = [name for name in ("span_id", "parent_span_id") if name in spans.columns]
    if set(both) & set(needed):
        columns = {name: mended.get(name, _whole(spans[name])) for name in both}
        whole = _filled(pa.chunked_array(list(columns.values())), (_SHORT,))
        begin = 0
        for name in both:
            mended[name] = whole.slice(begin, len(spans))
            changed.setdefault(name, _whole(spans[name]))
            begin += len(spans)
    moved = np.zeros(len(spans), np.bool_)
    found = spans
    for name, column in mended.items():
        differs = pc.fill_null(pc.not_equal(column, changed[name]), False)  # noqa: FBT003 - pyarrow's own
        rows = differs.to_numpy(zero_copy_only=False)
        if rows.any():
            moved |= rows
            values = pd.Series(
                column.to_pandas().array, index=spans.index, dtype=spans[name].dtype
            )
            found = found.assign(**{name: values})
    if found is spans:
        return spans
    found.attrs[ATTRIBUTE] = _said(found, moved)
    return found


def _said(spans: pd.DataFrame, moved: np.ndarray) -> dict[str, int | str]:
    rows = spans.loc[moved, ["trace_id", "start_ns"]]
    earliest = rows.sort_values(["start_ns", "trace_id"]).iloc[0]
    return {
        "spans": len(rows),
        "traces": int(rows["trace_id"].nunique()),
        "start_ns": int(earliest["start_ns"]) if pd.notna(earliest["start_ns"]) else 0,
        "example": str(earliest["trace_id"]),
    }


def low_halves(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give what all spellings of one trace id have in common: the last 16 digits of hex ids.

    Traces are dealt out by it, so that all spellings come to the same part.
    """
    texts = column.cast(pa.large_string())
    if _all_regular(texts, _LONG):
        return pc.utf8_slice_codeunits(texts, _SHORT, _LONG)
    plain = _plain(texts)
    is_hex = pc.fill_null(pc.match_substring_regex(plain, _HEX), False)  # noqa: FBT003 - as above
    low = pc.utf8_slice_codeunits(pc.utf8_lpad(plain, _SHORT, "0"), -_SHORT, None)
    return pc.if_else(is_hex, low, plain)


def _arrow(column: pd.Series) -> pa.ChunkedArray:
    array = pa.array(column, from_pandas=True)
    array = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    return array if array.type == pa.large_string() else array.cast(pa.large_string())


def _whole(column: pd.Series) -> pa.ChunkedArray:
    """Give a column in one piece: it may lie in a piece a row."""
    return pa.chunked_array([_arrow(column).combine_chunks()])


def _is_regular(column: pd.Series, *digits: int) -> bool:
    texts = _arrow(column)
    return any(_all_regular(texts, size) for size in digits)


def _all_regular(texts: pa.ChunkedArray, digits: int) -> bool:
    """Whether every id that is given has so many characters, all of them lower case."""
    for chunk in texts.chunks:
        offsets, data = chunk.buffers()[1:]
        if data is None or len(chunk) == 0:
            continue
        places = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
        if not hashing.is_lower_case(np.frombuffer(data, np.uint8), places, digits):
            return False
    return True


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Lower case, without 0x and the dashes of a UUID, where hex is what is left."""
    lower = pc.ascii_lower(column)
    plain = pc.replace_substring_regex(lower, _PREFIX_OR_UUID[0], r"\1")
    plain = pc.replace_substring_regex(plain, _PREFIX_OR_UUID[1], r"\1\2\3\4\5")
    is_hex = pc.fill_null(pc.match_substring_regex(plain, _HEX), False)  # noqa: FBT003 - as above
    return pc.if_else(is_hex, plain, column)


def _filled(column: pa.ChunkedArray, sizes: tuple[int, ...]) -> pa.ChunkedArray:
    """Give hex ids their leading zeros again, where some id of the column has its full length.

    Sixteen digits are full length for what may be the low half of a longer id.
    """
    is_hex = pc.fill_null(pc.match_substring_regex(column, _HEX), False)  # noqa: FBT003 - as above
    length = pc.fill_null(pc.binary_length(column), 0)
    least = 0
    length = length.cast(pa.int64())
    for place, size in enumerate(sizes):
        full = pc.and_(is_hex, pc.is_in(length, value_set=pa.array(sizes[place:], pa.int64())))
        short = pc.and_(is_hex, pc.and_(pc.greater(length, least), pc.less(length, size)))
        if pc.any(full).as_py() and pc.any(short).as_py():
            column = pc.if_else(short, pc.utf8_lpad(column, size, "0"), column)
        least = size
    return column


def _joined(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give short trace ids their high half, where exactly one long id ends with them."""
    known = pc.unique(column).drop_null()
    known = known.filter(pc.match_substring_regex(known, _HEX))
    length = pc.binary_length(known)
    long, short = (known.filter(pc.equal(length, size)) for size in (_LONG, _SHORT))
    if len(long) == 0 or len(short) == 0:
        return column
    ends = pd.Series(pc.utf8_slice_codeunits(long, _SHORT, _LONG).to_pandas())
    whole = pd.Series(long.to_pandas().array, index=ends)
    whole = whole[~whole.index.duplicated(keep=False)]
    pairs = whole.reindex(short.to_pandas()).dropna()
    if pairs.empty:
        return column
    place = pc.index_in(column, value_set=pa.array(pairs.index, pa.large_string()))
    values = pa.array(pairs, pa.large_string()).take(place.combine_chunks())
    return pc.coalesce(pa.chunked_array([values]), column)
