"""The walks behind the critical path.

Spans clipped to their parents, children by end, and the way back from a root's end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.codes import CONSUMER, PRODUCER
from analysis.kernels.compiled import compiled
from analysis.kernels.ordering import largest_trace

_OVERLAP_SHARE = 0.01
"""CRISP takes siblings that overlap by less than this share of the parent for one after the
other: clock skew.
"""
_RUN = 16
_TOUCH = 2
"""One end and one start lie where two siblings touch; a third event there means that more ran."""


@compiled
def clip(
    raw_start: NDArray[np.int64],
    raw_end: NDArray[np.int64],
    parent: NDArray[np.int32],
    queue: NDArray[np.int32],
    kind: NDArray[np.int8],
    follows: NDArray[np.bool_],
    crisp: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Clip each span to its (clipped) parent, from the root down.

    A span that its parent did not wait for is not alive.

    Not waited for: wholly outside the parent; a CONSUMER of a PRODUCER (all but crisp); a
    FOLLOWS_FROM reference, or covering the parent on both sides (crisp); and whatever hangs below
    one of these.
    """
    start, end = raw_start.copy(), raw_end.copy()
    alive = np.zeros(start.size, np.bool_)
    for p in queue:
        above = parent[p]
        if above < 0:
            alive[p] = True
            continue
        if not alive[above] or start[p] >= end[above]:
            continue
        if start[p] < start[above] and end[p] <= start[above]:
            continue
        if crisp:
            if follows[p] or (start[p] < start[above] and end[p] > end[above]):
                continue
        elif kind[p] == CONSUMER and kind[above] == PRODUCER:
            continue
        alive[p] = True
        start[p] = max(start[p], start[above])
        end[p] = min(end[p], end[above])
    return start, end, alive


@compiled
def _later(a: int, b: int, end: NDArray[np.int64], crisp: bool) -> bool:
    """Whether child a comes before child b on the way back: the later end.

    Of equal ends the earlier start (crisp: the later).
    """
    if end[a] != end[b]:
        return bool(end[a] > end[b])
    return bool(a > b) if crisp else bool(a < b)


@compiled
def order_children(
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    alive: NDArray[np.bool_],
    queue: NDArray[np.int32],
    child_begin: NDArray[np.int32],
    child_count: NDArray[np.int32],
    crisp: bool,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """List each span's living children from the last end back, by start, and how many they are.

    Both lists begin at ``child_begin``.
    """
    by_end = np.empty(queue.size, np.int32)
    by_start = np.empty(queue.size if crisp else 0, np.int32)
    living = np.zeros(start.size, np.int32)
    largest = 0
    for p in queue:
        largest = max(largest, child_count[p])
    spare = np.empty(largest, np.int32)
    for p in queue:
        if child_count[p] == 0:
            continue
        begin = child_begin[p]
        count = 0
        for k in range(begin, begin + child_count[p]):
            if alive[queue[k]]:
                if crisp:
                    by_start[begin + count] = queue[k]
                by_end[begin + count] = queue[k]
                count += 1
        living[p] = count
        for k in range(count // 2):  # one after the other, the usual case, is in order then
            by_end[begin + k], by_end[begin + count - 1 - k] = (
                by_end[begin + count - 1 - k],
                by_end[begin + k],
            )
        _sort(by_end, spare, begin, begin + count, end, crisp)
    return by_end, by_start, living


@compiled
def _sort(
    places: NDArray[np.int32],
    spare: NDArray[np.int32],
    low: int,
    high: int,
    end: NDArray[np.int64],
    crisp: bool,
) -> None:
    """Merge sort from short sorted runs upwards."""
    for begin in range(low, high, _RUN):
        for i in range(begin + 1, min(begin + _RUN, high)):
            p = places[i]
            j = i - 1
            while j >= begin and _later(p, places[j], end, crisp):
                places[j + 1] = places[j]
                j -= 1
            places[j + 1] = p
    width = _RUN
    while width < high - low:
        for begin in range(low, high - width, 2 * width):
            middle, finish = begin + width, min(begin + 2 * width, high)
            spare[: middle - begin] = places[begin:middle]
            i, j, k = 0, middle, begin
            while i < middle - begin:
                if j < finish and _later(places[j], spare[i], end, crisp):
                    places[k] = places[j]
                    j += 1
                else:
                    places[k] = spare[i]
                    i += 1
                k += 1
        width *= 2


@compiled
def _events_within(
    low: int, high: int, first: int, count: int,
    start: NDArray[np.int64], end: NDArray[np.int64],
    by_start: NDArray[np.int32], by_end: NDArray[np.int32],
) -> int:  # fmt: skip
    """How many starts and ends of a span's children lie in [low, high]; four binary searches."""
    return (
        _starts_below(high + 1, first, count, start, by_start)
        - _starts_below(low, first, count, start, by_start)
        + _ends_below(high + 1, first, count, end, by_end)
        - _ends_below(low, first, count, end, by_end)
    )


@compiled
def _starts_below(
    limit: int, first: int, count: int, start: NDArray[np.int64], by_start: NDArray[np.int32]
) -> int:
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if start[by_start[first + middle]] < limit:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _ends_below(
    limit: int, first: int, count: int, end: NDArray[np.int64], by_end: NDArray[np.int32]
) -> int:
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if end[by_end[first + middle]] < limit:
            high = middle
        else:
            low = middle + 1
    return count - low


@compiled
def _precedes(
    before: int, after: int, above: int, first: int, count: int,
    start: NDArray[np.int64], end: NDArray[np.int64],
    by_start: NDArray[np.int32], by_end: NDArray[np.int32],
) -> bool:  # fmt: skip
    """CRISP's happens-before of two siblings.

    Ends before the other's start, or touches or overlaps it a little, nothing else between.
    """
    if end[before] < start[after]:
        return True
    if end[before] >= end[after] or start[before] >= start[after]:
        return False
    overlap = end[before] - start[after]
    if overlap >= _OVERLAP_SHARE * (end[above] - start[above]):
        return False
    return (
        _events_within(start[after], end[before], first, count, start, end, by_start, by_end)
        == _TOUCH
    )


@compiled
def walk(
    begins: NDArray[np.int64],
    queue_begins: NDArray[np.int64],
    queue: NDArray[np.int32],
    parent: NDArray[np.int32],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    by_end: NDArray[np.int32],
    by_start: NDArray[np.int32],
    child_begin: NDArray[np.int32],
    living: NDArray[np.int32],
    crisp: bool,
    touching: bool,
    keep: bool,
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sections (position, start, end) by trace in time order, and each position's critical ns.

    ``touching``: an earlier sibling may end at the very moment at which the later one starts.
    Without ``keep`` sections are added up and written over: memory then holds those of one trace.
    """
    critical = np.zeros(start.size, np.int64)
    largest = max(1, largest_trace(begins))
    stack = np.empty((largest, 6), np.int64)
    room = 2 * (
        start.size if keep else largest
    )  # a span on the path: one section, one more a child
    at = np.empty(room, np.int32)
    since = np.empty(room, np.int64)
    until = np.empty(room, np.int64)
    filled = 0
    for trace in range(begins.size - 1):
        filled = filled if keep else 0
        begun = filled
        roots = 0
        for k in range(queue_begins[trace], queue_begins[trace + 1]):
            root = queue[k]
            if parent[root] >= 0:
                continue
            roots += 1
            begun_root = filled
            filled = _walk_root(
                root, stack, start, end, by_end, by_start, child_begin, living, crisp, touching,
                at, since, until, filled,
            )  # fmt: skip
            _reverse(at, since, until, begun_root, filled)
        for k in range(begun, filled):
            critical[at[k]] += until[k] - since[k]
        if roots > 1:
            _by_time(at, since, until, begun, filled)
    return at[:filled], since[:filled], until[:filled], critical


@compiled
def _walk_root(
    root: int, stack: NDArray[np.int64],
    start: NDArray[np.int64], end: NDArray[np.int64],
    by_end: NDArray[np.int32], by_start: NDArray[np.int32],
    child_begin: NDArray[np.int32], living: NDArray[np.int32], crisp: bool, touching: bool,
    at: NDArray[np.int32], since: NDArray[np.int64], until: NDArray[np.int64], filled: int,
) -> int:  # fmt: skip
    """Write one root's sections from its end back; give the new length.

    A worked example, in ms, of the calls that A made::

        A |-----------------------------------------------|   0 to 100
        B      |--------------|                               10 to 40
        C                |------------------------|           30 to 80
        D                           |----|                    50 to 60, made by C
        E                                           |--|      85 to 90

    From A's end back: E ended last, so 90 to 100 is A's own and 85 to 90 is E's. Before 85 it was
    C that ended last: 80 to 85 is A's, then C is walked in the same way: 60 to 80 is its own, 50
    to 60 is D's, 30 to 50 its own. Before C began, at 30, no call had ended: B ran beside C and
    held nobody up. So 0 to 30 is A's. A has 45 ms, C 40, D 10, E 5 and B none: 100 together.

    A frame of the stack is: span; the time walked back to; its earliest time; how far it was moved
    back (crisp: an overlap is read as skew, so the earlier sibling is moved to end where the later
    one starts); the next child to look at; the last one taken.
    """
    depth = 0
    _enter(stack, 0, root, end[root], start[root], 0)
    while depth >= 0:
        p, cursor, shift = stack[depth, 0], stack[depth, 1], stack[depth, 3]
        child = _next_child(
            stack, depth, start, end, by_end, by_start, child_begin, living, crisp, touching
        )
        if child < 0:
            if stack[depth, 2] < cursor:
                at[filled], since[filled], until[filled] = p, stack[depth, 2], cursor
                filled += 1
            depth -= 1
            continue
        finish = max(min(end[child] + shift, cursor), stack[depth, 2])
        if finish < cursor:
            at[filled], since[filled], until[filled] = p, finish, cursor
            filled += 1
        moved = finish - end[child]
        begin = min(max(start[child] + moved, stack[depth, 2]), finish)
        stack[depth, 1] = begin
        depth += 1
        _enter(stack, depth, child, finish, begin, moved)
    return filled


@compiled
def _enter(
    stack: NDArray[np.int64], depth: int, p: int, finish: int, begin: int, shift: int
) -> None:
    """Put a new frame on the stack."""
    stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3] = p, finish, begin, shift
    stack[depth, 4], stack[depth, 5] = 0, -1


@compiled
def _next_child(
    stack: NDArray[np.int64], depth: int,
    start: NDArray[np.int64], end: NDArray[np.int64],
    by_end: NDArray[np.int32], by_start: NDArray[np.int32],
    child_begin: NDArray[np.int32], living: NDArray[np.int32], crisp: bool, touching: bool,
) -> int:  # fmt: skip
    """Give the next child on the path of the span on top of the stack.

    -1 where there is none left.
    """
    p, last = stack[depth, 0], stack[depth, 5]
    first, count = child_begin[p], living[p]
    i = stack[depth, 4]
    while i < count:
        child = int(by_end[first + i])
        i += 1
        if last < 0:
            fits = True
        elif crisp:
            fits = _precedes(child, int(last), p, first, count, start, end, by_start, by_end)
        else:
            fits = end[child] < start[last] or (touching and end[child] == start[last])
        if fits:
            stack[depth, 4], stack[depth, 5] = i, child
            return child
    stack[depth, 4] = i
    return -1


@compiled
def _reverse(
    at: NDArray[np.int32], since: NDArray[np.int64], until: NDArray[np.int64], low: int, high: int
) -> None:
    """Turn sections written from the end back into order of time."""
    for k in range((high - low) // 2):
        a, b = low + k, high - 1 - k
        at[a], at[b] = at[b], at[a]
        since[a], since[b] = since[b], since[a]
        until[a], until[b] = until[b], until[a]


@compiled
def _by_time(
    at: NDArray[np.int32], since: NDArray[np.int64], until: NDArray[np.int64], low: int, high: int
) -> None:
    """Bring the sections of several roots of one trace into one order of time.

    Sections that begin together stay root by root.
    """
    places = low + np.argsort(since[low:high], kind="mergesort")
    at[low:high] = at[places]
    since[low:high] = since[places]
    until[low:high] = until[places]
