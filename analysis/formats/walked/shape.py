"""What is looked for in a JSON format, as an automaton for ``analysis.kernels.reading.json_walk``.

A shape is written as the documents look: a dict of members (a tuple names several spellings, ``*``
any other member), a list of the one kind of its elements, and ``Node`` where something is noted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.reading import json_walk as kernel

Members = dict[str | tuple[str, ...], Any]


@dataclass(frozen=True, slots=True)
class Node:
    """A place in a document where something is noted."""

    action: int
    name: str = ""
    """Of a field or a record."""
    members: Members = field(default_factory=dict)


def kept(name: str) -> Node:
    """Note a value as this field of its record."""
    return Node(kernel.FIELD, name)


def record(name: str, members: Members) -> Node:
    """Note that an object is a record of this name."""
    return Node(kernel.RECORD, name, members)


REFUSE = Node(kernel.REFUSE)
"""A member that has to be read otherwise."""
MAP = Node(kernel.MAP)
"""An object whose members are attributes."""
_INNER = ("stringValue", "string_value", "boolValue", "bool_value", "doubleValue", "double_value")
_ANY_VALUE = Node(
    kernel.VALUE,
    members={_INNER: Node(kernel.INNER), ("intValue", "int_value"): Node(kernel.INNER_INT)},
)
KEY_VALUES = [Node(kernel.PAIR, members={"key": Node(kernel.KEY), "value": _ANY_VALUE})]
"""OTLP's attributes."""
TAGS = [Node(kernel.PAIR, members={"key": Node(kernel.KEY), "value": Node(kernel.VALUE)})]
"""Jaeger's attributes."""


class Shape:
    """A format's automaton: the tables that ``json_walk.walk`` is driven by."""

    def __init__(self, document: Node) -> None:
        """Build it; a list of documents is read like its elements."""
        self.fields: dict[str, int] = {}
        self.levels: dict[str, int] = {}
        rows: list[_State] = [_State(), _State(kernel.VALUE), _State()]
        self._add(rows, document, kernel.ROOT)
        rows[kernel.ROOT].element = kernel.ROOT
        rows[kernel.ROOT].objects_only = False
        names, ends, targets, first = b"", [0], [], [0]
        for row in rows:
            for name, target in row.members.items():
                names += name.encode()
                ends.append(len(names))
                targets.append(target)
            first.append(len(targets))
        self.tables = (
            np.array(first), np.frombuffer(names, np.uint8), np.array(ends), np.array(targets),
            np.array([row.any_member for row in rows]), np.array([row.element for row in rows]),
            np.array([row.action for row in rows]), np.array([row.argument for row in rows]),
            np.array([row.objects_only for row in rows]),
            np.array([row.arrays_only for row in rows]), len(self.fields),
        )  # fmt: skip

    def _add(self, rows: list[_State], what: Any, at: int) -> None:
        row = rows[at]
        members: Members = what if isinstance(what, dict) else {}
        if isinstance(what, Node):
            members, row.action = what.members, what.action
            if what.action == kernel.FIELD:
                row.argument = self.fields.setdefault(what.name, len(self.fields))
            elif what.action == kernel.RECORD:
                row.argument = self.levels.setdefault(what.name, len(self.levels))
            row.objects_only = what.action in (kernel.RECORD, kernel.PAIR, kernel.MAP)
        elif isinstance(what, list):
            row.arrays_only, row.element = True, len(rows)
            rows.append(_State())
            self._add(rows, what[0], row.element)
        else:
            row.objects_only = True
        for names, inner in members.items():
            target = len(rows)
            rows.append(_State())
            self._add(rows, inner, target)
            if names == "*":
                row.any_member = target
            else:
                spellings = (names,) if isinstance(names, str) else names
                row.members.update(dict.fromkeys(spellings, target))


@dataclass(slots=True)
class _State:
    action: int = kernel.NOTHING
    argument: int = -1
    members: dict[str, int] = field(default_factory=dict)
    any_member: int = kernel.IGNORED
    element: int = kernel.IGNORED
    objects_only: bool = False
    arrays_only: bool = False


def bytes_of(content: bytes) -> NDArray[np.uint8]:
    """Give a text as the kernel wants it: with a quote and zeros behind it."""
    return np.frombuffer(content + b'"' + bytes(15), np.uint8)
