"""Ids as words of eight bytes: their hashes, and which of them are equal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.compiled import compiled

_MULTIPLIER = np.uint64(0xFF51AFD7ED558CCD)
_HALF = np.uint64(32)
"""The finaliser of MurmurHash3's 64-bit variant (Appleby, 2011), one round a word and one more:
ids that count upwards differ in the last word's highest byte, which one round leaves high.
"""
_WORD = 8
_NOUGHT, _NINE, _SMALL_A = ord("0"), ord("9"), ord("a")
_HEX_WORDS = 2
_NO_DIGITS = np.uint64(0xFFFFFFFFFFFFFFFF)
_ONES = np.uint64(0x0101010101010101)
_LOW_HALVES = np.uint64(0x0F0F0F0F0F0F0F0F)
_SIXES = np.uint64(0x0606060606060606)
_ZEROS = np.uint64(0x3030303030303030)
"""The same byte eight times: 1, the low half, 6, and the character 0."""


@compiled
def padded(
    data: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Put ids of any length into whole words: the length first, then the bytes, then zeros."""
    places = np.zeros(offsets.size, np.int64)
    for i in range(offsets.size - 1):
        length = offsets[i + 1] - offsets[i]
        places[i + 1] = places[i] + (1 + (length + _WORD - 1) // _WORD if length else 0)
    words = np.zeros(places[-1], np.uint64)
    for i in range(offsets.size - 1):
        if places[i + 1] == places[i]:
            continue
        words[places[i]] = np.uint64(offsets[i + 1] - offsets[i])
        for k in range(offsets[i], offsets[i + 1]):
            byte = k - offsets[i]
            shift = np.uint64(8 * (byte % _WORD))
            words[places[i] + 1 + byte // _WORD] |= np.uint64(data[k]) << shift
    return words, places


@compiled
def hash_of(words: NDArray[np.uint64], begin: int, end: int) -> np.uint64:
    """Hash one id; 0 is kept for 'missing'."""
    value = np.uint64(end - begin)
    for k in range(begin, end):
        value = (value ^ words[k]) * _MULTIPLIER
        value ^= value >> _HALF
    value *= _MULTIPLIER
    value ^= value >> _HALF
    return value if value != np.uint64(0) else np.uint64(1)


@compiled
def hashes(words: NDArray[np.uint64], places: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hash each id; a missing (empty) one has 0."""
    found = np.zeros(places.size - 1, np.uint64)
    for i in range(found.size):
        if places[i + 1] > places[i]:
            found[i] = hash_of(words, places[i], places[i + 1])
    return found


@compiled
def same(
    a: NDArray[np.uint64], a_from: int, a_to: int, b: NDArray[np.uint64], b_from: int, b_to: int
) -> bool:
    """Whether two ids are equal."""
    if a_to - a_from != b_to - b_from:
        return False
    for k in range(a_to - a_from):
        if a[a_from + k] != b[b_from + k]:
            return False
    return True


@compiled
def numbered(
    words: NDArray[np.uint64], places: NDArray[np.int64]
) -> tuple[NDArray[np.int32], int]:
    """Number the traces in order of first appearance: one code a row, and how many there are.

    Rows without a trace id share one code: nothing tells them apart. A row with the id of the row
    before, the usual case, is not looked up.
    """
    n = places.size - 1
    codes = np.empty(n, np.int32)
    size = 1024
    table = np.full(size, -1, np.int32)
    firsts = np.empty(512, np.int32)
    keys = np.empty(512, np.uint64)
    count = 0
    for i in range(n):
        if i > 0 and same(words, places[i], places[i + 1], words, places[i - 1], places[i]):
            codes[i] = codes[i - 1]
            continue
        key = hash_of(words, places[i], places[i + 1])
        slot = np.int64(key & np.uint64(size - 1))
        while table[slot] >= 0:
            first = firsts[table[slot]]
            if keys[table[slot]] == key and same(
                words, places[i], places[i + 1], words, places[first], places[first + 1]
            ):
                break
            slot = (slot + 1) & (size - 1)
        if table[slot] >= 0:
            codes[i] = table[slot]
            continue
        table[slot] = count
        firsts[count] = i
        keys[count] = key
        codes[i] = count
        count += 1
        if 2 * count >= size:
            size, table, firsts, keys = _grown(size, count, firsts, keys)
    return codes, count


@compiled
def _grown(
    size: int, count: int, firsts: NDArray[np.int32], keys: NDArray[np.uint64]
) -> tuple[int, NDArray[np.int32], NDArray[np.int32], NDArray[np.uint64]]:
    """Four times the room, every trace put in its new place."""
    size *= 4
    table = np.full(size, -1, np.int32)
    kept = np.empty(size // 2, np.int32)
    kept[:count] = firsts[:count]
    kept_keys = np.empty(size // 2, np.uint64)
    kept_keys[:count] = keys[:count]
    for code in range(count):
        slot = np.int64(keys[code] & np.uint64(size - 1))
        while table[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        table[slot] = code
    return size, table, kept, kept_keys


@compiled
def is_even(offsets: NDArray[np.int64], width: int) -> bool:
    """Whether all ids are so many bytes long."""
    for i in range(offsets.size - 1):
        if offsets[i + 1] - offsets[i] != width:
            return False
    return True


@compiled
def nothing_known(width: int) -> tuple[NDArray[np.int32], NDArray[np.uint64], int]:
    """What ``number_on`` begins with: no id is known yet."""
    return np.full(1024, -1, np.int32), np.empty(512 * width, np.uint64), 0


@compiled
def number_on(
    words: NDArray[np.uint64], width: int, codes: NDArray[np.int32],
    table: NDArray[np.int32], held: NDArray[np.uint64], count: int,
) -> tuple[NDArray[np.int32], NDArray[np.uint64], int]:  # fmt: skip
    """Number ids of ``width`` words as ``numbered`` does, going on from the chunk before.

    ``codes`` is written. ``table``, ``held`` (the words of the ids known) and ``count`` are what
    the call before gave; they may be changed.
    """
    expected = count
    for i in range(codes.size):
        begin, end = i * width, (i + 1) * width
        if i > 0 and same(words, begin, end, words, begin - width, begin):
            codes[i] = codes[i - 1]
            continue
        other = expected * width  # rows often go through the traces in the same order again
        if expected < count and same(words, begin, end, held, other, other + width):
            codes[i] = expected
            expected += 1
            continue
        slot = _held_slot(words, begin, width, table, held)
        if table[slot] < 0:
            table[slot] = count
            held[count * width : (count + 1) * width] = words[begin:end]
            count += 1
        codes[i] = table[slot]
        expected = codes[i] + 1
        if 2 * count >= table.size:
            table = np.full(4 * table.size, -1, np.int32)
            more = np.empty(4 * held.size, np.uint64)
            more[: count * width] = held[: count * width]
            held = more
            for code in range(count):
                table[_held_slot(held, code * width, width, table, held)] = code
    return table, held, count


@compiled
def _held_slot(
    words: NDArray[np.uint64], begin: int, width: int,
    table: NDArray[np.int32], held: NDArray[np.uint64],
) -> np.int64:  # fmt: skip
    """Where in the table the id is, or the free place where it would go."""
    end, last = begin + width, table.size - 1
    slot = np.int64(hash_of(words, begin, end) & np.uint64(last))
    while table[slot] >= 0:
        other = table[slot] * width
        if same(words, begin, end, held, other, other + width):
            break
        slot = (slot + 1) & last
    return slot


@compiled
def reach(
    rows: NDArray[np.int32], bounds: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """From where to where in ``rows`` are rows of each chunk; chunk c begins at ``bounds[c]``."""
    first = np.full(bounds.size - 1, rows.size, np.int64)
    last = np.zeros(bounds.size - 1, np.int64)
    chunk = 0
    for i in range(rows.size if bounds.size > 1 else 0):
        if not bounds[chunk] <= rows[i] < bounds[chunk + 1]:
            chunk = np.searchsorted(bounds, rows[i], side="right") - 1
        first[chunk] = min(first[chunk], i)
        last[chunk] = i + 1
    return np.minimum(first, last), last


@compiled
def taken(
    words: NDArray[np.uint64], width: int, rows: NDArray[np.int32], begin: int,
    found: NDArray[np.uint64],
) -> None:  # fmt: skip
    """Write the ids of those rows that lie in this chunk, which begins at row ``begin``."""
    count = words.size // width
    for i in range(rows.size):
        row = rows[i] - begin
        if 0 <= row < count:
            for k in range(width):
                found[i * width + k] = words[row * width + k]


@compiled
def hex_keys(
    words: NDArray[np.uint64],
    places: NDArray[np.int64],
    keys: NDArray[np.uint64],
    given: NDArray[np.bool_],
) -> bool:
    """Read ids of 16 lower-case hex digits as numbers; False where one is anything else.

    ``given`` is False for an empty id. ``keys`` and ``given`` are written, one place an id.
    """
    for i in range(keys.size):
        begin, length = places[i], places[i + 1] - places[i]
        given[i] = length > 0
        if length == 0:
            keys[i] = 0
            continue
        if length != _HEX_WORDS:
            return False
        high, low = _eight_digits(words[begin]), _eight_digits(words[begin + 1])
        if max(high, low) == _NO_DIGITS:
            return False
        keys[i] = (high << _HALF) | low
    return True


@compiled
def _eight_digits(word: np.uint64) -> np.uint64:
    """Read eight hex characters at once as a number of 32 bits; ``_NO_DIGITS`` for others.

    A letter has bit 6 set and its low four bits are its value less 9. Writing the digits out again
    and comparing proves that they were digits.
    """
    letters = (word >> np.uint64(6)) & _ONES
    digits = (word & _LOW_HALVES) + letters * np.uint64(9)
    above_nine = ((digits + _SIXES) >> np.uint64(4)) & _ONES
    if digits + _ZEROS + above_nine * np.uint64(39) != word:
        return _NO_DIGITS
    pairs = ((digits << np.uint64(4)) | (digits >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    halves = (pairs | (pairs >> np.uint64(8))) & np.uint64(0x0000FFFF0000FFFF)
    found = (halves | (halves >> np.uint64(16))) & np.uint64(0xFFFFFFFF)
    swapped = ((found & np.uint64(0x00FF00FF)) << np.uint64(8)) | (
        (found >> np.uint64(8)) & np.uint64(0x00FF00FF)
    )
    return ((swapped & np.uint64(0xFFFF)) << np.uint64(16)) | (swapped >> np.uint64(16))


@compiled
def dense(codes: NDArray[np.int32], size: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Renumber, in place, the codes below ``size`` that occur, keeping their order.

    Gives the old code of each new one, and the new codes.
    """
    place = np.full(size, -1, np.int32)
    for code in codes:
        place[code] = 0
    count = 0
    used = np.empty(size, np.int64)
    for code in range(size):
        if place[code] == 0:
            place[code] = count
            used[count] = code
            count += 1
    for i in range(codes.size):
        codes[i] = place[codes[i]]
    return used[:count], codes


@compiled
def looked_up(codes: NDArray[np.int32], values: NDArray[Any], found: NDArray[Any]) -> None:
    """Write the value of each code."""
    for i in range(codes.size):
        found[i] = values[codes[i]]


@compiled
def is_lower_case(data: NDArray[np.uint8], places: NDArray[np.int64], digits: int) -> bool:
    """Whether each id that is given has so many characters, none of them ``:`` to backquote.

    Between the digits and the lower-case letters lie the upper-case ones: an id of hex digits has
    none of these. An id that is missing has no characters.
    """
    for i in range(places.size - 1):
        length = places[i + 1] - places[i]
        if length not in (0, digits):
            return False
    strange = 0
    for k in range(places[0], places[-1]):
        strange += (data[k] > _NINE) & (data[k] < _SMALL_A) | (data[k] < _NOUGHT)
    return strange == 0
