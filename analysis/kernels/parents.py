"""Whose child is each span? Ids looked up within a trace, awkward ones settled, cycles cut.

Trees laid out for walking.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.codes import CLIENT, CUT, MISSING, REPEAT, ROOT, SERVER
from analysis.kernels.compiled import compiled
from analysis.kernels.ordering import largest_trace

_SPREAD, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)
"""Multiplicative hashing: 2^64 over the golden ratio (Knuth, TAOCP 3, 6.4)."""


@compiled
def resolve(
    order: NDArray[np.int64],
    begins: NDArray[np.int64],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    operation: NDArray[np.int32],
    kind: NDArray[np.int8],
    span_key: NDArray[np.uint64],
    parent_key: NDArray[np.uint64],
    has_parent: NDArray[np.bool_],
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Position of each span's parent, or why there is none; ids are by row, the rest by position.

    Where spans share an id: a repeat of another is the same span delivered twice (as Jaeger has
    it); a SERVER span with a CLIENT span's id is its other side and has the children (Zipkin).
    The second value says which spans share an id with an earlier one that they do not repeat.
    """
    parent = np.full(order.size, ROOT, np.int32)
    largest = largest_trace(begins)
    size = 4
    while size < 2 * largest:
        size *= 2
    table = np.empty(size, np.int32)
    keys = np.empty(size, np.uint64)
    first = np.full(order.size, -1, np.int32)
    for trace in range(begins.size - 1):
        low, high = begins[trace], begins[trace + 1]
        size = 4
        while size < 2 * (high - low):
            size *= 2
        table[:size] = -1
        shared = _note_ids(low, high, order, span_key, table, keys, size, first)
        for p in range(low, high):
            row = order[p]
            if has_parent[row]:
                holder = table[_slot(table, keys, size, parent_key[row])]
                parent[p] = holder if holder >= 0 else MISSING
        if shared:
            _settle(low, high, parent, first, kind)
            _mark_repeats(
                low, high, parent, order, start, end, operation, kind,
                span_key, parent_key, has_parent,
            )  # fmt: skip
    return parent, (first >= 0) & (parent != REPEAT)


@compiled
def _note_ids(
    low: int, high: int, order: NDArray[np.int64], span_key: NDArray[np.uint64],
    table: NDArray[np.int32], keys: NDArray[np.uint64], size: int, first: NDArray[np.int32],
) -> bool:  # fmt: skip
    """Put each id's earliest span into the trace's table; give whether some spans share an id."""
    shared = False
    for p in range(low, high):
        key = span_key[order[p]]
        slot = _slot(table, keys, size, key)
        if table[slot] < 0:
            table[slot] = p
            keys[slot] = key
        else:
            first[p] = table[slot]
            shared = True
    return shared


@compiled
def _slot(
    table: NDArray[np.int32], keys: NDArray[np.uint64], size: int, key: np.uint64
) -> np.int64:
    """Where in the trace's table the id is, or the free place where it would go."""
    mixed = key * _SPREAD
    slot = np.int64((mixed ^ (mixed >> _HALF)) & np.uint64(size - 1))
    while table[slot] >= 0 and keys[slot] != key:
        slot = (slot + 1) & (size - 1)
    return slot


@compiled
def _settle(
    low: int,
    high: int,
    parent: NDArray[np.int32],
    first: NDArray[np.int32],
    kind: NDArray[np.int8],
) -> None:
    """Settle whose children are whose where spans share an id.

    ``first[p]`` is the earliest span with p's id, -1 where p is that one. Parents are earliest
    spans, of their id or of its servers, and so never repeats.
    """
    client = np.full(high - low, -1, np.int32)
    server = np.full(high - low, -1, np.int32)
    for p in range(low, high):
        group = p if first[p] < 0 else first[p]
        if kind[p] == CLIENT and client[group - low] < 0:
            client[group - low] = p
        if kind[p] == SERVER and server[group - low] < 0:
            server[group - low] = p
    for p in range(low, high):
        group = p if first[p] < 0 else first[p]
        if kind[p] == SERVER and client[group - low] >= 0:
            parent[p] = client[group - low]
        elif parent[p] >= 0 and client[parent[p] - low] >= 0 and server[parent[p] - low] >= 0:
            parent[p] = server[parent[p] - low]


@compiled
def _mark_repeats(
    low: int, high: int, parent: NDArray[np.int32],
    order: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64],
    operation: NDArray[np.int32], kind: NDArray[np.int8],
    span_key: NDArray[np.uint64], parent_key: NDArray[np.uint64], has_parent: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Mark spans with the content of an earlier one: the canonical order puts it right before."""
    for p in range(low + 1, high):
        row, before = order[p], order[p - 1]
        if (
            span_key[row] == span_key[before]
            and parent_key[row] == parent_key[before]
            and has_parent[row] == has_parent[before]
            and start[p] == start[p - 1]
            and end[p] == end[p - 1]
            and operation[p] == operation[p - 1]
            and kind[p] == kind[p - 1]
        ):
            parent[p] = REPEAT


@compiled
def lay_out(
    parent: NDArray[np.int32], begins: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Put each trace's spans parents first, siblings side by side.

    Cut cycles at their earliest span.

    Gives the queue, where each trace begins in it, and for each position where its children begin
    in the queue and how many they are. ``parent`` is changed where a cycle was cut.
    """
    n = parent.size
    queue = np.empty(n, np.int32)
    queue_begins = np.zeros(begins.size, np.int64)
    child_begin = np.zeros(n, np.int32)
    child_count = np.zeros(n, np.int32)
    newest = np.full(n, -1, np.int32)  # head of each parent's list of children
    older = np.full(n, -1, np.int32)  # next in that list
    filled = 0
    for trace in range(begins.size - 1):
        low, high = begins[trace], begins[trace + 1]
        queue_begins[trace] = filled
        wanted = filled + high - low
        for p in range(high - 1, low - 1, -1):  # backwards, so that each list runs forwards
            if parent[p] >= 0:
                older[p] = newest[parent[p]]
                newest[parent[p]] = p
                child_count[parent[p]] += 1
            elif parent[p] == REPEAT:
                wanted -= 1
        head = filled
        for p in range(low, high):
            if parent[p] < 0 and parent[p] != REPEAT:
                queue[filled] = p
                filled += 1
        filled = _spread(queue, head, filled, newest, older, child_begin)
        if filled < wanted:
            filled = _cut(
                low, high, parent, queue, queue_begins[trace], filled,
                newest, older, child_begin, child_count,
            )  # fmt: skip
    queue_begins[begins.size - 1] = filled
    return queue[:filled], queue_begins, child_begin, child_count


@compiled
def _spread(
    queue: NDArray[np.int32],
    head: int,
    filled: int,
    newest: NDArray[np.int32],
    older: NDArray[np.int32],
    child_begin: NDArray[np.int32],
) -> int:
    """Append the descendants of what is in the queue from ``head`` on; give the new length."""
    while head < filled:
        p = queue[head]
        head += 1
        child_begin[p] = filled
        child = newest[p]
        while child >= 0:
            queue[filled] = child
            filled += 1
            child = older[child]
    return filled


@compiled
def _cut(
    low: int,
    high: int,
    parent: NDArray[np.int32],
    queue: NDArray[np.int32],
    begun: int,
    filled: int,
    newest: NDArray[np.int32],
    older: NDArray[np.int32],
    child_begin: NDArray[np.int32],
    child_count: NDArray[np.int32],
) -> int:
    """Cut every cycle of one trace at its earliest span, which becomes a root.

    Give the queue's new length.
    """
    reached = np.zeros(high - low, np.bool_)
    mark = np.full(high - low, -1, np.int32)
    for k in range(begun, filled):
        reached[queue[k] - low] = True
    for p in range(low, high):
        if reached[p - low] or parent[p] == REPEAT or mark[p - low] >= 0:
            continue
        walker = p
        while walker >= 0 and not reached[walker - low] and mark[walker - low] < 0:
            mark[walker - low] = p
            walker = parent[walker]
        if walker < 0 or reached[walker - low] or mark[walker - low] != p:
            continue  # led to a tree, or to a cycle that was cut already
        earliest = walker
        member = parent[walker]
        while member != walker:
            earliest = min(earliest, member)  # positions are in order of start
            member = parent[member]
        _disown(earliest, parent, newest, older, child_count)
        queue[filled] = earliest
        head = filled
        filled = _spread(queue, head, filled + 1, newest, older, child_begin)
        for k in range(head, filled):
            reached[queue[k] - low] = True
    return filled


@compiled
def _disown(
    child: int,
    parent: NDArray[np.int32],
    newest: NDArray[np.int32],
    older: NDArray[np.int32],
    child_count: NDArray[np.int32],
) -> None:
    """Take a child out of its parent's list and mark it as cut."""
    above = parent[child]
    if newest[above] == child:
        newest[above] = older[child]
    else:
        walker = newest[above]
        while older[walker] != child:
            walker = older[walker]
        older[walker] = older[child]
    older[child] = -1
    child_count[above] -= 1
    parent[child] = CUT
