"""Which span took in an orphan, whose own parent was never exported; where a request begins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.codes import CLIENT, CONSUMER, MISSING, PRODUCER, REPEAT, ROOT, SERVER
from analysis.kernels.compiled import compiled

_LOOKED_AT = 1024
"""Spans begun before the orphan that are looked at, the latest first; then it is the root's."""


@compiled
def adopted(
    begins: NDArray[np.int64],
    queue_begins: NDArray[np.int64],
    queue: NDArray[np.int32],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    unfinished: NDArray[np.bool_],
    parent: NDArray[np.int32],
    kind: NDArray[np.int8],
    service: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Give parents with orphans taken in, and which spans were.

    A request is what hangs below a root that names no parent; where every root of the trace names
    one that is missing, below the earliest of them, and it takes in orphans of its service alone:
    others may as well have been called by who called it.
    """
    new = parent.copy()
    taken = np.zeros(parent.size, np.bool_)
    within = np.zeros(parent.size, np.bool_)
    for trace in range(begins.size - 1):
        low, high = begins[trace], begins[trace + 1]
        first, orphans, whole = -1, 0, False
        for p in range(low, high):
            if parent[p] == ROOT and not whole:
                first, whole = p, True
            elif parent[p] == MISSING:
                orphans += 1
                first = p if first < 0 else first
        if orphans == 0 or (not whole and orphans == 1):
            continue
        for k in range(queue_begins[trace], queue_begins[trace + 1]):
            p = queue[k]
            if parent[p] >= 0:
                within[p] = within[parent[p]]
            else:
                within[p] = p == first or (whole and parent[p] == ROOT)
        for p in range(low, high):
            if parent[p] != MISSING or p == first:
                continue
            holder = _holder(p, low, first, start, end, unfinished, parent, kind, service, within)
            if holder >= 0 and (whole or service[holder] == service[p]):
                new[p] = holder
                taken[p] = True
    return new, taken


@compiled
def _holder(
    orphan: int, low: int, first: int,
    start: NDArray[np.int64], end: NDArray[np.int64], unfinished: NDArray[np.bool_],
    parent: NDArray[np.int32], kind: NDArray[np.int8], service: NDArray[np.int32],
    within: NDArray[np.bool_],
) -> int:  # fmt: skip
    """Give the shortest span of the request that contains the orphan; -1 where none does.

    One of its own service before others; calls to others (CLIENT, PRODUCER) contain what they
    called, not what runs beside them, and are passed over, but for roots.
    """
    best, near = -1, -1
    for q in range(orphan - 1, max(low, orphan - _LOOKED_AT) - 1, -1):
        if not within[q] or unfinished[q] or end[q] < end[orphan] or parent[q] == REPEAT:
            continue
        if parent[q] >= 0 and (kind[q] == CLIENT or kind[q] == PRODUCER):
            continue
        if best < 0 or end[q] - start[q] < end[best] - start[best]:
            best = q
        if service[q] == service[orphan] and (
            near < 0 or end[q] - start[q] < end[near] - start[near]
        ):
            near = q
    if best < 0 and start[first] <= start[orphan] and end[orphan] <= end[first]:
        best = -1 if unfinished[first] else first
    return near if near >= 0 else best


@compiled
def entries(
    begins: NDArray[np.int64],
    queue_begins: NDArray[np.int64],
    queue: NDArray[np.int32],
    parent: NDArray[np.int32],
    kind: NDArray[np.int8],
) -> NDArray[np.int64]:
    """Give the position of the span that each trace's request begins with.

    Its first root that names no parent, else its first root. Where that is a CLIENT span, the
    load's side of the request, it is the first SERVER or CONSUMER span below it, if there is one.
    """
    found = begins[:-1].copy()
    below = np.zeros(parent.size, np.bool_)
    for trace in range(begins.size - 1):
        first = -1
        for p in range(begins[trace], begins[trace + 1]):
            if parent[p] == ROOT:
                first = p
                break
            if parent[p] < 0 and parent[p] != REPEAT and first < 0:
                first = p
        found[trace] = first if first >= 0 else begins[trace]
        if first < 0 or kind[first] != CLIENT:
            continue
        for k in range(queue_begins[trace], queue_begins[trace + 1]):  # parents first
            p = queue[k]
            below[p] = p == first or (parent[p] >= 0 and below[parent[p]])
            if below[p] and (kind[p] == SERVER or kind[p] == CONSUMER):
                found[trace] = p
                break
    return found


@compiled
def shifts(
    queue: NDArray[np.int32],
    begins: NDArray[np.int64],
    queue_begins: NDArray[np.int64],
    parent: NDArray[np.int32],
    service: NDArray[np.int32],
    services: int,
    by_call: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Add up along the calls by how much each span's clock is ahead of its root's, ns.

    ``by_call`` is how far each span's clock is ahead of its parent's. An orphan's clock is taken
    for that of its service in the same trace.
    """
    found = np.zeros(parent.size, np.int64)
    of_service = np.zeros(services, np.int64)
    known_in = np.full(services, -1, np.int64)
    for trace in range(begins.size - 1):
        low, high = queue_begins[trace], queue_begins[trace + 1]
        orphans = False
        for k in range(low, high):
            p = queue[k]
            orphans = orphans or parent[p] == MISSING
            if parent[p] >= 0:
                found[p] = found[parent[p]] + by_call[p]
                if by_call[p] != 0:
                    of_service[service[p]] = found[p]
                    known_in[service[p]] = trace
        if not orphans:
            continue
        for k in range(low, high):
            p = queue[k]
            if parent[p] == MISSING and known_in[service[p]] == trace:
                found[p] = of_service[service[p]]
            elif parent[p] >= 0:
                found[p] = found[parent[p]] + by_call[p]
    return found
