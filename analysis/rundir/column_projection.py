"""Which part of the spans do the answers need, and how is it read without the rest?

Of a run of ten million spans the attributes are most of the bytes, and four of them are asked
for. They become columns while one row group is in memory; the rest of its attributes is dropped.
Columns of few words (service, name, arm, ...) are kept as numbers of a sorted list of words.

Answer: the columns of spans.parquet without ``attributes``, those of ``analysis.calls.lean``, and
one column for each of ``ATTRIBUTES``, read through
``analysis.formats.attributes.numbers_of`` and ``words_of``, and ``sampling.PROBABILITY``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from analysis.calls.lean import LEAN_TEXTS, lean_texts
from analysis.calls.texts import written
from analysis.calltree import sampling
from analysis.checks.counts.cross_checks import SERVED_KINDS
from analysis.formats.attributes import numbers_in, words_in
from worthit.contract.names import (
    CACHE_KEY,
    CACHE_SOURCE,
    EMULATED_NS,
    ORM_CACHED,
    POOL_WAIT_NS,
    SCOPE_NAME,
    STATEMENT,
)
from worthit.contract.routes import folded
from worthit.contract.tables import SPANS

WORDS = (
    "service", "name", "kind", "status", "arm", "db_system", "db_operation", "db_collection",
)  # fmt: skip
"""Columns of few different texts."""

IDS = ("trace_id", "span_id", "parent_span_id")

NUMBERS: Mapping[str, pa.DataType] = {
    name: SPANS.field(name).type
    for name in ("start_ns", "duration_ns", "step", "block", "cache_hit")
}
"""The other columns, of the types that the format gives them."""

COLUMNS = (*IDS, *WORDS, *NUMBERS)

_TEXTS = (CACHE_KEY, CACHE_SOURCE)
"""The attributes that are words; the others are numbers."""

_READERS = 2
"""Row groups read at once: reading and searching leave Python to others."""

_MANY_PIECES = 4096
"""Up to here the rows that count are taken as pieces of the table, beyond it row by row."""


def marked(texts: pa.Array) -> pa.Array:
    """The emulated ns of each span that carries the mark, 0 where it cannot be read."""
    return numbers_in(texts, EMULATED_NS, unreadable=0.0)


ATTRIBUTES: Mapping[str, Callable[[pa.Array], pa.Array]] = {
    EMULATED_NS: marked,
    POOL_WAIT_NS: lambda texts: numbers_in(texts, POOL_WAIT_NS),
    CACHE_KEY: lambda texts: words_in(texts, CACHE_KEY).cast(pa.large_string()),
    CACHE_SOURCE: lambda texts: words_in(texts, CACHE_SOURCE).cast(pa.large_string()),
}
"""What is read out of the attributes, and how."""


def is_regular(file: Path) -> bool:
    """Whether the columns have the very types of the format: others are read with care."""
    schema = pq.read_schema(file)
    texts = (pa.string(), pa.large_string())
    regular = all(schema.field(name).type in texts for name in (*IDS, *WORDS, "attributes"))
    return regular and all(schema.field(name).type == NUMBERS[name] for name in NUMBERS)


def read(file: Path) -> pa.Table:
    """All spans of a Parquet file, lean. Raises what pyarrow does where the file is damaged."""
    groups = pq.ParquetFile(file).metadata.num_row_groups
    with ThreadPoolExecutor(_READERS) as readers:
        parts = list(readers.map(lambda group: _group(file, group), range(groups)))
    if not parts:
        parts = [_with_attributes(pq.read_table(file, columns=[*COLUMNS, "attributes"]))]
    return _sorted_words(pa.concat_tables(parts))


def _group(file: Path, group: int) -> pa.Table:
    """One row group, its attributes read out."""
    opened = pq.ParquetFile(file, read_dictionary=list(WORDS), memory_map=True)
    return _with_attributes(opened.read_row_group(group, columns=[*COLUMNS, "attributes"]))


def _with_attributes(table: pa.Table) -> pa.Table:
    """Columns for the attributes that are asked for, in the place of all."""
    texts = table.column("attributes")
    found = table.select(list(COLUMNS))
    system = table.column("db_system")
    said = [
        lean_texts(chunk, part)
        for chunk, part in zip(texts.chunks, _like(system, texts), strict=True)
    ]
    for name, kind in LEAN_TEXTS.items():
        found = found.append_column(name, pa.chunked_array([part[name] for part in said], kind))
    for name, read_out in ATTRIBUTES.items():
        chunks = [read_out(chunk) for chunk in texts.chunks]
        kind = pa.large_string() if name in _TEXTS else pa.float64()
        found = found.append_column(name, pa.chunked_array(chunks, kind))
    parents, kinds = (_like(table.column(name), texts) for name in ("parent_span_id", "kind"))
    chances = [
        sampling.probabilities(chunk, _may_begin(above, kind))
        for chunk, above, kind in zip(texts.chunks, parents, kinds, strict=True)
    ]
    return found.append_column(sampling.PROBABILITY, pa.chunked_array(chances, pa.float64()))


def _may_begin(parents: pa.Array, kinds: pa.Array) -> NDArray[np.bool_]:
    """Which spans may be the first of their request."""
    serves = pc.is_in(kinds.cast(pa.string()), pa.array(SERVED_KINDS))
    return np.asarray(pc.or_(pc.is_null(parents), serves))


def _like(column: pa.ChunkedArray, other: pa.ChunkedArray) -> list[pa.Array]:
    """Cut a column into the other's chunks."""
    whole = column.combine_chunks()
    ends = np.cumsum([0, *(len(chunk) for chunk in other.chunks)]).tolist()
    return [whole.slice(begin, end - begin) for begin, end in pairwise(ends)]


def _sorted_words(table: pa.Table) -> pa.Table:
    """One list of words for each column, in lexical order, as if they were sorted as texts."""
    for name in (*WORDS, STATEMENT, SCOPE_NAME):
        column = table.column(name)
        if not pa.types.is_dictionary(column.type):
            column = pc.dictionary_encode(column)
        column = column.unify_dictionaries()
        words = column.chunk(0).dictionary if column.num_chunks else pa.array([], pa.string())
        if name == "name":
            column, words = _by_route(column, words)
        order = sorted(range(len(words)), key=words.to_pylist().__getitem__)
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        listed = words.take(pa.array(order, pa.int32())).cast(pa.large_string())
        chunks = [
            pa.DictionaryArray.from_arrays(pa.array(rank).take(chunk.indices), listed)
            for chunk in column.chunks
        ]
        kind = pa.dictionary(pa.int32(), pa.large_string())
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.chunked_array(chunks, kind))
    return table


def _by_route(column: pa.ChunkedArray, words: pa.Array) -> tuple[pa.ChunkedArray, pa.Array]:
    """Names that differ in an id alone become one."""
    names = words.to_pylist()
    routes = [folded(name) for name in names]
    if routes == names:
        return column, words
    kept = list(dict.fromkeys(routes))
    numbers = {route: number for number, route in enumerate(kept)}
    place = np.array([numbers[route] for route in routes], np.int32)
    listed = pa.array(kept, words.type)
    chunks = [
        pa.DictionaryArray.from_arrays(pa.array(place).take(chunk.indices), listed)
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks), listed


def rows(table: pa.Table, counted: NDArray[np.bool_]) -> pa.Table:
    """The rows that count; where they lie together, without copying them."""
    if counted.all():
        return table
    edges = np.flatnonzero(np.diff(np.concatenate([[0], counted.view(np.int8), [0]])))
    begins, ends = edges[::2], edges[1::2]
    if len(begins) > _MANY_PIECES:
        return table.filter(pa.array(counted))
    pieces = [
        table.slice(begin, end - begin)
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
    ]
    return pa.concat_tables(pieces) if pieces else table.slice(0, 0)


def from_frame(spans: pd.DataFrame) -> pd.DataFrame:
    """The same from spans that were read whole."""
    texts = pa.array(spans["attributes"], from_pandas=True)
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    texts = texts.cast(pa.large_string())
    lean = spans[list(COLUMNS)].copy(deep=False)
    for name, said in lean_texts(texts, written(spans, "db_system")).items():
        lean[name] = pd.Series(said.to_pandas().to_numpy(), index=spans.index).astype(
            "float64" if name == ORM_CACHED else "str"
        )
    routes = {name: folded(name) for name in lean["name"].dropna().unique()}
    if any(name != route for name, route in routes.items()):
        lean["name"] = lean["name"].map(routes).astype(spans["name"].dtype)
    for name, read_out in ATTRIBUTES.items():
        kind = "str" if name in _TEXTS else "float64"
        values = read_out(texts).to_pandas().to_numpy()
        lean[name] = pd.Series(values, index=spans.index, dtype=kind)
    begins = spans["parent_span_id"].isna() | spans["kind"].isin(SERVED_KINDS)
    chances = sampling.probabilities(texts, begins.to_numpy(bool))
    lean[sampling.PROBABILITY] = chances.to_numpy(zero_copy_only=False)
    return lean
