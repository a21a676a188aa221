"""What do the spans of calls say? Their statement, instrumentation and mark, as Arrow texts.

Read out of the JSON of ``attributes``, or from a column of the attribute's name where a lean
table has one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.calls import instrumentations as known
from worthit.contract.names import ORM_CACHED, SCOPE_NAME, STATEMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Of each of some spans."""

    statement: pa.Array
    scope: pa.Array
    """The instrumentation's name, as OpenTelemetry's scope."""
    orm_cached: NDArray[np.bool_]
    """An ORM answered from its own cache."""
    summary: pa.Array


def read_texts(spans: pd.DataFrame) -> Texts:
    """Read what is said of these spans."""
    attributes = written(spans, "attributes")
    has = spans.columns
    cached = spans[ORM_CACHED] == 1.0 if ORM_CACHED in has else orm_cached_in(attributes)
    return Texts(
        statement=written(spans, STATEMENT) if STATEMENT in has else statements_in(attributes),
        scope=written(spans, SCOPE_NAME) if SCOPE_NAME in has else scopes_in(attributes),
        orm_cached=np.asarray(cached, np.bool_),
        summary=text_in(attributes, known.SUMMARY),
    )


def written(spans: pd.DataFrame, name: str) -> pa.Array:
    """Give a column of texts, whatever pandas keeps it as; missing where there is none."""
    if name not in spans.columns:
        return pa.nulls(len(spans), pa.large_string())
    array = one_array(spans[name])
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.large_string())


def one_array(column: pd.Series) -> pa.Array:
    """Give a column as Arrow has it, in one piece."""
    array = pa.array(column, from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def numbered(texts: pa.Array) -> tuple[NDArray[np.int64], list[str]]:
    """Number different texts; -1 for a missing one."""
    encoded = texts if pa.types.is_dictionary(texts.type) else texts.dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return codes.astype(np.int64), encoded.dictionary.to_pylist()


def numbered_column(spans: pd.DataFrame, name: str) -> tuple[NDArray[np.int64], list[str]]:
    """Number the texts of a column; -1 for a missing one, everywhere where there is none."""
    if name in spans.columns and isinstance(spans[name].dtype, pd.CategoricalDtype):
        return numbered(one_array(spans[name]))
    return numbered(written(spans, name))


def statements_in(attributes: pa.Array) -> pa.Array:
    """Give the statement of each span, from the newest attribute that holds one.

    Empty where the span says that its statement is empty; missing where it says nothing.
    """
    found = pa.nulls(len(attributes), pa.large_string())
    rest = pc.is_valid(attributes)
    for key in known.STATEMENTS:
        if not pc.any(rest).as_py():
            break
        found = pc.replace_with_mask(found, rest, text_in(attributes.filter(rest), key))
        rest = pc.and_(rest, pc.is_null(found))
    empty = pc.match_substring_regex(attributes, known.EMPTY_STATEMENT)
    asks_nothing = pc.and_(pc.is_null(found), pc.fill_null(empty, fill_value=False))
    return pc.if_else(asks_nothing, pa.scalar("", pa.large_string()), found)


def scopes_in(attributes: pa.Array) -> pa.Array:
    """Give the instrumentation's name, also under the one that exporters wrote before 1.20."""
    found = text_in(attributes, SCOPE_NAME)
    return pc.coalesce(found, text_in(attributes, known.OLDER_SCOPE_NAME))


def text_in(attributes: pa.Array, key: str) -> pa.Array:
    """Give the text under a key, escapes resolved; missing where there is none or it is empty."""
    mark = f'"{key}":'
    rows = np.flatnonzero(
        np.asarray(pc.fill_null(pc.match_substring(attributes, mark), fill_value=False))
    )
    if not rows.size:
        return pa.nulls(len(attributes), pa.large_string())
    escaped = "".join(f"\\{letter}" if letter in ".[]" else letter for letter in key)
    pattern = rf'"{escaped}":\s*"(?P<value>(?:[^"\\]|\\.)+)"'
    taken = pc.struct_field(pc.extract_regex(attributes.take(pa.array(rows)), pattern), "value")
    plain = _unescaped(taken)
    places = np.full(len(attributes), -1, np.int64)
    places[rows] = np.arange(rows.size)
    return plain.take(pa.array(places, mask=places < 0))


def _unescaped(texts: pa.Array) -> pa.Array:
    """Resolve JSON's escapes; each different text once."""
    escaped = pc.fill_null(pc.match_substring(texts, "\\"), fill_value=False)
    if not pc.any(escaped).as_py():
        return texts.cast(pa.large_string())
    encoded = texts.filter(escaped).dictionary_encode()
    resolved = [_resolved(text) for text in encoded.dictionary.to_pylist()]
    plain = pa.array(resolved, pa.large_string()).take(encoded.indices)
    return pc.replace_with_mask(texts.cast(pa.large_string()), escaped, plain)


def _resolved(text: str) -> str:
    try:
        return str(orjson.loads(f'"{text}"'))
    except orjson.JSONDecodeError:
        return text


def orm_cached_in(attributes: pa.Array) -> pa.Array:
    """Tell which spans are marked as answered from an ORM's own cache."""
    rows = np.flatnonzero(
        np.asarray(pc.fill_null(pc.match_substring(attributes, "cache"), fill_value=False))
    )
    found = np.zeros(len(attributes), np.bool_)
    found[rows] = pc.match_substring_regex(attributes.take(pa.array(rows)), known.ORM_CACHED)
    return pa.array(found)


def marked(attributes: pa.Array) -> NDArray[np.bool_]:
    """Tell which spans have attributes that only a database call has."""
    found = np.zeros(len(attributes), np.bool_)
    rows = np.arange(len(attributes))
    some = np.zeros(rows.size, np.bool_)
    for mark in known.MARKS:
        some |= np.asarray(pc.fill_null(pc.match_substring(attributes, mark), fill_value=False))
    rows = np.flatnonzero(some)
    taken = attributes.take(pa.array(rows))
    for key in known.PLAIN_MARKS:
        found[rows] |= np.asarray(pc.match_substring(taken, f'"{key}":'))
    return found
