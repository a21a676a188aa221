"""Plain bytes of a file: compression undone, text as UTF-8; and what a file of another kind is."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any, BinaryIO

import pyarrow as pa

from analysis.formats.reading import NotTracesError, Reading

_STEP_BYTES = 1 << 10
"""What is unpacked at once of a damaged file: as much may be lost before the damage."""
_LAYERS = 4
"""A file packed more often than this is no recording."""


def _by_arrow(codec: str) -> Callable[[BytesIO], BinaryIO]:
    def opened(file: BytesIO) -> BinaryIO:
        stream: BinaryIO = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), codec)
        return stream

    return opened


_PACKED: tuple[tuple[bytes, str, Callable[[BytesIO], Any]], ...] = (
    (b"\x1f\x8b", "gzip", lambda file: gzip.GzipFile(fileobj=file)),
    (b"\x28\xb5\x2f\xfd", "zstd", _by_arrow("zstd")),
    (b"\x04\x22\x4d\x18", "lz4", _by_arrow("lz4")),
    (b"BZh", "bzip2", bz2.BZ2File),
    (b"\xfd7zXZ\x00", "xz", lzma.LZMAFile),
)
"""How a packed file begins, its name, and who unpacks it. Arrow's codecs come with pyarrow; a
package for zstd alone (zstandard) would do no more here."""
ZSTD = b"\x28\xb5\x2f\xfd"
_DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, ValueError, pa.ArrowException)

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks; UTF-32's before UTF-16's, which is how the former begins."""

_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a zip archive", "Unpack it and name the folder."),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it and name the folder."),
    (b"Rar!", "a rar archive", "Unpack it and name the folder."),
    (b"\x89PNG", "a PNG image", ""),
    (b"\xff\xd8\xff", "a JPEG image", ""),
    (b"GIF8", "a GIF image", ""),
    (b"%PDF", "a PDF document", ""),
    (b"\x7fELF", "a program", ""),
    (b"MZ\x90", "a program", ""),
    (b"SQLite format 3\x00", "a SQLite database", "Export its spans as CSV or JSON."),
    (b"ARROW1", "an Arrow (Feather) file", "Write the table as Parquet."),
    (b"ORC", "an ORC file", "Write the table as Parquet."),
    (b"Obj\x01", "an Avro file", "Write the spans as JSON or Parquet."),
    (b"\x89HDF", "an HDF5 file", "Write the table as Parquet."),
    (b"\x93NUMPY", "a NumPy array", ""),
    (b"\x80\x04", "a Python pickle", "Write the table as Parquet."),
    (b"\x80\x05", "a Python pickle", "Write the table as Parquet."),
    (b"\xd4\xc3\xb2\xa1", "a packet capture", ""),
    (b"\x0a\x0d\x0d\x0a", "a packet capture", ""),
)
"""How files of other kinds begin, what they are, and what to do."""
_TAR_PLACE, _TAR = 257, b"ustar"

_OTLP = (
    "Send the spans by OTLP to a collector with a file exporter, or to `worthit record`, and name "
    "that file."
)
_PRINTED: tuple[tuple[re.Pattern[bytes], str, str], ...] = (
    (re.compile(rb"\s*<(!doctype\s+html|html)\b", re.IGNORECASE), "an HTML page",
     "Name the address of the API or the file itself."),
    (re.compile(rb"\s*<\?xml\b|\s*<svg\b"), "an XML document", ""),
    (re.compile(
        rb"(?:^|\n)[^\n{]{0,80}\{\s*\n?\s*(?:resource|traceId|instrumentationScope|parentId|"
        rb"parentSpanContext|traceState|name|id): "),
     "what Node's ConsoleSpanExporter prints for people, which is no JSON", _OTLP),
    (re.compile(rb"(?:^|\n).{0,80}Activity\.(?:TraceId|Id): "),
     "what .NET's console exporter prints for people, which is no JSON", _OTLP),
    (re.compile(rb"#<struct OpenTelemetry::SDK::Trace::SpanData"),
     "what Ruby's ConsoleSpanExporter prints for people, which is no JSON", _OTLP),
    (re.compile(rb"(?:^|\n)(?:.{0,80})ResourceSpans #\d+"),
     "what the collector's debug exporter prints for people, which is no JSON", _OTLP),
    (re.compile(rb"(?:^|\n)\{\s*\n\s+name\s+: "),
     "what the C++ ostream exporter prints for people, which is no JSON", _OTLP),
    (re.compile(rb"LoggingSpanExporter.*\n?.*'.+' : [0-9a-f]{32} [0-9a-f]{16} "),
     "what Java's logging exporter prints for people, without times",
     "Use Java's logging-otlp exporter, or OTLP."),
    (re.compile(rb"(?:^|\n)Spans\n(?:Resource|\s)"),
     "what Rust's stdout exporter prints for people, which is no JSON", _OTLP),
)  # fmt: skip
"""Text that people read, what it is, and what to do. Each is the exporter's own layout: Node's
util.inspect (opentelemetry-js ConsoleSpanExporter), ConsoleActivityExporter of
opentelemetry-dotnet, Ruby's pp of SpanData, collector debugexporter (verbosity: detailed),
ostream_span_exporter.cc."""
_LOOKED_AT_BYTES = 1 << 16


def plain(content: bytes, name: str, reading: Reading) -> bytes:
    """Undo compression, a byte order mark and UTF-16.

    Raises ``InputError`` for damage and ``NotTracesError`` for a file of another kind.
    """
    for _ in range(_LAYERS):
        for magic, packing, opened in _PACKED:
            if content.startswith(magic):
                content = _unpacked(content, name, packing, opened, reading)
                break
        else:
            break
    _refuse_other_kinds(content, name)
    return _utf8(content, name)


def _unpacked(
    content: bytes,
    name: str,
    packing: str,
    opened: Callable[[BytesIO], Any],
    reading: Reading,
) -> bytes:
    """Unpack; of damaged bytes what comes before the damage."""
    try:
        with opened(BytesIO(content)) as file:
            return bytes(file.read())
    except _DAMAGE as error:
        told = " ".join(str(error).split())
        reading.damage(
            f"{name} is a damaged {packing} file ({told})", "Copy or write it again, or"
        )
    parts: list[bytes] = []
    with suppress(*_DAMAGE), opened(BytesIO(content)) as file:
        read = getattr(file, "read1", file.read)
        while part := read(_STEP_BYTES):
            parts.append(part)
    return b"".join(parts)


def frame(content: bytes) -> bytes:
    """Unpack one zstd frame. Raises ``ValueError`` where it is none."""
    with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as file:
        try:
            return bytes(file.read())
        except (OSError, pa.ArrowException) as error:
            raise ValueError(str(error)) from error


def _refuse_other_kinds(content: bytes, name: str) -> None:
    for magic, what, advice in _MAGIC:
        if content.startswith(magic):
            raise NotTracesError(f"{name} is {what}, no traces. {advice}".rstrip())
    if content[_TAR_PLACE : _TAR_PLACE + len(_TAR)] == _TAR:
        raise NotTracesError(
            f"{name} is a tar archive, no traces by itself. Unpack it and name the folder."
        )


def refuse_printed(content: bytes, name: str) -> None:
    """Raise ``NotTracesError`` where the text is of a kind that only people can read."""
    for pattern, what, advice in _PRINTED:
        if pattern.search(content, 0, _LOOKED_AT_BYTES):
            raise NotTracesError(f"{name} is {what}. {advice}".rstrip())


def _utf8(content: bytes, name: str) -> bytes:
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            if encoding == "utf-8":
                return content[len(mark) :]
            try:
                return content.decode(encoding).encode()
            except UnicodeError as error:
                raise NotTracesError(
                    f"{name} begins like {encoding.upper()} text and is none ({error}). "
                    "Copy or write it again."
                ) from error
    for encoding, begins in (("utf-16-le", b"{["), ("utf-16-be", b"{[")):
        place = 0 if encoding.endswith("le") else 1
        if (
            content[place : place + 1] in (begins[:1], begins[1:])
            and content[1 - place : 2 - place] == b"\0"
        ):
            with suppress(UnicodeError):
                return content.decode(encoding).encode()
    return content
