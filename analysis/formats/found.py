"""Which format is this file? Found by content, never by name.

Then read by the module of that format.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import orjson
import pyarrow as pa

from analysis.errors import AnalysisError, InputError
from analysis.formats import jaeger_json, otlp_json, otlp_protobuf, parquet, zipkin_json
from analysis.formats.columns import empty

_GZIP = b"\x1f\x8b"
_STEP_BYTES = 1 << 10
"""What is unzipped at once of a damaged file: as much may be lost before the damage."""
_KNOWN = "Parquet, OTLP JSON or protobuf, Jaeger JSON or Zipkin v2 JSON"
_JSON_FORMATS = (otlp_json, jaeger_json, zipkin_json)


def table(path: Path, columns: Sequence[str] | None, damage: list[str] | None) -> pa.Table:
    """Read one file of any known format.

    Where ``damage`` is a list, damaged lines and tails are noted there and the rest is read; else
    they raise ``InputError``.
    """
    with path.open("rb") as file:
        head = file.read(4)
    if head == parquet.MAGIC:
        return parquet.table(path, columns)
    content = path.read_bytes()
    if head.startswith(_GZIP):
        content = _unzipped(content, path, damage)
        if content.startswith(parquet.MAGIC):
            return parquet.table(path, columns, content)
    begins = content.lstrip()[:1]
    if not begins:
        raise InputError(f"{path} is empty; {_KNOWN} is expected.")
    if otlp_protobuf.begins_with_spans(io.BytesIO(content)):  # also with a length like { or [
        return _together(list(_recording(io.BytesIO(content), path, damage)))
    if begins in b"{[":
        return _json(content, path, damage)
    found = _protobuf(content, path, damage)
    if found is None:
        raise InputError(f"{path} holds no traces in a known format; {_KNOWN} is expected.")
    return found


def batches(
    path: Path, columns: Sequence[str] | None, damage: list[str] | None
) -> Iterator[pa.Table]:
    """Read as ``table`` does; Parquet and a recorder's file, as they are, a batch at a time."""
    with path.open("rb") as file:
        if file.peek(len(parquet.MAGIC)).startswith(parquet.MAGIC):
            yield from parquet.batches(path, columns)
        elif otlp_protobuf.begins_with_spans(file):
            file.seek(0)
            yield from _recording(file, path, damage)
        else:
            yield table(path, columns, damage)


def _unzipped(content: bytes, path: Path, damage: list[str] | None) -> bytes:
    """Unzip a file's bytes; of damaged ones what comes before the damage."""
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        sentence = f"{path} is a damaged gzip file ({error}); copy or write it again."
        if damage is None:
            raise InputError(sentence) from error
        damage.append(sentence)
    parts = []
    with (
        suppress(EOFError, gzip.BadGzipFile, zlib.error),
        gzip.GzipFile(fileobj=io.BytesIO(content)) as file,
    ):
        while part := file.read1(_STEP_BYTES):
            parts.append(part)
    return b"".join(parts)


def _json(content: bytes, path: Path, damage: list[str] | None) -> pa.Table:
    try:
        return _whole(content, str(path))
    except orjson.JSONDecodeError as error:
        if _is_lines(content):
            return _lines(content, path, damage)
        binary = _protobuf(content, path, damage, some=True)
        if binary is not None:
            return binary
        sentence = f"{path} is not whole JSON: {error}; {_KNOWN} is expected."
        if damage is None:
            raise InputError(sentence) from error
        damage.append(sentence)
        return empty()


def _is_lines(content: bytes) -> bool:
    """Whether this is one document a line, some of them damaged: the first or any one is whole."""
    lines = (line for line in content.split(b"\n") if line.strip())
    first, others = next(lines), list(lines)
    if not others:
        return False
    return _parsed(first) is not None or any(_is_traces(_parsed(line)) for line in others)


def _parsed(line: bytes) -> Any:
    with suppress(orjson.JSONDecodeError):
        return orjson.loads(line)
    return None


def _is_traces(document: Any) -> bool:
    return any(module.matches(document) for module in _JSON_FORMATS)


def _whole(content: bytes, where: str) -> pa.Table:
    """Read one document; a large one of Jaeger's trace by trace."""
    traces = jaeger_json.one_by_one(content)
    if traces is not None:
        with suppress(orjson.JSONDecodeError):  # the whole document tells its line and column
            return _told(jaeger_json, jaeger_json.table_of, traces, where)
    return _document(orjson.loads(content), where)


def _lines(content: bytes, path: Path, damage: list[str] | None) -> pa.Table:
    """Read one document a line; a bad line is named with its number."""
    tables = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            tables.append(_document(orjson.loads(line), f"{path}, line {number}"))
        except (orjson.JSONDecodeError, AnalysisError) as error:
            sentence = f"{path}, line {number} is damaged: {error}"
            if damage is None:
                raise InputError(
                    f"{sentence}. Mend it, or ask for the rest with skip_damaged=True."
                ) from error
            damage.append(sentence)
    return _together(tables)


def _document(document: Any, where: str) -> pa.Table:
    if document in ({}, []):
        return empty()
    for module in _JSON_FORMATS:
        if module.matches(document):
            return _told(module, module.table, document, where)
    keys = sorted(document)[:6] if isinstance(document, dict) else type(document).__name__
    raise InputError(f"{where} is JSON but not traces (found {keys}); {_KNOWN} is expected.")


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
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{where} looks like {module.NAME} and holds something else ({error!r}); "
            "write it again with the tool that made it."
        ) from error


def _recording(file: BinaryIO, path: Path, damage: list[str] | None) -> Iterator[pa.Table]:
    """Read messages, each after its length, one by one; what is lost is told at the end."""
    lost: list[otlp_protobuf.Undecodable] = []
    yield from otlp_protobuf.batches(file, lost)
    _tell(lost, path, damage)


def _protobuf(
    content: bytes, path: Path, damage: list[str] | None, *, some: bool = False
) -> pa.Table | None:
    """Read one message as exporters post it, or what is whole of a recording; None: it is neither.

    With ``some`` it is neither unless there are spans in it.
    """
    lost: list[otlp_protobuf.Undecodable] = []
    if otlp_protobuf.is_message(content):
        tables = otlp_protobuf.one_message(content, lost)
    else:
        tables = list(otlp_protobuf.batches(io.BytesIO(content), lost))
    if not tables or (some and not any(one.num_rows for one in tables)):
        return None
    _tell(lost, path, damage)
    return _together(tables)


def _together(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables) if tables else empty()


def _tell(lost: list[otlp_protobuf.Undecodable], path: Path, damage: list[str] | None) -> None:
    for part in sorted(lost, key=lambda part: part.offset):
        sentence = (
            f"{path} is damaged at byte {part.offset}: {part.length} bytes are no OTLP message"
        )
        if damage is None:
            raise InputError(
                f"{sentence}. Record it again, or ask for the rest with skip_damaged=True."
            )
        damage.append(sentence)
