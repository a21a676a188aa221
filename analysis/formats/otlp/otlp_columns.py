"""From OTLP's protobuf bytes to columns.

Each different attribute is decoded once, not each span's.

Attributes repeat: a run of a million spans has some hundred different ones, but for numbers. The
protobuf library decodes the different ones; what remains is copying, which is compiled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from analysis.formats.columns import COLUMN_SOURCES
from analysis.formats.otlp.otlp_json import KINDS, LONGEST_NS, SAMPLED, STATUSES, of_scope
from analysis.formats.resource_attributes import asked_for
from analysis.kernels.reading import wire
from worthit.contract.names import ARM, SERVICE_NAME, TRACE_STATE
from worthit.contract.tables import RESOURCE, SPANS


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """All attributes of a batch, in the order of their spans. c different ones."""

    owner: NDArray[np.int64]
    """The span, or -1 - r for those of resource r."""
    code: NDArray[np.int64]
    number: NDArray[np.int64]
    """The value, where it is an int."""
    keys: list[str]
    """Of each of the c."""
    values: list[Any]
    """Of each of the c, but for ints, which have one code a key."""
    is_int: NDArray[np.bool_]
    """By code."""


def table(messages: Sequence[bytes], *, with_resource: bool = False) -> pa.Table:
    """Turn whole ExportTraceServiceRequest messages into spans columns.

    With ``with_resource`` one more column holds the resource's attributes as JSON.
    """
    data = np.frombuffer(b"".join(messages), np.uint8)
    ends = np.cumsum([len(message) for message in messages])
    begins = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    parts, resources = wire.parts(data, begins, ends)
    spans, count, linked = wire.spans_in(data, parts)
    places = np.zeros((spans, wire.KEPT_PLACES, 2), np.int64)
    numbers = np.zeros((spans, wire.KEPT_NUMBERS), np.int64)
    where = np.empty((count, 4), np.int64)
    links = np.empty((linked, 3), np.int64)
    wire.walk(data, parts, places, numbers, where, links)
    attributes = _attributes(data, where)
    services, arms = _resources(attributes, resources)
    of = numbers[:, wire.RESOURCE]
    attributes = _with_more(
        attributes,
        [
            *_shared(attributes, of),
            *_of_scopes(data, wire.scopes(data, parts), numbers[:, wire.PART], attributes),
            *_states(data, places[:, wire.STATE], attributes),
        ],
    )
    columns = _from_attributes(attributes, spans)
    if any(arms):
        of_resource = pa.array(arms, pa.large_string()).take(pa.array(of))
        columns["arm"] = pc.coalesce(columns["arm"], of_resource)
    for name, place in (("trace_id", wire.TRACE), ("span_id", wire.SPAN)):
        columns[name] = _hex(data, places[:, place])
    columns["parent_span_id"] = _hex(data, places[:, wire.PARENT], empty_is_missing=True)
    columns["service"] = pa.array(services, pa.large_string()).take(pa.array(of))
    columns["name"] = _names(data, places[:, wire.NAME])
    columns["kind"] = _words(KINDS, numbers[:, wire.KIND])
    columns["status"] = _words(STATUSES, numbers[:, wire.STATUS])
    columns["start_ns"], columns["duration_ns"] = _times(numbers)
    columns["follows_from"] = pa.repeat(pa.scalar(value=False), spans)
    columns["links"] = _links(data, links, spans)
    found = pa.Table.from_arrays([columns[name] for name in SPANS.names], schema=SPANS)
    if not with_resource:
        return found
    texts = pa.array(_resource_texts(attributes, resources), pa.large_string())
    return found.append_column(RESOURCE, texts.take(pa.array(of)))


def _resource_texts(attributes: Attributes, resources: int) -> list[str]:
    """Each resource's attributes as JSON."""
    found: list[dict[str, Any]] = [{} for _ in range(resources)]
    for a in np.flatnonzero(attributes.owner < 0):
        code = attributes.code[a]
        value = int(attributes.number[a]) if attributes.is_int[code] else attributes.values[code]
        found[-1 - attributes.owner[a]][attributes.keys[code]] = value
    return [orjson.dumps(one, default=str).decode() for one in found]


def _times(numbers: NDArray[np.int64]) -> tuple[pa.Array, pa.Array]:
    """Give starts and durations as ``otlp_json.times`` does; beyond int64 they are negative."""
    start, end = (np.maximum(numbers[:, place], 0) for place in (wire.START, wire.END))
    known = (end > 0) & ((start > 0) | (end < LONGEST_NS))
    return pa.array(start), pa.array(end - start, mask=~known)


def _attributes(data: NDArray[np.uint8], where: NDArray[np.int64]) -> Attributes:
    owner, begin, length, value = (np.ascontiguousarray(column) for column in where.T)
    code = np.empty(owner.size, np.int64)
    keys: list[str] = []
    values: list[Any] = []
    counts = []
    for chosen in (np.flatnonzero(value < 0), np.flatnonzero(value >= 0)):
        found, firsts = wire.numbered(data, begin[chosen], length[chosen])
        code[chosen] = found + len(keys)
        counts.append(firsts.size)
        for row in chosen[firsts]:
            pair = KeyValue.FromString(data[begin[row] : begin[row] + length[row]].tobytes())
            keys.append(pair.key)
            values.append(any_value(pair.value))
    return Attributes(
        owner=owner, code=code, number=wire.ints(data, value), keys=keys, values=values,
        is_int=np.repeat([False, True], counts),
    )  # fmt: skip


def any_value(value: AnyValue) -> Any:
    """Read an AnyValue."""
    which = value.WhichOneof("value")
    if which is None:
        return None
    content = getattr(value, which)
    if which == "array_value":
        return [any_value(item) for item in content.values]
    if which == "kvlist_value":
        return {item.key: any_value(item.value) for item in content.values}
    return content.hex() if which == "bytes_value" else content


def _resources(
    attributes: Attributes, resources: int
) -> tuple[list[str | None], list[str | None]]:
    """Give each resource's service, and its arm: for spans outside of any request, without one."""
    found: dict[str, list[str | None]] = {
        SERVICE_NAME: [None] * resources,
        ARM: [None] * resources,
    }
    for a in np.flatnonzero(attributes.owner < 0):
        key, value = (part[attributes.code[a]] for part in (attributes.keys, attributes.values))
        if key in found and isinstance(value, str) and value:
            found[key][-1 - attributes.owner[a]] = value
    return found[SERVICE_NAME], found[ARM]


def _shared(
    attributes: Attributes, of: NDArray[np.int64]
) -> Iterator[tuple[str, Any, NDArray[np.int64]]]:
    """Give the resources' attributes that their spans keep: key, value, spans."""
    asked = asked_for()
    for a in np.flatnonzero(attributes.owner < 0) if asked else ():
        code = attributes.code[a]
        key = attributes.keys[code]
        if key not in asked:
            continue
        same = [other for other, name in enumerate(attributes.keys) if name == key]
        own = attributes.owner[np.isin(attributes.code, same)]
        value = attributes.number[a].item() if attributes.is_int[code] else attributes.values[code]
        yield key, value, np.setdiff1d(np.flatnonzero(of == -1 - attributes.owner[a]), own)


def _of_scopes(
    data: NDArray[np.uint8],
    scopes: NDArray[np.int64],
    part: NDArray[np.int64],
    attributes: Attributes,
) -> Iterator[tuple[str, Any, NDArray[np.int64]]]:
    """Give what each different scope says of its spans: key, value, spans.

    ``scopes`` is parts x (begin, length), ``part`` each span's row there.
    """
    begins, lengths = (np.ascontiguousarray(column) for column in scopes.T)
    codes, firsts = wire.numbered(data, begins, lengths)
    for code, first in enumerate(firsts):
        message = data[begins[first] : begins[first] + lengths[first]].tobytes()
        scope = InstrumentationScope.FromString(message)
        said = {pair.key: any_value(pair.value) for pair in scope.attributes}
        for key, value in of_scope(scope.name, said).items():
            yield key, value, _without_own(key, np.flatnonzero(codes[part] == code), attributes)


def _states(
    data: NDArray[np.uint8], states: NDArray[np.int64], attributes: Attributes
) -> Iterator[tuple[str, Any, NDArray[np.int64]]]:
    """Give each different trace state that names a sampling probability: key, value, spans."""
    begins, lengths = (np.ascontiguousarray(column) for column in states.T)
    if not lengths.any():
        return
    codes, firsts = wire.numbered(data, begins, lengths)
    for code, first in enumerate(firsts):
        state = data[begins[first] : begins[first] + lengths[first]].tobytes().decode()
        if SAMPLED in state:
            spans = np.flatnonzero(codes == code)
            yield TRACE_STATE, state, _without_own(TRACE_STATE, spans, attributes)


def _without_own(key: str, spans: NDArray[np.int64], attributes: Attributes) -> NDArray[np.int64]:
    """Leave out the spans that have an attribute of that name themselves."""
    same = [code for code, name in enumerate(attributes.keys) if name == key]
    return np.setdiff1d(spans, attributes.owner[np.isin(attributes.code, same)]) if same else spans


def _with_more(
    attributes: Attributes, more: list[tuple[str, Any, NDArray[np.int64]]]
) -> Attributes:
    """Give some spans one attribute more each: key, value, spans."""
    if not more:
        return attributes
    known = len(attributes.keys)
    owner = np.concatenate([attributes.owner, *(spans for _, _, spans in more)])
    order = np.argsort(owner, kind="stable")
    codes = [np.full(spans.size, known + place) for place, (_, _, spans) in enumerate(more)]
    numbers = [np.zeros(spans.size, np.int64) for _, _, spans in more]
    return Attributes(
        owner=owner[order],
        code=np.concatenate([attributes.code, *codes])[order],
        number=np.concatenate([attributes.number, *numbers])[order],
        keys=[*attributes.keys, *(key for key, _, _ in more)],
        values=[*attributes.values, *(value for _, value, _ in more)],
        is_int=np.concatenate([attributes.is_int, np.zeros(len(more), np.bool_)]),
    )


def _from_attributes(attributes: Attributes, spans: int) -> dict[str, pa.Array]:
    """Make the columns that attributes have of their own, and the JSON of the rest."""
    kept = np.ones(attributes.owner.size, np.bool_)
    columns = {}
    for name, (sources, read, stays) in COLUMN_SOURCES.items():
        place = np.full(spans, -1, np.int64)
        values: list[Any] = []
        for source in sources:  # today's name first
            for code in (c for c, key in enumerate(attributes.keys) if key == source):
                taken = _place(attributes, code, read, place, values)
                kept[taken] = stays
        array = pa.array(values, SPANS.field(name).type)
        columns[name] = array.take(pa.array(place, mask=place < 0))
    fragments = [_fragment(attributes, code) for code in range(len(attributes.keys))]
    offsets = np.cumsum([0, *map(len, fragments)])
    text, ends = wire.objects(
        attributes.owner, attributes.code, attributes.number,
        np.frombuffer(b"".join(fragments), np.uint8), offsets, kept, attributes.is_int, spans,
    )  # fmt: skip
    columns["attributes"] = _text(text, ends, empty_is_missing=True)
    return columns


def _place(
    attributes: Attributes, code: int, read: Any, place: NDArray[np.int64], values: list[Any]
) -> NDArray[np.int64]:
    """Put one code's value, as the column reads it, into those of its spans' places that are free.

    Gives the attributes that were taken.
    """
    rows = np.flatnonzero((attributes.code == code) & (attributes.owner >= 0))
    rows = rows[place[attributes.owner[rows]] < 0]
    owners = attributes.owner[rows]
    if not attributes.is_int[code]:
        value = read(attributes.values[code])
        if value is None:
            return rows[:0]
        place[owners] = len(values)
        values.append(value)
        return rows
    different, which = np.unique(attributes.number[rows], return_inverse=True)
    read_values = [read(int(number)) for number in different]
    known = np.array([value is not None for value in read_values], np.bool_)[which]
    place[owners[known]] = len(values) + which[known]
    values.extend(read_values)
    return rows[known]


def _fragment(attributes: Attributes, code: int) -> bytes:
    """Write a key and its value as they stand in a JSON object; of an int the key alone."""
    key = orjson.dumps(attributes.keys[code]) + b":"
    if attributes.is_int[code]:
        return key
    return key + orjson.dumps(attributes.values[code], default=str)


def _hex(
    data: NDArray[np.uint8], places: NDArray[np.int64], *, empty_is_missing: bool = False
) -> pa.Array:
    text, offsets = wire.hex_text(
        data, np.ascontiguousarray(places[:, 0]), np.ascontiguousarray(places[:, 1])
    )
    return _text(text, offsets, empty_is_missing=empty_is_missing)


def _text(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], *, empty_is_missing: bool
) -> pa.Array:
    valid = None
    if empty_is_missing:
        bits = np.packbits(np.diff(offsets) > 0, bitorder="little")
        valid = pa.py_buffer(bits.tobytes())
    return pa.LargeStringArray.from_buffers(
        offsets.size - 1, pa.py_buffer(offsets), pa.py_buffer(text), null_bitmap=valid
    )


def _names(data: NDArray[np.uint8], places: NDArray[np.int64]) -> pa.Array:
    begins, lengths = np.ascontiguousarray(places[:, 0]), np.ascontiguousarray(places[:, 1])
    codes, firsts = wire.numbered(data, begins, lengths)
    names = [data[begins[i] : begins[i] + lengths[i]].tobytes().decode() for i in firsts]
    return pa.array(names, pa.large_string()).take(pa.array(codes))


def _words(words: tuple[str, ...], numbers: NDArray[np.int64]) -> pa.Array:
    known = np.where((numbers >= 0) & (numbers < len(words)), numbers, 0)
    return pa.array(words, pa.large_string()).take(pa.array(known))


def _links(data: NDArray[np.uint8], links: NDArray[np.int64], spans: int) -> pa.Array:
    if not len(links):
        return pa.nulls(spans, pa.large_string())
    found: dict[int, list[dict[str, str]]] = {}
    for span, begin, length in links.tolist():
        link = Span.Link.FromString(data[begin : begin + length].tobytes())
        ids = {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex()}
        found.setdefault(span, []).append(ids)
    texts = [
        orjson.dumps(found[span]).decode() if span in found else None for span in range(spans)
    ]
    return pa.array(texts, pa.large_string())
