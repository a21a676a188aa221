"""What number stands under a key of a JSON text? The plain cases, read where they lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.compiled import compiled

ABSENT, READ, DOUBTFUL = range(3)
"""The key is not mentioned; its number was read; it is mentioned in some other way."""
_QUOTE, _COLON, _COMMA, _CLOSE, _MINUS, _ZERO, _NINE = 0x22, 0x3A, 0x2C, 0x7D, 0x2D, 0x30, 0x39
_BLANK = 0x20
_EXACT_DIGITS = 15
"""A whole number of so many digits is exact as a double."""


@compiled
def plain_numbers(
    data: NDArray[np.uint8],
    offsets: NDArray[np.integer],
    key: NDArray[np.uint8],
    numbers: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """Read ``"key":123`` or ``"key": "123"`` out of each text; say of each how it went.

    ``numbers`` is written where one was read.
    """
    found = np.zeros(numbers.size, np.uint8)
    for row in range(numbers.size):
        begin, end = int(offsets[row]), int(offsets[row + 1])
        at = _place(data, begin, end, key)
        if at < 0:
            continue
        found[row] = DOUBTFUL
        after = at + key.size
        opened = at > begin and data[at - 1] == _QUOTE
        if not opened or after + 2 >= end or data[after] != _QUOTE or data[after + 1] != _COLON:
            continue
        after += 2
        while after < end - 1 and data[after] == _BLANK:
            after += 1
        quoted = data[after] == _QUOTE
        after += quoted
        negative = after < end and data[after] == _MINUS
        after += negative
        first, value = after, 0.0
        while after < end and _ZERO <= data[after] <= _NINE:
            value = 10.0 * value + (data[after] - _ZERO)
            after += 1
        if not 0 < after - first <= _EXACT_DIGITS or after >= end:
            continue
        closing = data[after]
        if closing == _QUOTE if quoted else closing in (_COMMA, _CLOSE):
            numbers[row] = -value if negative else value
            found[row] = READ
    return found


@compiled
def _place(data: NDArray[np.uint8], begin: int, end: int, key: NDArray[np.uint8]) -> int:
    """Where the key is first mentioned in a text; -1: nowhere."""
    last = key.size - 1
    for at in range(begin, end - last):
        if data[at] != key[0] or data[at + last] != key[last]:
            continue
        k = 1
        while k < last and data[at + k] == key[k]:
            k += 1
        if k >= last:
            return at
    return -1
