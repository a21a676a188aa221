"""Where does each element of a JSON array begin and end? Found without parsing any of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.compiled import compiled

_QUOTE, _BACKSLASH, _COMMA = 0x22, 0x5C, 0x2C
_OPEN, _CLOSE, _OPEN_ARRAY, _CLOSE_ARRAY = 0x7B, 0x7D, 0x5B, 0x5D
_SPACE = 0x20
"""The characters of JSON's grammar that tell where a value ends."""


@compiled
def objects(data: NDArray[np.uint8], begin: int) -> tuple[NDArray[np.int64], int]:
    """List where the objects of the array whose first element may be at ``begin`` begin and end.

    Begin and end take turns; the second value is the place of the closing bracket. It is -1 where
    the array does not close, or holds anything but objects with single commas between them: then
    the list says nothing.
    """
    found = np.empty(64, np.int64)
    count = depth = 0
    wanted = True  # an object may follow; else a comma
    i = begin
    while i < data.size:
        byte = data[i]
        if byte == _QUOTE:
            if depth == 0:
                break
            i += 1
            while i < data.size and data[i] != _QUOTE:
                i += 2 if data[i] == _BACKSLASH else 1
        elif byte in (_OPEN, _OPEN_ARRAY):
            if depth == 0:
                if byte != _OPEN or not wanted:
                    break
                if count + 2 > found.size:
                    found = np.concatenate((found, np.empty(found.size, np.int64)))
                found[count] = i
                wanted = False
            depth += 1
        elif byte in (_CLOSE, _CLOSE_ARRAY):
            if depth == 0:
                closed = byte == _CLOSE_ARRAY and (not wanted or count == 0)
                return found[:count], i if closed else -1
            depth -= 1
            if depth == 0:
                found[count + 1] = i + 1
                count += 2
        elif depth == 0 and byte > _SPACE:
            if byte != _COMMA or wanted:
                break
            wanted = True
        i += 1
    return found[:0], -1


@compiled
def documents(data: NDArray[np.uint8], begin: int) -> tuple[NDArray[np.int64], int]:
    """List where each object or array that stands by itself in a text begins and ends.

    What lies between them is passed over. The second value is the place of one that does not
    close, after which nothing is listed; -1 where all do.
    """
    found = np.empty(64, np.int64)
    count = depth = 0
    i = begin
    start = -1
    while i < data.size:
        byte = data[i]
        if depth == 0:
            if byte in (_OPEN, _OPEN_ARRAY):
                start = i
                depth = 1
        elif byte == _QUOTE:
            i += 1
            while i < data.size and data[i] != _QUOTE:
                i += 2 if data[i] == _BACKSLASH else 1
        elif byte in (_OPEN, _OPEN_ARRAY):
            depth += 1
        elif byte in (_CLOSE, _CLOSE_ARRAY):
            depth -= 1
            if depth == 0:
                if count + 2 > found.size:
                    found = np.concatenate((found, np.empty(found.size, np.int64)))
                found[count] = start
                found[count + 1] = i + 1
                count += 2
        i += 1
    return found[:count], start if depth else -1
