"""Which format is this file? Found by content, never by name.

Then read by the module of that format.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pyarrow as pa

from analysis.errors import AnalysisError, InputError
from analysis.formats import jaeger_json, otlp_json, otlp_protobuf, parquet, zipkin_json
from analysis.formats.columns import empty

_GZIP = b"\x1f\x8b"
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
    content = _content(path, head, damage)
    stripped = content.lstrip()[:1]
    if not stripped:
        raise InputError(f"{path} is empty; {_KNOWN} is expected.")
    if stripped in b"{[":
        return _json(content, path, damage)
    return _protobuf(content, path, damage)


def _content(path: Path, head: bytes, damage: list[str] | None) -> bytes:
    """Give a file's bytes, unzipped where it is gzip."""
    if not head.startswith(_GZIP):
        return path.read_bytes()
    unzipped = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        sentence = f"{path} is a damaged gzip file ({error}); copy or write it again."
        if damage is None:
            raise InputError(sentence) from error
        damage.append(sentence)
        try:
            return unzipped.decompress(path.read_bytes())
        except zlib.error:
            return b""


def _json(content: bytes, path: Path, damage: list[str] | None) -> pa.Table:
    try:
        return _whole(content, str(path))
    except orjson.JSONDecodeError as error:
        if b"\n" in content.strip() and _is_json(content.lstrip().split(b"\n", 1)[0]):
            return _lines(content, path, damage)
        sentence = f"{path} is not whole JSON: {error}; {_KNOWN} is expected."
        if damage is None:
            raise InputError(sentence) from error
        damage.append(sentence)
        return empty()


def _whole(content: bytes, where: str) -> pa.Table:
    """Read one document; a large one of Jaeger's trace by trace."""
    traces = jaeger_json.one_by_one(content)
    if traces is not None:
        with suppress(orjson.JSONDecodeError):  # the whole document tells its line and column
            return _told(jaeger_json, jaeger_json.table_of, traces, where)
    return _document(orjson.loads(content), where)


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


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
    return pa.concat_tables(tables) if tables else empty()


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


def _protobuf(content: bytes, path: Path, damage: list[str] | None) -> pa.Table:
    lost: list[otlp_protobuf.Undecodable] = []
    tables = list(otlp_protobuf.batches(io.BytesIO(content), lost))
    if not tables:
        raise InputError(f"{path} holds no traces in a known format; {_KNOWN} is expected.")
    for part in lost:
        sentence = (
            f"{path} is damaged at byte {part.offset}: {part.length} bytes are no OTLP message"
        )
        if damage is None:
            raise InputError(
                f"{sentence}. Record it again, or ask for the rest with skip_damaged=True."
            )
        damage.append(sentence)
    return pa.concat_tables(tables)
