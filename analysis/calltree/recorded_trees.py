"""Which span called which, as recorded: the call trees of all traces, as columns of integers.

Questions ask ``analysis.calltree.call_tree``, where clocks are mended and orphans adopted.

Spans are laid out trace by trace and, within a trace, by start, then longest first, then
operation, id, kind and parent, so that nothing depends on the order of rows. A place in that
layout is a *position*; ``order`` leads from positions back to rows. ``queue`` lists the positions
of each trace parents first, the children of one parent side by side. All of it is built without
recursion, in time linear in the number of spans but for sorting within a trace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.calltree.id_repair import repaired
from analysis.calltree.identity import span_keys, trace_codes
from analysis.calltree.tree_cache import Remembered
from analysis.errors import ColumnError
from analysis.kernels import hashing, ordering, parents
from analysis.kernels.codes import CLIENT, CONSUMER, OTHER, PRODUCER, REPEAT, SERVER

_Any = TypeVar("_Any", bound=np.generic)

_KINDS = {"SERVER": SERVER, "CLIENT": CLIENT, "PRODUCER": PRODUCER, "CONSUMER": CONSUMER}

_MANY_PAIRS = 1 << 24
"""Services times names: up to here a table of all pairs is cheaper than sorting the rows."""
_LAST_NS = (1 << 63) - 1
"""The last moment that int64 holds, in the year 2262."""
_NEEDED = ("trace_id", "span_id", "parent_span_id", "start_ns", "duration_ns")
ASKED = (*_NEEDED, "service", "name", "kind", "follows_from")
"""All columns that the trees depend on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTrees:
    """All traces' trees. n spans, t traces; arrays of n are by position unless said otherwise."""

    order: NDArray[np.int64]
    """Position to row."""
    begins: NDArray[np.int64]
    """t + 1 positions: where each trace begins; the last is n."""
    start: NDArray[np.int64]
    """Start, ns."""
    end: NDArray[np.int64]
    """End, ns; the start where ``unfinished``."""
    unfinished: NDArray[np.bool_]
    """The duration is missing, negative, or ends beyond what int64 holds."""
    kind: NDArray[np.int8]
    operation: NDArray[np.int32]
    """Code of (service, name), row of ``operations``."""
    follows: NDArray[np.bool_]
    """The reference to the parent is FOLLOWS_FROM."""
    parent: NDArray[np.int32]
    """Position of the parent, or ROOT, MISSING, CUT, REPEAT of ``analysis.kernels.codes``."""
    queue: NDArray[np.int32]
    """Positions, parents first, siblings together in order of start; repeats are left out."""
    queue_begins: NDArray[np.int64]
    """t + 1 places in ``queue``."""
    child_begin: NDArray[np.int32]
    """Where in ``queue`` the span's children begin."""
    child_count: NDArray[np.int32]
    shares_id: NDArray[np.bool_]
    """An earlier span of the trace has the same id and other content."""
    operations: pd.DataFrame
    """service, name of each operation code, in lexical order."""
    adopted: NDArray[np.bool_] | None = None
    """Its parent was never exported, and it lies inside its request, which took it in."""
    shift: NDArray[np.int64] | None = None
    """By how many ns the span was moved to an earlier time: its service's clock is ahead."""
    known: dict[str, NDArray[np.int64]] = field(default_factory=dict, compare=False, repr=False)
    """What was found of these trees and is asked for again: ns by position, by what it is."""

    @property
    def is_root(self) -> NDArray[np.bool_]:
        """Positions that begin a tree: no parent, a missing one, or one that was cut."""
        roots: NDArray[np.bool_] = (self.parent < 0) & (self.parent != REPEAT)
        return roots


_REMEMBERED: Remembered[CallTrees] = Remembered(ASKED)
"""Self time, sections and shares of one table are three questions of trees that are built once."""


def recorded_trees(spans: pd.DataFrame) -> CallTrees:
    """Give the trees of a spans table of any order, index and size, exactly as recorded.

    The trees of the table that was asked about last are kept. Raises ``ColumnError`` where a
    needed column is missing or of a type that cannot be read.
    """
    found = _REMEMBERED.recall(spans)
    if found is None:
        _require(spans)
        found = build(spans)
        _REMEMBERED.keep(spans, found)
    return found


def build(spans: pd.DataFrame, shift: NDArray[np.int64] | None = None) -> CallTrees:
    """Build the trees, each row's start moved back by ``shift`` ns."""
    spans = repaired(spans)
    key, parent_key, has_parent = span_keys(spans["span_id"], spans["parent_span_id"])
    start, duration, unfinished = _times(spans)
    if shift is not None:
        start = start - shift
    codes, count = trace_codes(spans["trace_id"])
    operation, operations = operation_codes(spans)
    kind, follows = _kinds(spans), _flags(spans, "follows_from")
    begins, order = ordering.by_trace(codes, count)
    del codes
    ordering.sort_traces(
        order, begins, start, duration, operation, key, kind, parent_key, has_parent
    )
    end = start + duration
    if not ordering.is_plain(order):
        start, end, unfinished = start[order], end[order], unfinished[order]
        kind, operation, follows = kind[order], operation[order], follows[order]
    parent_of, shares_id = parents.resolve(
        order, begins, start, end, operation, kind, key, parent_key, has_parent
    )
    queue, queue_begins, child_begin, child_count = parents.lay_out(parent_of, begins)
    return CallTrees(
        order=order, begins=begins, start=start, end=end, unfinished=unfinished,
        kind=kind, operation=operation, follows=follows, parent=parent_of,
        queue=queue, queue_begins=queue_begins, child_begin=child_begin, child_count=child_count,
        operations=operations, shares_id=shares_id,
        shift=None if shift is None else shift[order],
    )  # fmt: skip


def to_rows(values: NDArray[_Any], call_trees: CallTrees) -> NDArray[_Any]:
    """Bring an array from positions to the order of rows."""
    found = np.empty_like(values)
    found[call_trees.order] = values
    return found


def _require(spans: pd.DataFrame) -> None:
    missing = [name for name in _NEEDED if name not in spans.columns]
    if missing:
        raise ColumnError(
            f"The spans table lacks {', '.join(missing)}; it has "
            f"{', '.join(map(str, spans.columns)) or 'no columns'}. "
            "Read traces with analysis.traces.read, which gives every column."
        )


def _times(spans: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Start, duration (0 where there is none) and whether there is none, by row."""
    start = _integers(spans["start_ns"])
    duration = _integers(spans["duration_ns"], missing=-1)
    unfinished = duration < 0
    if start.size and int(duration.max()) > _LAST_NS - max(int(start.max()), 0):
        unfinished |= duration > _LAST_NS - np.maximum(start, 0)
    if spans["start_ns"].hasnans:
        unfinished |= spans["start_ns"].isna().to_numpy()
    if unfinished.any():
        duration = np.where(unfinished, 0, duration)
    return start, duration, unfinished


def _integers(column: pd.Series[int], missing: int = 0) -> NDArray[np.int64]:
    """Read a column of nanoseconds exactly, whichever integer or float type it has.

    Raises ``ColumnError`` for numbers that int64 does not hold.
    """
    array = pa.array(column, from_pandas=True)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_null(array.type):
        array = array.cast(pa.int64())
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        raise ColumnError(
            f"The column {column.name} holds {array.type}; whole nanoseconds (int64) are expected."
        )
    if pa.types.is_floating(array.type):
        array = pc.trunc(array)
    try:
        whole = array.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise ColumnError(
            f"The column {column.name} holds {array.type} beyond what int64 holds ({error}); "
            "nanoseconds since 1970 are expected."
        ) from error
    filled = pc.fill_null(whole, missing) if whole.null_count else whole
    return np.ascontiguousarray(filled.to_numpy(zero_copy_only=False))


def operation_codes(spans: pd.DataFrame) -> tuple[NDArray[np.int32], pd.DataFrame]:
    """Number the operations (service, name) in lexical order: a code a row, and their table."""
    service, services = _codes(spans, "service")
    name, names = _codes(spans, "name")
    if len(services) * len(names) > _MANY_PAIRS:
        pair = service.astype(np.int64) * len(names) + name
        used, codes = np.unique(pair, return_inverse=True)
        codes = codes.astype(np.int32)
    else:
        service *= np.int32(max(1, len(names)))
        service += name
        used, codes = hashing.dense(service, len(services) * len(names))
    table = pd.DataFrame(
        {
            "service": services.take(used // max(1, len(names))),
            "name": names.take(used % max(1, len(names))),
        }
    )
    return codes, table


def _codes(spans: pd.DataFrame, name: str) -> tuple[NDArray[np.int32], pd.Index]:
    """Codes of one text column in lexical order; a missing text or column is the empty string."""
    if name not in spans.columns:
        return np.zeros(len(spans), np.int32), pd.Index([""], dtype="str")
    encoded = _encoded(spans[name])
    texts = sorted({text for _, words in encoded for text in words})
    rank = {text: place for place, text in enumerate(texts)}
    codes = np.empty(len(spans), np.int32)
    _look_up(encoded, rank.__getitem__, codes)
    return codes, pd.Index(texts, dtype="str")


def _look_up(
    encoded: list[tuple[NDArray[np.int32], list[str]]],
    value_of: Callable[[str], int],
    found: NDArray[np.integer],
) -> None:
    """Write the value of each row's text."""
    begin = 0
    for indices, words in encoded:
        values = np.array([value_of(text) for text in words], found.dtype)
        hashing.looked_up(indices, values, found[begin : begin + indices.size])
        begin += indices.size


def _encoded(column: pd.Series[str]) -> list[tuple[NDArray[np.int32], list[str]]]:
    """Give each chunk's indices into a list of words, and that list; null is the empty string."""
    array = pa.array(column, from_pandas=True)
    chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
    return [_indices(chunk) for chunk in chunks]


def _indices(chunk: pa.Array) -> tuple[NDArray[np.int32], list[str]]:
    if pa.types.is_dictionary(chunk.type):
        words = [text or "" for text in chunk.dictionary.to_pylist()]
        missing = len(words)
        return pc.fill_null(chunk.indices.cast(pa.int32()), missing).to_numpy(), [*words, ""]
    coded = chunk.cast(pa.large_string()).dictionary_encode(null_encoding="encode")
    return coded.indices.to_numpy(), [text or "" for text in coded.dictionary.to_pylist()]


def _kinds(spans: pd.DataFrame) -> NDArray[np.int8]:
    kinds = np.zeros(len(spans), np.int8)
    if "kind" in spans.columns:
        _look_up(_encoded(spans["kind"]), lambda text: _KINDS.get(text.upper(), OTHER), kinds)
    return kinds


def _flags(spans: pd.DataFrame, name: str) -> NDArray[np.bool_]:
    if name not in spans.columns:
        return np.zeros(len(spans), np.bool_)
    return spans[name].fillna(value=False).to_numpy(dtype=np.bool_)
