"""Which format is this file? Found by content, never by name.

First compression and encoding are undone (``unpacking``); then binary formats are told by how they
begin, JSON by the keys of its documents (``_JSON``, first match), tables by their header. What is
none of these is refused as what it is.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pyarrow as pa

from analysis.errors import AnalysisError, InputError
from analysis.formats import (
    console_exporters,
    delimited,
    documents,
    named_columns,
    parquet,
    unpacking,
    zipkin_json,
)
from analysis.formats.columns import empty
from analysis.formats.jaeger import jaeger_documents, jaeger_json
from analysis.formats.otlp import otlp_json, otlp_protobuf
from analysis.formats.reading import NotTracesError, Reading
from analysis.formats.walked import read as walked

_KNOWN = "OTLP, Jaeger, Zipkin, console exporters' JSON, ClickHouse, CSV or Parquet"
_JSON: tuple[ModuleType, ...] = (
    otlp_json,
    jaeger_json,
    jaeger_documents,
    zipkin_json,
    console_exporters,
    named_columns,
)
"""Readers of JSON documents; each knows its own by their keys (``matches``)."""

_OTHER_JSON: tuple[tuple[str, frozenset[str], str], ...] = (
    ("", frozenset({"resourceMetrics"}), "OTLP metrics, no traces"),
    ("", frozenset({"resource_metrics"}), "OTLP metrics, no traces"),
    ("", frozenset({"scopeMetrics"}), "OTLP metrics, no traces"),
    ("", frozenset({"resourceLogs"}), "OTLP logs, no traces"),
    ("", frozenset({"resource_logs"}), "OTLP logs, no traces"),
    ("", frozenset({"scopeLogs"}), "OTLP logs, no traces"),
    ("", frozenset({"resourceProfiles"}), "OTLP profiles, no traces"),
    ("", frozenset({"traceEvents"}), "a Chrome trace of one process, no distributed traces"),
    ("", frozenset({"nbformat", "cells"}), "a notebook"),
    ("", frozenset({"openapi", "paths"}), "an OpenAPI description"),
    ("", frozenset({"status", "data"}), "an answer of Prometheus or Loki, no traces"),
    ("", frozenset({"ph", "ts"}), "a Chrome trace of one process, no distributed traces"),
    ("", frozenset({"TraceSummaries"}), "an answer of AWS X-Ray's"),
    ("", frozenset({"Traces"}), "an answer of AWS X-Ray's"),
    ("", frozenset({"Segments"}), "a trace of AWS X-Ray's"),
    ("", frozenset({"trace_id", "start_time", "id"}), "a segment of AWS X-Ray's"),
    ("", frozenset({"processor", "timestamp", "trace"}), "a document of Elastic APM's"),
    ("", frozenset({"event_id", "contexts"}), "an event of Sentry's"),
    ("", frozenset({"common", "spans"}), "a batch of New Relic's"),
    ("", frozenset({"projectId", "traceId", "spans"}), "a trace of Google Cloud Trace's API v1"),
    ("", frozenset({"tables"}), "an answer of Azure Monitor's"),
    ("", frozenset({"error"}), "an error's answer"),
    ("log", frozenset({"entries"}), "a HAR file, no traces"),
    ("trace", frozenset({"root_id"}), "a trace of Datadog's pages"),
    ("data", frozenset({"trace"}), "an answer of SkyWalking's"),
    ("data", frozenset({"type", "attributes"}), "an answer of Datadog's API"),
)
"""Where in a JSON document which keys say that it is something else, and what."""
_GROUP = 64
_GROUP_OF_ONE_SPAN = 8192
"""Documents that become columns at once, of many spans each or of one."""


def table(path: Path, columns: Sequence[str] | None, reading: Reading) -> pa.Table:
    """Read one file of any known format.

    Damaged lines and tails are noted in ``reading`` where the caller wants the rest; else they
    raise ``InputError``.
    """
    with path.open("rb") as file:
        if path.is_file() and file.peek(len(parquet.MAGIC)).startswith(parquet.MAGIC):
            return parquet.table(path, columns, reading=reading)
        content = file.read()
    return table_of(content, str(path), columns, reading)


def batches(path: Path, columns: Sequence[str] | None, reading: Reading) -> Iterator[pa.Table]:
    """Read as ``table`` does; Parquet and a recorder's file, as they are, a batch at a time."""
    if not path.is_file():  # a pipe: it can be read once
        yield table(path, columns, reading)
        return
    with path.open("rb") as file:
        if file.peek(len(parquet.MAGIC)).startswith(parquet.MAGIC):
            yield from parquet.batches(path, columns, reading=reading)
        elif otlp_protobuf.begins_with_spans(file):
            file.seek(0)
            yield from _recording(file, str(path), reading)
        else:
            yield table(path, columns, reading)


def table_of(
    content: bytes, name: str, columns: Sequence[str] | None, reading: Reading
) -> pa.Table:
    """Read what a file of this name holds."""
    if not content.startswith(parquet.MAGIC):
        framed = otlp_protobuf.framed(content)
        if framed is not None:
            return _framed(framed, name, columns, reading)
        content = unpacking.plain(content, name, reading)
    if content.startswith(parquet.MAGIC):
        return parquet.table(Path(name), columns, content, reading=reading)
    blank = b" \t\r\n\0"
    if not content[:_SAMPLE_BYTES].strip(blank) and not content.strip(blank):
        raise NotTracesError(f"{name} is empty; traces are expected ({_KNOWN}).")
    if otlp_protobuf.begins_with_spans(io.BytesIO(content)):  # also with a length like { or [
        return _together(list(_recording(io.BytesIO(content), name, reading)))
    framed = otlp_protobuf.framed(content)
    if framed is not None:
        return _framed(framed, name, columns, reading)
    return _text(content, name, reading)


def _text(content: bytes, name: str, reading: Reading) -> pa.Table:
    """Read JSON, a table as text, or one protobuf message; they cannot be told by a first byte."""
    begins = content.lstrip()[:1]
    content = otlp_protobuf.without_answer(content)
    signal = otlp_protobuf.signal(content) if begins not in b"{[" else None
    if signal == "traces":
        return _binary(content, name, reading) or empty()
    if signal is not None:
        raise NotTracesError(f"{name} holds OTLP {signal}, no traces.")
    is_text = _is_text(content)
    if is_text:
        unpacking.refuse_printed(content, name)
        if begins not in b"{[" and (found := delimited.table(content, name, reading)) is not None:
            return found
        if b"{" in content or begins == b"[":
            return _json(content, name, reading)
        raise NotTracesError(f"{name} is text that holds no traces; {_KNOWN} is expected.")
    if begins in b"{[":
        return _json(content, name, reading)
    found = _binary(content, name, reading)
    if found is None:
        raise NotTracesError(f"{name} holds no traces in a known format; {_KNOWN} is expected.")
    return found


_SAMPLE_BYTES = 1 << 16
_WORTH_COMPILING_BYTES = 1 << 22
"""Below 4 MiB the readers of Python objects take less than a second, and the walk's first use on a
machine compiles it for many."""
_CHARACTER_BYTES = 4
_CONTROL = frozenset(range(32)) - frozenset(b"\t\n\f\r\x1b\x1e")


def _is_text(content: bytes) -> bool:
    sample = content[:_SAMPLE_BYTES]
    if b"\0" in sample:
        return False
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        return 0 < len(sample) - error.start < _CHARACTER_BYTES  # cut in a character
    return not _CONTROL.intersection(sample[:512])


def _json(content: bytes, name: str, reading: Reading) -> pa.Table:
    """Read JSON documents; name what else lies between them."""
    usual = walked.table(content) if len(content) >= _WORTH_COMPILING_BYTES else None
    if usual is not None:
        return usual
    found = _Documents(name, reading)
    for part in documents.parts(content, is_traces):
        if isinstance(part, documents.Broken):
            found.flush()
            if not part.place:
                return _broken(content, name, part, reading)
            reading.damage(f"{name}, {part.place} is damaged: {part.error}", "Mend it, or")
        elif isinstance(part, documents.Other):
            found.others += part.lines
        else:
            found.add(*part)
    return found.table()


def _broken(content: bytes, name: str, part: documents.Broken, reading: Reading) -> pa.Table:
    """Read a file that begins like JSON and is none: protobuf, or damaged."""
    binary = None if _is_text(content) else _binary(content, name, reading, some=True)
    if binary is not None:
        return binary
    if content.lstrip()[:1] not in b"{[":
        raise NotTracesError(f"{name} is text that holds no traces; {_KNOWN} is expected.")
    reading.damage(f"{name} is not whole JSON: {part.error}", "Copy or write it again, or")
    return empty()


class _Documents:
    """Documents of one text on their way into tables, those of one format together."""

    def __init__(self, name: str, reading: Reading) -> None:
        self._name, self._reading = name, reading
        self._module: ModuleType | None = None
        self._group: list[tuple[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._not_traces: dict[str, list[str]] = {}
        self._read = 0
        self.others = 0
        """Lines that are no JSON."""

    def add(self, place: str, document: Any) -> None:
        """Take a document; a list stands for what is in it."""
        module = self._module
        if module is not None and module.ONE_SPAN and module.matches(document):
            self._group.append((place, document))  # the usual case of a span a line
            if len(self._group) >= _GROUP_OF_ONE_SPAN:
                self.flush()
            return
        for one in _flat(document):
            module = self._module
            if module is None or not module.matches(one):
                module = _module_of(one)
                if module is not self._module:
                    self.flush()
                    self._module = module
            if module is None:
                self._pass_over(place, one)
                continue
            self._group.append((place, one))
            if len(self._group) >= (_GROUP_OF_ONE_SPAN if module.ONE_SPAN else _GROUP):
                self.flush()

    def _pass_over(self, place: str, document: Any) -> None:
        self._not_traces.setdefault(what(document), []).append(place)

    def flush(self) -> None:
        """Turn the documents so far into a table; of a group with a bad one, one by one."""
        group, self._group = self._group, []
        module = self._module
        if not group or module is None:
            return
        self._read += len(group)
        places = dict.fromkeys(place for place, _ in group)
        if len(places) == 1 and not group[0][0]:
            self._tables.append(_told(module, module.table, [one for _, one in group], self._name))
            return
        try:
            self._tables.append(module.table([one for _, one in group]))
        except _WRONG:
            for place in places:
                found = [one for where, one in group if where == place]
                self._one(module, found, place)

    def _one(self, module: ModuleType, found: list[Any], place: str) -> None:
        try:
            self._tables.append(_told(module, module.table, found, f"{self._name}, {place}"))
        except AnalysisError as error:
            self._reading.damage(
                f"{self._name}, {place} is damaged: {str(error).rstrip('.')}", "Mend it, or"
            )

    def table(self) -> pa.Table:
        """Give all spans; raise ``NotTracesError`` where every document is something else."""
        self.flush()
        if self._read == 0 and self._not_traces and not self._tables:
            kinds = ", ".join(self._not_traces)
            more = "" if self.others == 0 else " among other lines"
            raise NotTracesError(f"{self._name} is {kinds}{more}; {_KNOWN} is expected.")
        if self._read == 0 and self.others and not self._reading.damaged:
            raise NotTracesError(f"{self._name} is text without traces; {_KNOWN} is expected.")
        for kind, places in self._not_traces.items():
            self._reading.passed_over.append(
                f"{self._name}: {len(places)} document{'s' if len(places) > 1 else ''} passed "
                f"over ({kind}{'; the first is ' + places[0] if places[0] else ''})"
            )
        if self.others:
            self._reading.passed_over.append(
                f"{self._name}: {self.others} other line{'s' if self.others > 1 else ''} between "
                "the traces passed over"
            )
        return _together(self._tables)


def _flat(document: Any) -> Iterator[Any]:
    """Give what a list holds, lists in it as well; anything else is itself. {} and [] are none."""
    stack = [document]
    while stack:
        one = stack.pop()
        if isinstance(one, list):
            stack.extend(reversed(one))
        elif isinstance(one, dict) and (inner := one.get("hits")) and _is_hits(inner):
            stack.extend(reversed(inner["hits"]))  # Elasticsearch's search answer
        elif isinstance(one, dict) and isinstance(source := one.get("_source"), dict):
            stack.append(source)
        elif isinstance(one, dict) and named_columns.is_clickhouse_answer(one):
            stack.extend(reversed(named_columns.rows_of_answer(one)))
        elif one != {}:
            yield one


def _is_hits(inner: Any) -> bool:
    return isinstance(inner, dict) and isinstance(inner.get("hits"), list)


def _module_of(document: Any) -> ModuleType | None:
    if not isinstance(document, dict):
        return None
    return next((module for module in _JSON if module.matches(document)), None)


def is_traces(document: Any) -> bool:
    """Whether a parsed JSON document is traces, of any format."""
    if not isinstance(document, (dict, list)):
        return False
    return any(_module_of(one) is not None for one in islice(_flat(document), 3))


def what(document: Any) -> str:
    """Say what a JSON document is that is no traces."""
    if not isinstance(document, dict):
        return f"JSON without spans (found {type(document).__name__})"
    if isinstance(_at(document, "data"), str):
        return "a list of names, as Jaeger's /api/services gives it"
    if isinstance(document.get("traces"), list):
        return (
            "a page of Tempo's search results (ids of traces, without spans); "
            "save each trace from /api/v2/traces/ID"
        )
    for place, wanted, told in _OTHER_JSON:
        part = _at(document, place)
        if isinstance(part, dict) and wanted <= part.keys():
            return told
    keys = sorted(map(str, document))[:6]
    column = named_columns.lacking(document)
    lacks = f" and without {column}" if column else ""
    return f"JSON without spans{lacks} (found {keys})"


def _at(document: dict[str, Any], place: str) -> Any:
    """Give the document, or what it has under a key; of a list there the first."""
    part = document.get(place) if place else document
    return part[0] if isinstance(part, list) and part else part


_WRONG = (
    InputError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    OverflowError,
    RecursionError,
    pa.ArrowException,
)
"""What a reader stumbles over where a document is not what its keys promise."""


def _told(
    module: ModuleType, table: Callable[[Any], pa.Table], found: Any, where: str
) -> pa.Table:
    """Give ``table(found)``; what is wrong with it is told with the place where it was found."""
    try:
        return table(found)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except orjson.JSONDecodeError:
        raise
    except _WRONG as error:
        told = " ".join(repr(error).split())
        raise InputError(
            f"{where} looks like {module.NAME} and holds something else ({told}); "
            "write it again with the tool that made it."
        ) from error


def _recording(file: Any, name: str, reading: Reading) -> Iterator[pa.Table]:
    """Read messages, each after its length, one by one; what is lost is told at the end."""
    lost: list[otlp_protobuf.Undecodable] = []
    yield from otlp_protobuf.batches(file, lost)
    _tell(lost, name, reading)


def _framed(
    framed: otlp_protobuf.Framed, name: str, columns: Sequence[str] | None, reading: Reading
) -> pa.Table:
    """Read what the collector's file exporter writes after lengths of four bytes."""
    lost: list[otlp_protobuf.Undecodable] = []
    tables, others = otlp_protobuf.framed_tables(framed, lost)
    for part in framed.texts:
        tables.append(_json(part, name, reading))
    _tell([*framed.lost, *lost], name, reading)
    if not tables and others:
        raise NotTracesError(f"{name} holds OTLP {' and '.join(sorted(others))}, no traces.")
    for signal, count in sorted(others.items()):
        reading.passed_over.append(f"{name}: {count} messages of {signal} passed over")
    del columns
    return _together(tables)


def _binary(content: bytes, name: str, reading: Reading, *, some: bool = False) -> pa.Table | None:
    """Read one message as exporters post it, or what is whole of a recording; None: it is neither.

    With ``some`` it is neither unless there are spans in it.
    """
    lost: list[otlp_protobuf.Undecodable] = []
    if otlp_protobuf.is_message(content):
        tables = otlp_protobuf.one_message(content, lost)
    else:
        tables = list(otlp_protobuf.batches(io.BytesIO(content), lost))
        some = True  # noise has messages without spans in it
    if not tables or (some and not any(one.num_rows for one in tables)):
        return None
    _tell(lost, name, reading)
    return _together(tables)


def _together(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables) if tables else empty()


def _tell(lost: Sequence[otlp_protobuf.Undecodable], name: str, reading: Reading) -> None:
    for part in sorted(lost, key=lambda part: part.offset):
        reading.damage(
            f"{name} is damaged at byte {part.offset}: {part.length} bytes are no OTLP message"
        )
