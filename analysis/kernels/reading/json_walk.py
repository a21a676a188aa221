"""Where in JSON text is what? One walk over the text, without an object for any value in it.

What is looked for is an automaton (``analysis.formats.walked.shape``): a state for each place that
a document can have, what is noted there, and the states of its members and elements. All of the
text is held against JSON's grammar (RFC 8259), whether it is noted or not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.compiled import compiled

NOTHING, FIELD, RECORD, PAIR, KEY, VALUE, INNER, INNER_INT, MAP, REFUSE = range(10)
"""What a state notes: nothing; a value's place as its record's field; that a record begins, or a
pair of a list of attributes; a pair's key or value; the value inside OTLP's AnyValue; that every
member is an attribute; that the walk is to end without an answer.
"""
IGNORED, OF_MAP, ROOT = range(3)
"""States of every automaton: what nobody asks for, a map's value, a whole document."""
RAW, COUNTED, CONVERTED = range(3)
"""Forms of a value: copied as it stands; a whole number in quotes; one to be read and written."""
OWNER, KEY_BEGIN, KEY_END, BEGIN, END, FORM = range(6)
"""Columns of pairs."""
_DEEPEST = 200
_QUOTE, _BACKSLASH, _COMMA, _COLON = 0x22, 0x5C, 0x2C, 0x3A
_OPEN, _CLOSE, _OPEN_ARRAY, _CLOSE_ARRAY = 0x7B, 0x7D, 0x5B, 0x5D
_AT_VALUE, _AT_FIRST, _AT_NAME, _AT_FIRST_NAME, _AFTER = range(5)
"""What may come next: a value; an element or the array's end; a name; a name or the object's end;
a comma or an end."""
_STOPS = np.zeros(256, np.bool_)
"""Bytes that do not simply go on with a text: control characters, a quote, a backslash."""
_STOPS[:32] = True
_STOPS[[_QUOTE, _BACKSLASH]] = True
_SPACES = np.zeros(256, np.bool_)
_SPACES[list(b" \n\r\t")] = True
_ESCAPED = np.zeros(256, np.bool_)
_ESCAPED[list(b'"\\/bfnrtu')] = True


@compiled
def _is_digit(byte: int) -> bool:
    return 48 <= byte <= 57


@compiled
def _is_hex(byte: int) -> bool:
    return 48 <= byte <= 57 or 65 <= byte <= 70 or 97 <= byte <= 102


@compiled
def _text(data: NDArray[np.uint8], i: int) -> tuple[int, bool]:
    """Give the place after the quote that ends the text, and whether it can be spelt otherwise.

    ``i`` is the place after the quote that begins it; -1 for what is no text. Lone surrogates, and
    pairs of them, are left to whoever reads JSON otherwise.
    """
    odd = False
    while True:
        while not _STOPS[data[i]]:
            i += 1
        byte = data[i]
        if byte == _QUOTE:
            return i + 1, odd
        if byte != _BACKSLASH:
            return -1, odd
        escape = data[i + 1]
        if not _ESCAPED[escape]:
            return -1, odd
        if escape == 0x75:  # u
            for k in range(2, 6):
                if not _is_hex(data[i + k]):
                    return -1, odd
            if data[i + 2] in (0x64, 0x44) and not (48 <= data[i + 3] <= 55):
                return -1, odd
            odd = True
            i += 4
        odd = odd or escape == 0x2F
        i += 2


@compiled
def _scalar(data: NDArray[np.uint8], i: int) -> int:  # noqa: PLR0911 - the grammar as it stands
    """Give the place after a number, true, false or null; -1 for anything else."""
    byte = data[i]
    if byte == 0x74:  # true
        return i + 4 if data[i + 1] == 0x72 and data[i + 2] == 0x75 and data[i + 3] == 0x65 else -1
    if byte == 0x6E:  # null
        return i + 4 if data[i + 1] == 0x75 and data[i + 2] == 0x6C and data[i + 3] == 0x6C else -1
    if byte == 0x66:  # false
        alse = data[i + 1] == 0x61 and data[i + 2] == 0x6C and data[i + 3] == 0x73
        return i + 5 if alse and data[i + 4] == 0x65 else -1
    if byte == 0x2D:
        i += 1
    if not _is_digit(data[i]):
        return -1
    if data[i] == 48:
        i += 1
    else:
        while _is_digit(data[i]):
            i += 1
    if data[i] == 0x2E:
        i += 1
        if not _is_digit(data[i]):
            return -1
        while _is_digit(data[i]):
            i += 1
    if data[i] in (0x65, 0x45):
        i += 1
        if data[i] in (0x2B, 0x2D):
            i += 1
        if not _is_digit(data[i]):
            return -1
        while _is_digit(data[i]):
            i += 1
    return i


@compiled
def _member(
    data: NDArray[np.uint8], begin: int, end: int, state: int, first: NDArray[np.int64],
    names: NDArray[np.uint8], ends: NDArray[np.int64], targets: NDArray[np.int64],
    hints: NDArray[np.int64],
) -> int:  # fmt: skip
    """Give the state of a member by its name, -1 where nobody asks for it.

    Members come in the same order again and again: the one after the last is tried first.
    """
    low, high = first[state], first[state + 1]
    length = end - begin
    at = hints[state]
    for _ in range(high - low):
        if at >= high:
            at = low
        start = ends[at]
        if ends[at + 1] - start == length:
            k = 0
            while k < length and names[start + k] == data[begin + k]:
                k += 1
            if k == length:
                hints[state] = at + 1
                return int(targets[at])
        at += 1
    return -1


@compiled
def walk(  # noqa: PLR0915 - one loop over the text
    data: NDArray[np.uint8], size: int, first: NDArray[np.int64], names: NDArray[np.uint8],
    ends: NDArray[np.int64], targets: NDArray[np.int64], any_member: NDArray[np.int64],
    element: NDArray[np.int64], action: NDArray[np.int64], argument: NDArray[np.int64],
    is_object: NDArray[np.bool_], is_array: NDArray[np.bool_], fields: int,
) -> tuple[bool, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """Note where everything is in documents that stand one after the other.

    ``data`` goes on behind ``size`` with a quote and some zeros, so that no text runs past its
    end. Gives whether all of it is JSON of this shape; records (level, the record it is in); the
    places of their fields (begin, end; -1 where there is none; the last field is the name of a
    member that is a record); pairs.
    """
    room = size // 256 + 64  # memory that is not touched costs nothing
    records, places = np.empty((room, 2), np.int64), np.empty((room, fields + 1, 2), np.int64)
    pairs = np.empty((4 * room, 6), np.int64)
    states, begins = np.empty(_DEEPEST, np.int64), np.empty(_DEEPEST, np.int64)
    outer, arrays = np.empty(_DEEPEST, np.int64), np.empty(_DEEPEST, np.bool_)
    hints = first[:-1].copy()
    record_count = pair_count = depth = i = 0
    name_begin = name_end = -1
    record, state, mode = -1, ROOT, _AT_VALUE
    while True:
        while _SPACES[data[i]]:
            i += 1
        if i >= size:
            whole = i == size and depth == 0 and mode == _AT_VALUE
            return whole, records[:record_count], places[:record_count], pairs[:pair_count]
        byte = data[i]
        if mode == _AFTER:
            if byte == _COMMA:
                i += 1
                if arrays[depth - 1]:
                    state, mode = element[states[depth - 1]], _AT_VALUE
                else:
                    mode = _AT_NAME
                continue
            if byte != (_CLOSE_ARRAY if arrays[depth - 1] else _CLOSE):
                break
        elif mode == _AT_NAME or (mode == _AT_FIRST_NAME and byte != _CLOSE):
            if byte != _QUOTE:
                break
            name_begin = i
            i, odd = _text(data, i + 1)
            if i < 0:
                break
            name_end = i
            while _SPACES[data[i]]:
                i += 1
            if data[i] != _COLON:
                break
            i += 1
            above = states[depth - 1]
            if action[above] == MAP:
                if pair_count == len(pairs):
                    pairs = np.concatenate((pairs, np.empty_like(pairs)))
                pairs[pair_count] = record, name_begin, name_end, -1, -1, RAW
                pair_count += 1
                state = OF_MAP
            else:
                state = _member(
                    data, name_begin + 1, name_end - 1, above, first, names, ends, targets, hints
                )
                if state < 0:
                    state = any_member[above]
            mode = _AT_VALUE
            if action[state] == REFUSE:
                break
            continue
        elif byte in (_OPEN, _OPEN_ARRAY):
            if depth == _DEEPEST or (is_array[state] if byte == _OPEN else is_object[state]):
                break
            states[depth], begins[depth], outer[depth] = state, i, record
            arrays[depth] = byte == _OPEN_ARRAY
            depth += 1
            i += 1
            if byte == _OPEN_ARRAY:
                state, mode = element[state], _AT_FIRST
                continue
            mode = _AT_FIRST_NAME
            if action[state] == RECORD:
                if record_count == len(records):
                    records = np.concatenate((records, np.empty_like(records)))
                    places = np.concatenate((places, np.empty_like(places)))
                for field in range(fields):
                    places[record_count, field, 0] = places[record_count, field, 1] = -1
                records[record_count] = argument[state], record
                places[record_count, fields] = name_begin, name_end
                record = record_count
                record_count += 1
            elif action[state] == PAIR:
                if pair_count == len(pairs):
                    pairs = np.concatenate((pairs, np.empty_like(pairs)))
                pairs[pair_count] = record, -1, -1, -1, -1, RAW
                pair_count += 1
            continue
        odd = False
        if mode in (_AFTER, _AT_FIRST_NAME) or (mode == _AT_FIRST and byte == _CLOSE_ARRAY):
            depth -= 1
            state, begin, record = states[depth], begins[depth], outer[depth]
            i += 1
            odd = True
        else:
            begin = i
            if state == ROOT or ((is_object[state] or is_array[state]) and byte != 0x6E):
                break  # only null may stand for an object or array
            if byte == _QUOTE:
                i, odd = _text(data, i + 1)
            else:
                i = _scalar(data, i)
            if i < 0:
                break
        mode = _AFTER if depth else _AT_VALUE
        what = action[state]
        if what == FIELD:
            places[record, argument[state]] = begin, i
        elif what == KEY:
            pairs[pair_count - 1, KEY_BEGIN] = begin
            pairs[pair_count - 1, KEY_END] = i
        elif what in (VALUE, INNER, INNER_INT) and pairs[pair_count - 1, BEGIN] < 0:
            pairs[pair_count - 1, BEGIN] = begin
            pairs[pair_count - 1, END] = i
            counted = what == INNER_INT and data[begin] == _QUOTE
            pairs[pair_count - 1, FORM] = COUNTED if counted else CONVERTED if odd else RAW
        if depth == 0:
            state, record = ROOT, -1
    return False, records[:0], places[:0], pairs[:0]


@compiled
def texts(
    data: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64],
    skipped: int, lower: bool,
) -> tuple[bool, NDArray[np.uint8], NDArray[np.int64]]:  # fmt: skip
    """Copy what stands between quotes, without its first ``skipped`` bytes; in lower case.

    A missing value and null have no bytes. Gives whether all are plain texts; the bytes; offsets.
    """
    room = 0
    for i in range(begins.size):
        room += max(ends[i] - begins[i] - 2 - skipped, 0)
    found, offsets = np.empty(room, np.uint8), np.zeros(begins.size + 1, np.int64)
    at = 0
    for i in range(begins.size):
        begin, end = begins[i], ends[i]
        if begin >= 0 and data[begin] == _QUOTE:
            for k in range(begin + 1 + skipped, end - 1):
                byte = data[k]
                if byte == _BACKSLASH:
                    return False, found, offsets
                found[at] = byte + 32 if lower and 65 <= byte <= 90 else byte
                at += 1
        elif begin >= 0 and data[begin] != 0x6E:
            return False, found, offsets
        offsets[i + 1] = at
    return True, found[:at], offsets


@compiled
def numbers(
    data: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[bool, NDArray[np.int64], NDArray[np.bool_]]:
    """Read whole numbers, in quotes or not: whether all are such, they, which are missing."""
    found, missing = np.zeros(begins.size, np.int64), np.zeros(begins.size, np.bool_)
    for i in range(begins.size):
        begin, end = begins[i], ends[i]
        if begin < 0 or data[begin] == 0x6E:
            missing[i] = True
            continue
        if data[begin] == _QUOTE:
            begin, end = begin + 1, end - 1
        if not 0 < end - begin < 20:
            return False, found, missing
        value = np.int64(0)
        for k in range(begin, end):
            if not _is_digit(data[k]):
                return False, found, missing
            value = value * 10 + (np.int64(data[k]) - 48)
        if value < 0:  # beyond int64
            return False, found, missing
        found[i] = value
    return True, found, missing


@compiled
def objects(  # noqa: PLR0915 - one loop that writes
    data: NDArray[np.uint8], pairs: NDArray[np.int64], rows: NDArray[np.int64],
    codes: NDArray[np.int64], fragments: NDArray[np.uint8], offsets: NDArray[np.int64],
    kept: NDArray[np.bool_], more: NDArray[np.int64], more_code: int, spans: int,
) -> tuple[bool, NDArray[np.uint8], NDArray[np.int64]]:  # fmt: skip
    """Write each span's JSON object from its pairs, which lie in the order of ``rows``.

    A pair's key is written as the fragment of its code, its value copied. ``more`` is where one
    more text of each span is, whose key has ``more_code``. A span without a kept pair has no text.
    False where a span has a key twice, or a counted number is none.
    """
    more_key = offsets[more_code + 1] - offsets[more_code]
    room = 2 * spans
    for span in range(spans):
        room += max(more[span, 1] - more[span, 0] + more_key + 1, 0)
    for p in range(len(pairs)):
        if kept[p]:
            value = max(pairs[p, END] - pairs[p, BEGIN], 4)
            room += offsets[codes[p] + 1] - offsets[codes[p]] + value + 1
    text, ends = np.empty(room, np.uint8), np.zeros(spans + 1, np.int64)
    seen = np.full(offsets.size, -1, np.int64)
    at = p = 0
    for span in range(spans):
        begun = at
        while p < len(pairs) and rows[p] == span:
            code = codes[p]
            if seen[code] == span:
                return False, text[:0], ends
            seen[code] = span
            if kept[p]:
                text[at] = 0x2C if at > begun else _OPEN
                at += 1
                for k in range(offsets[code], offsets[code + 1]):
                    text[at] = fragments[k]
                    at += 1
                begin, end = pairs[p, BEGIN], pairs[p, END]
                if pairs[p, FORM] == COUNTED:
                    begin, end = begin + 1, end - 1
                    digits = begin + (data[begin] == 0x2D)
                    if digits == end or (data[digits] == 48 and end - begin > 1):
                        return False, text[:0], ends
                    for k in range(digits, end):
                        if not _is_digit(data[k]):
                            return False, text[:0], ends
                if begin < 0:
                    text[at], text[at + 1], text[at + 2], text[at + 3] = 0x6E, 0x75, 0x6C, 0x6C
                    at += 4
                for k in range(begin, end):
                    text[at] = data[k]
                    at += 1
            p += 1
        begin, end = more[span]
        if end - begin > 2 and data[begin] == _QUOTE:
            if seen[more_code] == span:
                return False, text[:0], ends
            text[at] = 0x2C if at > begun else _OPEN
            at += 1
            for k in range(offsets[more_code], offsets[more_code + 1]):
                text[at] = fragments[k]
                at += 1
            for k in range(begin, end):
                text[at] = data[k]
                at += 1
        if at > begun:
            text[at] = _CLOSE
            at += 1
        ends[span + 1] = at
    return True, text[:at], ends
