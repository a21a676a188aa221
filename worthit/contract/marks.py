"""Marks: the moments at which one block of an arm ends and the next begins.

A script sends them while a recording goes on (``worthit mark``), or a file told them beforehand
(``worthit record --schedule``). The recorder appends what is sent to a file; in a run directory
each is an event of the kind ``mark``, from which the analysis places requests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from worthit.contract.errors import UserMistakeError

MARK: Final = "mark"
"""Kind of the event in events.parquet."""

MARKS_PATH: Final = "/marks"
"""Where the recorder takes them by HTTP POST."""

RECORDER_VARIABLE: Final = "WORTHIT_RECORDER"
"""Environment variable: the address of the recorder that marks are sent to."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Mark:
    """From this moment on, requests are of an arm; without one, of none."""

    t_ns: int
    arm: str | None
    block: int | None = None
    """Which repeat of the arm; without it, blocks are numbered as they come."""

    def detail(self) -> dict[str, Any]:
        """Give the event's detail."""
        return {"arm": self.arm, "block": self.block}


def mark_from(content: object, t_ns: int) -> Mark:
    """Read a mark from what was sent, or from an event's detail.

    Raises
    ------
    UserMistakeError
        It is not ``{"arm": a name or null, "block": a number from 0 on, or null}``.
    """
    if not isinstance(content, dict) or not content.keys() <= {"arm", "block"}:
        raise UserMistakeError('A mark is {"arm": "off", "block": 3}, where block may be missing.')
    arm, block = content.get("arm"), content.get("block")
    if arm is not None and (not isinstance(arm, str) or not arm.strip()):
        raise UserMistakeError("The arm of a mark is a name, or null where none is measured.")
    if block is not None and (isinstance(block, bool) or not isinstance(block, int) or block < 0):
        raise UserMistakeError("The block of a mark is a whole number from 0 on.")
    if arm is None and block is not None:
        raise UserMistakeError("A block belongs to an arm; name the arm too.")
    return Mark(t_ns=t_ns, arm=arm, block=block)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time from a mark that names an arm to the next mark."""

    arm: str
    block: int
    start_ns: int
    end_ns: int | None
    """None where no mark follows."""


def windows(marks: Iterable[Mark]) -> tuple[Window, ...]:
    """Give the windows in order of time; a block without a number gets the next one."""
    ordered = sorted(marks, key=lambda mark: mark.t_ns)
    ends: list[int | None] = [*(mark.t_ns for mark in ordered[1:]), None]
    found: list[Window] = []
    used: list[int] = [mark.block for mark in ordered if mark.block is not None]
    for mark, end_ns in zip(ordered, ends, strict=False):
        if mark.arm is None:
            continue
        block = mark.block
        if block is None:
            block = max(used, default=-1) + 1
            used.append(block)
        found.append(Window(arm=mark.arm, block=block, start_ns=mark.t_ns, end_ns=end_ns))
    return tuple(found)


def written(mark: Mark) -> bytes:
    """Give a mark as the recorder keeps it."""
    return json.dumps({"t_ns": mark.t_ns, **mark.detail()}).encode()


def read_written(data: bytes) -> Mark:
    """Read what ``written`` gave."""
    content = json.loads(data)
    return mark_from(content, content.pop("t_ns"))
