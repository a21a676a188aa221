"""A slow, obvious second opinion on self time and critical paths: lists, recursion, no arrays.

Written from docs/analytics.md, sharing no code with ``analysis``. One trace at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(eq=False)
class Node:
    """One span of one trace, as a row has it, and its place in the tree."""

    row: int
    span_id: str
    parent_id: str | None
    service: str
    name: str
    kind: str
    start: int
    duration: int | None
    follows: bool = False
    repeat_of: Node | None = None
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Where the span ends; where it starts when nobody knows."""
        return self.start + max(self.duration or 0, 0)


def tree(nodes: list[Node]) -> list[Node]:
    """Link the spans of one trace and give its roots, in canonical order."""
    nodes.sort(key=_canonical)
    kept: list[Node] = []
    for node in nodes:
        node.repeat_of = next((other for other in kept if _content(other) == _content(node)), None)
        if node.repeat_of is None:
            kept.append(node)
    for node in kept:
        node.parent = _parent(node, kept)
    for node in kept:
        _cut(node)
    for node in kept:
        if node.parent is not None:
            node.parent.children.append(node)
    return [node for node in kept if node.parent is None]


def _canonical(node: Node) -> tuple[object, ...]:
    rank = ("CONSUMER", "PRODUCER", "CLIENT", "SERVER", node.kind).index(node.kind)
    above = (node.parent_id is not None, node.parent_id or "")
    time = (node.start, node.start - node.end)
    return (*time, node.service, node.name, node.span_id, rank, *above)


def _content(node: Node) -> tuple[object, ...]:
    ids = (node.span_id, node.parent_id, node.service, node.name, node.kind)
    return (*ids, node.start, node.end)


def _parent(node: Node, kept: list[Node]) -> Node | None:
    sides = [other for other in kept if other.span_id == node.span_id and other.kind == "CLIENT"]
    if node.kind == "SERVER" and sides:
        return sides[0]
    return _holder([other for other in kept if other.span_id == node.parent_id])


def _holder(group: list[Node]) -> Node | None:
    kinds = {node.kind for node in group}
    if {"CLIENT", "SERVER"} <= kinds:
        return next(node for node in group if node.kind == "SERVER")
    return group[0] if group else None


def _cut(node: Node) -> None:
    """Where a span is its own ancestor, cut that cycle at its earliest span."""
    seen: list[Node] = []
    walker: Node | None = node
    while walker is not None and walker not in seen:
        seen.append(walker)
        walker = walker.parent
    if walker is not None:
        cycle = seen[seen.index(walker) :]
        min(cycle, key=_canonical).parent = None


def self_time(node: Node) -> int:
    """Count the duration's instants that no child covers, one by one."""
    covered: set[int] = set()
    for child in node.children:
        covered.update(range(max(child.start, node.start), min(child.end, node.end)))
    return node.end - node.start - len(covered)


Section = tuple[Node, int, int]


def jaeger(root: Node) -> list[Section]:
    """Give a root's sections under Jaeger UI's rules, in order of time."""
    return _back(root, root.start, root.end, touching=False)


def inclusive(root: Node) -> list[Section]:
    """Give a root's sections where an earlier sibling may end when the later one starts."""
    return _back(root, root.start, root.end, touching=True)


def _back(node: Node, low: int, high: int, *, touching: bool) -> list[Section]:
    children = [
        (child, max(child.start, low), min(child.end, high))
        for child in node.children
        if not (child.kind == "CONSUMER" and node.kind == "PRODUCER")
        and not _outside(child, low, high)
    ]
    found: list[Section] = []
    taken: list[Node]
    cursor, candidates, taken = high, children, []
    while candidates:
        child, begin, end = max(candidates, key=lambda c: c[2])
        if end < cursor:
            found.append((node, end, cursor))
        found.extend(reversed(_back(child, begin, end, touching=touching)))
        cursor = begin
        taken.append(child)
        candidates = [
            c for c in children if c[0] not in taken and c[2] < begin + (1 if touching else 0)
        ]
    if low < cursor:
        found.append((node, low, cursor))
    return found[::-1]


def _outside(child: Node, low: int, high: int) -> bool:
    return child.start >= high or (child.start < low and child.end <= low)


def crisp(root: Node) -> list[Section]:
    """Give a root's sections under CRISP's rules, in order of time."""
    return _crisp(root, root.start, root.end, root.start, 0)


def _crisp(node: Node, low: int, high: int, floor: int, shift: int) -> list[Section]:
    """Lay out a span that runs from low to high, moved by ``shift``, nothing before ``floor``."""
    children = [
        (child, max(child.start, low), min(child.end, high))
        for child in node.children
        if not child.follows and not _outside(child, low, high)
        and not (child.start < low and child.end > high)
    ]  # fmt: skip
    path: list[tuple[Node, int, int]] = []
    for candidate in sorted(children, key=lambda c: c[2])[::-1]:  # of equal ends the later start
        if not path or _before(candidate, path[-1], high - low, children):
            path.append(candidate)
    found: list[Section] = []
    cursor = high + shift
    for child, begin, end in path:
        finish = max(min(end + shift, cursor), floor)
        if finish < cursor:
            found.append((node, finish, cursor))
        moved = finish - end
        first = min(max(begin + moved, floor), finish)
        found.extend(reversed(_crisp(child, begin, end, first, moved)))
        cursor = first
    if floor < cursor:
        found.append((node, floor, cursor))
    return found[::-1]


def _before(
    a: tuple[Node, int, int],
    b: tuple[Node, int, int],
    parent_takes: int,
    siblings: list[tuple[Node, int, int]],
) -> bool:
    if a[2] < b[1]:
        return True
    if not (a[2] < b[2] and a[1] < b[1]) or (a[2] - b[1]) >= 0.01 * parent_takes:
        return False
    events = [moment for sibling in siblings for moment in sibling[1:]]
    return sum(b[1] <= moment <= a[2] for moment in events) == 2
