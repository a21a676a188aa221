"""What a worker had begun when it died: a page of memory that outlives it.

A worker notes each arrival just before it begins it, in memory that the master on the same machine
has opened too. So when the worker is killed, the master knows at once that it is dead, and which
arrivals nobody can have sent: these go to other workers. Linux only; without it, and on
another machine, the master knows only what the worker last reported.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import select
import struct
from dataclasses import dataclass
from pathlib import Path

from gevent import monkey

_NAME = "worthit-journal"
_TOKEN_BYTES = 16
_BYTES = 64
_NUMBER = struct.Struct("<q")
_IN_TURN_AT, _LATE_AT = 16, 24
NOTHING = -1
"""Noted before the first arrival."""


@dataclass(frozen=True, slots=True)
class Begun:
    """How far a worker has come in what it was given; ``NOTHING`` before its first arrival."""

    in_turn: int = NOTHING
    """The number, within the plan, of the last arrival it began in the schedule's order."""
    late: int = NOTHING
    """The place, among all that were handed to it from lost workers, of the last one begun."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a journal lies: goes to the master in a message."""

    process: int
    descriptor: int
    token: str
    """Says to who opens it that it is the right one: process numbers recur between machines."""


class Journal:
    """The worker's side."""

    def __init__(self) -> None:
        self._memory: mmap.mmap | bytearray = bytearray(_BYTES)
        self.address: Address | None = None
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create(_NAME)
            os.ftruncate(descriptor, _BYTES)
            self._memory = mmap.mmap(descriptor, _BYTES)
            token = secrets.token_bytes(_TOKEN_BYTES)
            self._memory[:_TOKEN_BYTES] = token
            self.address = Address(os.getpid(), descriptor, token.hex())
        self.clear()

    def clear(self) -> None:
        """Begin a new run."""
        self.note_in_turn(NOTHING)
        self.note_late(NOTHING)

    def note_in_turn(self, number: int) -> None:
        """Note, before it begins, the arrival of this number."""
        _NUMBER.pack_into(self._memory, _IN_TURN_AT, number)

    def note_late(self, place: int) -> None:
        """Note, before it begins, the handed-over arrival at this place."""
        _NUMBER.pack_into(self._memory, _LATE_AT, place)

    @property
    def begun(self) -> Begun:
        """How far it has come."""
        return _read(self._memory)


class CrossCheck:
    """The master's side: is the worker dead, and what had it begun?"""

    def __init__(self, process: int, memory: mmap.mmap) -> None:
        self._process = process
        self._memory = memory

    @property
    def dead(self) -> bool:
        """Whether the process has ended, reaped or not; a stopped one has not."""
        # gevent's own poll would hand the process to its event loop, which knows sockets
        poll = monkey.get_original("select", "poll")()
        poll.register(self._process, select.POLLIN)
        return bool(poll.poll(0))

    @property
    def begun(self) -> Begun:
        """How far the worker has come, or had when it died."""
        return _read(self._memory)

    def close(self) -> None:
        """Let go of process and memory."""
        self._memory.close()
        os.close(self._process)


def _read(memory: mmap.mmap | bytearray) -> Begun:
    return Begun(
        int(_NUMBER.unpack_from(memory, _IN_TURN_AT)[0]),
        int(_NUMBER.unpack_from(memory, _LATE_AT)[0]),
    )


def cross_check(address: Address) -> CrossCheck | None:
    """Open a worker's journal; None when it is not on this machine, or not this user's."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        process = os.pidfd_open(address.process)
    except OSError:
        return None
    with contextlib.suppress(OSError, ValueError):
        memory = _memory_at(address)
        if memory is not None:
            return CrossCheck(process, memory)
    os.close(process)
    return None


def _memory_at(address: Address) -> mmap.mmap | None:
    path = Path(f"/proc/{address.process}/fd/{address.descriptor}")
    if not str(path.readlink()).startswith(f"/memfd:{_NAME}"):
        # a stranger's: only to open it might do something
        return None
    with path.open("rb", buffering=0) as file:
        memory = mmap.mmap(file.fileno(), _BYTES, access=mmap.ACCESS_READ)
    if memory[:_TOKEN_BYTES].hex() == address.token:
        return memory
    memory.close()
    return None
