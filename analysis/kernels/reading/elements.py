"""Where does each JSON document of a text begin and end? Found without parsing any of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.compiled import compiled

_QUOTE, _BACKSLASH = 0x22, 0x5C
_OPEN, _CLOSE, _OPEN_ARRAY, _CLOSE_ARRAY = 0x7B, 0x7D, 0x5B, 0x5D
"""The characters of JSON's grammar that tell where a value ends."""


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
