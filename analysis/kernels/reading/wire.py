"""Where in OTLP's protobuf bytes is what? The wire format walked without making an object a span.

Field numbers are those of opentelemetry/proto/trace/v1/trace.proto and common/v1/common.proto. The
bytes must be whole messages: whoever calls has had the protobuf library parse them before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.compiled import compiled

TRACE, SPAN, PARENT, NAME, STATE, KEPT_PLACES = range(6)
"""Columns of places: where a span's ids, name and trace state begin, and how long they are."""
KIND, START, END, STATUS, RESOURCE, PART, KEPT_NUMBERS = range(7)
"""Columns of numbers; the part is the row of ``parts`` that a span stands in."""
_FIXED_64, _BYTES, _FIXED_32 = 1, 2, 5
_RESOURCE_SPANS, _RESOURCE, _SCOPE_SPANS, _SPANS = 0x0A, 0x0A, 0x12, 0x12
_ABOUT, _KEY, _VALUE, _INT, _CODE = 0x0A, 0x0A, 0x12, 0x18, 0x18
_SCOPE = 0x0A
_ATTRIBUTE, _LINK = 0x4A, 0x6A
"""Heads of fields: the number times 8, plus the wire type."""
_FNV_OFFSET, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
"""FNV-1a, 64 bit (draft-eastlake-fnv, section 5)."""


@compiled
def varint(data: NDArray[np.uint8], at: int) -> tuple[np.uint64, int]:
    """Read a base-128 number; give it and the place after it. Never reads past the end."""
    value, shift = np.uint64(0), np.uint64(0)
    while at < data.size:
        byte = np.uint64(data[at])
        at += 1
        value |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            return value, at
        shift += np.uint64(7)
    return value, at + 1


@compiled
def _field(data: NDArray[np.uint8], at: int) -> tuple[int, int, int, int]:
    """Read a field's head: what it is, its content's place and length, where the next begins.

    What it is holds number and wire type, as written: a known number of another type is another
    field, which is what protobuf says of it. A varint's content is its own bytes. Groups,
    which proto3 has none of, are not known here.
    """
    unsigned, begin = varint(data, at)
    head = int(np.int64(unsigned))  # an unsigned one would turn sums to floats
    kind = head & 7
    if kind == _BYTES:
        size, begin = varint(data, begin)
        length = int(np.int64(size))
    elif kind == _FIXED_64:
        length = 8
    elif kind == _FIXED_32:
        length = 4
    else:
        _, after = varint(data, begin)
        length = after - begin
    length = max(0, min(length, data.size - begin))
    return head, begin, length, begin + length


@compiled
def parts(
    data: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """List what whole messages hold of resources and their spans, and count the resources.

    One row a part: its head (a resource, or spans of one scope), resource, begin, end.
    """
    found = np.empty((64, 4), np.int64)
    count = resources = 0
    for message in range(begins.size):
        at = begins[message]
        while at < ends[message]:
            number, begin, length, at = _field(data, at)
            if number != _RESOURCE_SPANS:
                continue
            inner = begin
            while inner < begin + length:
                part, first, size, inner = _field(data, inner)
                if part not in (_RESOURCE, _SCOPE_SPANS):
                    continue
                if count == len(found):
                    found = np.concatenate((found, np.empty_like(found)))
                found[count] = part, resources, first, first + size
                count += 1
            resources += 1
    return found[:count], resources


@compiled
def spans_in(data: NDArray[np.uint8], parts: NDArray[np.int64]) -> tuple[int, int, int]:
    """Count spans, attributes of them and of resources, and links."""
    spans = attributes = links = 0
    for row in range(len(parts)):
        part, _, at, end = parts[row]
        while at < end:
            what, begin, length, at = _field(data, at)
            if part == _RESOURCE:
                attributes += what == _ABOUT
            elif what == _SPANS:
                spans += 1
                inside = begin
                while inside < begin + length:
                    field, _, _, inside = _field(data, inside)
                    attributes += field == _ATTRIBUTE
                    links += field == _LINK
    return spans, attributes, links


@compiled
def walk(
    data: NDArray[np.uint8],
    parts: NDArray[np.int64],
    places: NDArray[np.int64],
    numbers: NDArray[np.int64],
    attributes: NDArray[np.int64],
    links: NDArray[np.int64],
) -> None:
    """Note where everything is.

    ``places`` is spans x ``KEPT_PLACES`` x (begin, length), ``numbers`` spans x ``KEPT_NUMBERS``;
    ``attributes`` (owner, begin, length, value's place or -1: a resource r owns as -1 - r; the
    place is given for an int, and the length is then the key's alone); ``links`` (span, begin,
    length).
    """
    span = attribute = link = 0
    for row in range(len(parts)):
        part, resource, at, end = parts[row]
        while at < end:
            what, begin, length, at = _field(data, at)
            if part == _RESOURCE and what == _ABOUT:
                attributes[attribute] = -1 - resource, begin, length, -1
                attribute += 1
            elif part == _SCOPE_SPANS and what == _SPANS:
                numbers[span, RESOURCE], numbers[span, PART] = resource, row
                attribute, link = _span(
                    data, begin, begin + length, span, places, numbers, attributes, attribute,
                    links, link,
                )  # fmt: skip
                span += 1


@compiled
def scopes(data: NDArray[np.uint8], parts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Say where each part's scope, a message, is: begin and length, 0 without one."""
    found = np.zeros((len(parts), 2), np.int64)
    for row in range(len(parts)):
        part, _, at, end = parts[row]
        while part == _SCOPE_SPANS and at < end:
            what, begin, length, at = _field(data, at)
            if what == _SCOPE:
                found[row] = begin, length
    return found


@compiled
def _span(
    data: NDArray[np.uint8], at: int, end: int, span: int,
    places: NDArray[np.int64], numbers: NDArray[np.int64],
    attributes: NDArray[np.int64], attribute: int, links: NDArray[np.int64], link: int,
) -> tuple[int, int]:  # fmt: skip
    """Note one span's fields."""
    while at < end:
        what, begin, length, at = _field(data, at)
        if what == _ATTRIBUTE:
            attributes[attribute] = _key_value(data, span, begin, length)
            attribute += 1
        elif what == 0x0A or what == 0x12:  # trace_id, span_id
            places[span, (what >> 3) - 1] = begin, length
        elif what == 0x1A:  # trace_state
            places[span, STATE] = begin, length
        elif what == 0x22 or what == 0x2A:  # parent_span_id, name
            places[span, (what >> 3) - 2] = begin, length
        elif what == 0x30:  # kind
            numbers[span, KIND] = np.int64(varint(data, begin)[0])
        elif what == 0x39 or what == 0x41:  # start and end, fixed64
            value = np.uint64(0)
            for k in range(length):
                value |= np.uint64(data[begin + k]) << np.uint64(8 * k)
            numbers[span, (what >> 3) - 6] = np.int64(value)
        elif what == _LINK:
            links[link] = span, begin, length
            link += 1
        elif what == 0x7A:  # status
            inner = begin
            while inner < begin + length:
                part, first, _, inner = _field(data, inner)
                if part == _CODE:
                    numbers[span, STATUS] = np.int64(varint(data, first)[0])
    return attribute, link


@compiled
def _key_value(
    data: NDArray[np.uint8], owner: int, begin: int, length: int
) -> tuple[int, int, int, int]:
    """Say where an attribute is; of one whose int lies behind its key, the key and the int."""
    at, key_end, value = begin, -1, -1
    while at < begin + length:
        what, first, size, at = _field(data, at)
        if what == _KEY:
            key_end = at
        elif what == _VALUE and size > 0 and key_end > 0:
            inner, place, _, after = _field(data, first)
            if inner == _INT and after == first + size:
                value = place
    if value >= 0:
        return owner, begin, key_end - begin, value
    return owner, begin, length, -1


@compiled
def ints(data: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Read the ints at these places; 0 where the place is -1."""
    found = np.zeros(places.size, np.int64)
    for i in range(places.size):
        if places[i] >= 0:
            found[i] = np.int64(varint(data, places[i])[0])
    return found


@compiled
def numbered(
    data: NDArray[np.uint8], begins: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number stretches of bytes: a code each, and the first of every code.

    What followed a stretch before follows it again, mostly: that is looked at before a hash.
    """
    table, hashes = np.full(1024, -1, np.int64), np.empty(512, np.uint64)
    codes, firsts = np.empty(begins.size, np.int64), np.empty(512, np.int64)
    after = np.empty(512, np.int64)
    count, last = 0, -1
    for i in range(begins.size):
        if last >= 0 and after[last] >= 0:
            guess = after[last]
            if _same(data, begins, lengths, i, firsts[guess]):
                codes[i] = last = guess
                continue
        key = _FNV_OFFSET
        for k in range(begins[i], begins[i] + lengths[i]):
            key = (key ^ np.uint64(data[k])) * _FNV_PRIME
        slot = _slot(key, table.size)
        while table[slot] >= 0:
            code = table[slot]
            if hashes[code] == key and _same(data, begins, lengths, i, firsts[code]):
                break
            slot = (slot + 1) & (table.size - 1)
        if table[slot] < 0:
            if count == firsts.size:
                firsts = np.concatenate((firsts, np.empty_like(firsts)))
                after = np.concatenate((after, np.empty_like(after)))
                hashes = np.concatenate((hashes, np.empty_like(hashes)))
                table = np.full(2 * table.size, -1, np.int64)
                for code in range(count):
                    slot = _slot(hashes[code], table.size)
                    while table[slot] >= 0:
                        slot = (slot + 1) & (table.size - 1)
                    table[slot] = code
                slot = _slot(key, table.size)
                while table[slot] >= 0:
                    slot = (slot + 1) & (table.size - 1)
            table[slot], hashes[count], firsts[count], after[count] = count, key, i, -1
            count += 1
        codes[i] = table[slot]
        if last >= 0:
            after[last] = codes[i]
        last = codes[i]
    return codes, firsts[:count]


@compiled
def _slot(key: np.uint64, size: int) -> int:
    return int(np.int64((key ^ (key >> np.uint64(32))) & np.uint64(size - 1)))


@compiled
def _same(
    data: NDArray[np.uint8], begins: NDArray[np.int64], lengths: NDArray[np.int64], a: int, b: int
) -> bool:
    if lengths[a] != lengths[b]:
        return False
    for k in range(lengths[a]):
        if data[begins[a] + k] != data[begins[b] + k]:
            return False
    return True


@compiled
def hex_text(
    data: NDArray[np.uint8], begins: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Write stretches of bytes as lower-case hex, one after the other, and where each begins."""
    offsets = np.zeros(begins.size + 1, np.int64)
    for i in range(begins.size):
        offsets[i + 1] = offsets[i] + 2 * lengths[i]
    text = np.empty(offsets[-1], np.uint8)
    for i in range(begins.size):
        for k in range(lengths[i]):
            byte = data[begins[i] + k]
            for half in range(2):
                digit = byte >> np.uint8(4) if half == 0 else byte & np.uint8(15)
                text[offsets[i] + 2 * k + half] = digit + (48 if digit < 10 else 87)
    return text, offsets


@compiled
def objects(
    owner: NDArray[np.int64], code: NDArray[np.int64], number: NDArray[np.int64],
    fragments: NDArray[np.uint8], offsets: NDArray[np.int64],
    kept: NDArray[np.bool_], is_int: NDArray[np.bool_], spans: int,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:  # fmt: skip
    """Write each span's JSON object from the fragments of its attributes, which lie in order.

    ``kept`` says of each attribute whether it belongs there. An int's fragment ends before the
    value, which is written out here. A span that keeps no attribute has no text.
    """
    room = 2 * spans
    for a in range(owner.size):
        if owner[a] >= 0 and kept[a]:
            room += offsets[code[a] + 1] - offsets[code[a]] + 1 + (20 if is_int[code[a]] else 0)
    text = np.empty(room, np.uint8)
    ends = np.zeros(spans + 1, np.int64)
    filled = a = 0
    for span in range(spans):
        begun = filled
        while a < owner.size and owner[a] <= span:
            if owner[a] == span and kept[a]:
                text[filled] = 123 if filled == begun else 44
                filled += 1
                for k in range(offsets[code[a]], offsets[code[a] + 1]):
                    text[filled] = fragments[k]
                    filled += 1
                if is_int[code[a]]:
                    filled = _write_int(text, filled, number[a])
            a += 1
        if filled > begun:
            text[filled] = 125
            filled += 1
        ends[span + 1] = filled
    return text[:filled], ends


@compiled
def _write_int(text: NDArray[np.uint8], at: int, value: int) -> int:
    """Write a number's digits; give the place after them."""
    left = np.uint64(value)
    if value < 0:
        text[at] = 45
        at += 1
        left = np.uint64(0) - left
    digits = 1
    rest = left // np.uint64(10)
    while rest > np.uint64(0):
        digits += 1
        rest //= np.uint64(10)
    for k in range(at + digits - 1, at - 1, -1):
        text[k] = 48 + np.uint8(left % np.uint64(10))
        left //= np.uint64(10)
    return at + digits
