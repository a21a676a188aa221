"""JSON documents of a text: one, one a line, or one after the other, with other lines between.

What wraps each line is undone first: Docker's json-file and its like (``{"log": "..."}``), the
Kubernetes runtime's ``2026-11-30T12:00:00Z stdout F``, Compose's ``service-1  |``, timestamps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from analysis.kernels.reading import elements

_DOCUMENT = (dict, list)
_CRI = re.compile(rb"^\d{4}-\d\d-\d\dT\S+ (?:stdout|stderr) ([FP])(?: |$)")
"""A line of the Kubernetes container runtime interface: time, stream, Full or Partial, then what
the container wrote (kubernetes/kubernetes, pkg/kubelet/kuberuntime/logs)."""
_PREFIXES = (
    re.compile(rb"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*(?: [+-]\d{4})?[ \t][\w.-]+[:\t] ?(?=\{)"),
    # ^ fluentd's out_file and out_stdout: time, tag, record
    re.compile(rb"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S* "),  # docker logs -t, kubectl --timestamps
    re.compile(rb"^\[?[\w./-]+\]?\s*\| ?"),  # docker compose logs
    re.compile(rb"^\[pod/[^\]]+\] ?"),  # kubectl logs --prefix
    re.compile(rb"^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ [^\s:]+: ?"),  # journalctl, syslog
)
"""What log readers put before each line."""
_COLOURS = re.compile(rb"\x1b\[[\d;]*m")
"""Compose's, of each service's name."""
_MOST_LINES = 0.9
"""A prefix is one if so many of the lines have it."""
_WRAPPERS = ("log", "message", "msg", "MESSAGE", "line", "textPayload", "body", "event")
"""Keys under which log drivers and shippers put a line: Docker's json-file and fluentd's driver
(log), Logstash and most others (message, msg), journald (MESSAGE), Promtail (line), Google Cloud
(textPayload)."""
_SAMPLE_LINES = 64
_ALONE = (b"{", b"[", b"[{")
"""A line of nothing else begins a document over several lines."""
_RESTARTS = 20
"""How often a document that does not close is left behind: each costs a look at the rest."""
_LIKE_TRACES = re.compile(rb'"(?:resource_?[sS]pans|[tT]race_?I[dD]|trace_id|spans|batches)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A document that is none: cut off or changed."""

    place: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Lines that are no JSON."""

    lines: int


Part = tuple[str, Any]
"""A document's place in the text ("line 3"; empty for the only one), and what is in it."""


def parse(text: bytes | memoryview) -> Any:
    """Parse one document; NaN and Infinity, which some tools write, are missing values."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        content = bytes(text)
        if b"NaN" not in content and b"Infinity" not in content:
            raise
        try:
            return json.loads(content, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            pass
        raise


def parts(content: bytes, is_traces: Callable[[Any], bool]) -> Iterator[Part | Broken | Other]:
    """Give the documents of a text in their order, and what is broken or no JSON between them."""
    try:
        document = parse(content)
    except orjson.JSONDecodeError as error:
        content = _unprefixed(content)
        inner = _unwrapped(content, is_traces)
        if inner is not None:
            yield from parts(inner, is_traces)
        elif _is_lines(content, is_traces):
            yield from _lines(content)
        else:
            yield from _one_after_the_other(content, error)
        return
    wrapped = _key(document) is not None and not is_traces(document)
    inner = _unwrapped(content, is_traces) if wrapped else None
    if inner is not None:
        yield from parts(inner, is_traces)
    else:
        yield "", document


def _unprefixed(content: bytes) -> bytes:
    """Take what a log reader put before each line away."""
    if b"\x1b[" in content[: 1 << 16]:
        content = _COLOURS.sub(b"", content)
    sample = [line for line in content[: 1 << 16].split(b"\n")[:_SAMPLE_LINES] if line.strip()]
    if sample and sum(_CRI.match(line) is not None for line in sample) >= _MOST_LINES * len(
        sample
    ):
        return _from_cri(content)
    for pattern in _PREFIXES:
        having = sum(pattern.match(line) is not None for line in sample)
        if len(sample) > 1 and having >= _MOST_LINES * len(sample):
            return b"\n".join(pattern.sub(b"", line, count=1) for line in content.split(b"\n"))
    return content


def _from_cri(content: bytes) -> bytes:
    found: list[bytes] = []
    for line in content.split(b"\n"):
        head = _CRI.match(line)
        if head is None:
            found.append(line + b"\n")
        else:
            found.append(line[head.end() :] + (b"" if head[1] == b"P" else b"\n"))
    return b"".join(found)


def _unwrapped(content: bytes, is_traces: Callable[[Any], bool]) -> bytes | None:
    """Give the text that a log shipper wrapped line by line; None where it wrapped nothing."""
    sample = map(_parsed, content.split(b"\n", _SAMPLE_LINES)[:_SAMPLE_LINES])
    first = next((document for document in sample if isinstance(document, dict)), None)
    if _key(first) is None or is_traces(first):
        return None
    found: list[str] = []
    seen = False
    for line in content.split(b"\n"):
        document = _parsed(line)
        key = _key(document)
        if key is None or is_traces(document):
            found.append(line.decode(errors="replace") + "\n")
            continue
        text = document[key]
        seen = seen or "{" in text
        # Docker cuts lines of more than 16 KiB: all but the last part have no line end
        found.append(text if key == "log" and "stream" in document else text.rstrip("\n") + "\n")
    return "".join(found).encode() if seen else None


def _key(document: Any) -> str | None:
    if not isinstance(document, dict):
        return None
    return next((key for key in _WRAPPERS if isinstance(document.get(key), str)), None)


def _parsed(line: bytes) -> Any:
    with suppress(orjson.JSONDecodeError):
        return parse(line) if line.strip() else None
    return None


def _is_lines(content: bytes, is_traces: Callable[[Any], bool]) -> bool:
    """Whether this is one document a line, some of them damaged or something else."""
    lines = [line for line in content.split(b"\n") if line.strip()]
    if len(lines) == 1:
        return b"{" in lines[0] and isinstance(_embedded(lines[0]), _DOCUMENT)
    if any(line.strip() in _ALONE for line in lines[:_SAMPLE_LINES]):
        return False
    if isinstance(_parsed(lines[0]), _DOCUMENT):
        return True
    return any(is_traces(_parsed(line)) or is_traces(_embedded(line)) for line in lines)


def _lines(content: bytes) -> Iterator[Part | Broken | Other]:
    """Read one document a line; a broken one is named by its number."""
    others = 0
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            document = parse(line)
        except orjson.JSONDecodeError as error:
            document = _embedded(line)
            begins = line.lstrip()[:2]
            is_json = begins[:1] == b"{" or begins == b"[{"
            if document is None and (is_json or _LIKE_TRACES.search(line)):
                yield Broken(place=f"line {number}", error=str(error))
                continue
        if isinstance(document, _DOCUMENT):
            yield f"line {number}", document
        else:
            others += 1
    if others:
        yield Other(lines=others)


def _embedded(line: bytes) -> Any:
    """Give the document behind a log line's beginning, and before its end."""
    if b"{" not in line or line.lstrip()[:1] == b"{":
        return None
    data = np.frombuffer(line, np.uint8)
    places, _ = elements.documents(data, line.index(b"{"))
    for begin, end in places.reshape(-1, 2).tolist():
        with suppress(orjson.JSONDecodeError):
            document = parse(line[begin:end])
            if isinstance(document, _DOCUMENT) and document:
                return document
    return None


def _one_after_the_other(  # noqa: C901 - one walk over the text
    content: bytes, error: orjson.JSONDecodeError
) -> Iterator[Part | Broken | Other]:
    """Read documents over several lines each; what cannot be parsed between them is other text."""
    data, begin, found = np.frombuffer(content, np.uint8), 0, 0
    view, others = memoryview(content), 0
    lines = _LineNumbers(content)
    broken: list[Broken] = []  # told when it is known that there are documents beside it
    for _ in range(_RESTARTS):
        places, unclosed = elements.documents(data, begin)
        reached = begin
        for start, end in places.reshape(-1, 2).tolist():
            others += bool(content[reached:start].strip(b" \t\r\n,\x1e"))
            reached = end
            try:
                document = parse(view[start:end])
            except orjson.JSONDecodeError as wrong:
                if _LIKE_TRACES.search(view[start:end]):
                    broken.append(Broken(place=f"line {lines.of(start)}", error=str(wrong)))
                else:
                    others += 1
                continue
            found += 1
            yield from broken
            broken.clear()
            yield f"line {lines.of(start)}", document
        if unclosed < 0:
            others += bool(content[reached:].strip(b" \t\r\n,\x1e"))
            break
        broken.append(Broken(place=f"line {lines.of(unclosed)}", error="it does not end"))
        begin = _next(content, unclosed)
        if begin < 0:
            break
    if not found:
        yield Broken(place="", error=str(error))
        return
    yield from broken
    if others:
        yield Other(lines=others)


def _next(content: bytes, place: int) -> int:
    """Where the next line begins with a document; -1 where none does."""
    starts = (content.find(b"\n" + sign, place + 1) for sign in (b"{", b"["))
    return min((start + 1 for start in starts if start >= 0), default=-1)


class _LineNumbers:
    """Tells lines of places that are asked for in their order."""

    def __init__(self, content: bytes) -> None:
        self._content, self._place, self._line = content, 0, 1

    def of(self, place: int) -> int:
        self._line += self._content.count(b"\n", self._place, max(place, self._place))
        self._place = max(place, self._place)
        return self._line
