"""From places in a JSON text to columns: each different value is decoded once, not each span's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from analysis.formats.columns import COLUMN_SOURCES, without_zeros
from analysis.formats.walked.shape import Shape, bytes_of
from analysis.kernels.reading import json_walk as kernel
from analysis.kernels.reading import wire
from worthit.contract.tables import SPANS

Rows = NDArray[np.int64]
Sources = Mapping[str, tuple[tuple[str, ...], Callable[[Any], Any], bool]]
"""Column: the attributes it is taken from, how they are read, whether they stay."""
_TEXT = pa.large_string()
_EMPTY = len('""')
"""Bytes of an empty text, list or object."""


class UnusualError(Exception):
    """The text is to be read by the reader that looks at each value."""


class Places:
    """Records of a text, where their fields are, and their attributes."""

    def __init__(self, content: bytes, shape: Shape) -> None:
        """Walk through it. Raises ``UnusualError`` where it is no JSON of this shape."""
        self.data = bytes_of(content)
        whole, self._records, self._places, self._pairs = kernel.walk(
            self.data, len(content), *shape.tables
        )
        if not whole:
            raise UnusualError
        self._shape = shape

    def knows(self, level: str) -> bool:
        """Whether the format has records of a level."""
        return level in self._shape.levels

    def has_idle(self) -> bool:
        """Whether a document has no record in it that is no document: it is something else."""
        level, above = self._records.T
        if not self.knows("document"):
            return not level.size
        documents = level == self._shape.levels["document"]
        inside = np.zeros(level.size, np.bool_)
        inside[above[above >= 0]] = True
        return not level.size or bool((documents & ~inside).any())

    def rows(self, level: str) -> Rows:
        """Give the records of a level."""
        return np.flatnonzero(self._records[:, 0] == self._shape.levels[level])

    def above(self, rows: Rows) -> Rows:
        """Give the records that these are in."""
        return np.ascontiguousarray(self._records[rows, 1])

    def where(self, name: str, rows: Rows) -> tuple[Rows, Rows]:
        """Give begins and ends of a field; -1 where a record lacks it."""
        place = self._shape.fields[name] if name else self._places.shape[1] - 1
        found = self._places[:, place]
        return found[rows, 0], found[rows, 1]

    def has(self, name: str, rows: Rows) -> NDArray[np.bool_]:
        """Say which records have a field that is more than null, "", [] or {}."""
        begins, ends = self.where(name, rows)
        found: NDArray[np.bool_] = (ends - begins > _EMPTY) & (self.data[begins] != ord("n"))
        return found

    def ids(self, name: str, rows: Rows, *, prefix: bytes = b"") -> pa.Array:
        """Give texts in lower case without their prefix, missing where they are empty."""
        begins, ends = self.where(name, rows)
        is_text = self.data[begins] == ord('"')
        for place, byte in enumerate(prefix, start=1):
            if not (~is_text | (self.data[begins + place] == byte)).all():
                raise UnusualError
        return self._texts(begins, ends, len(prefix), lower=True)

    def moments(self, name: str, rows: Rows, zone: str | None) -> pa.Array:
        """Give moments, written as ISO 8601 has them, in ns since 1970."""
        texts = self._texts(*self.where(name, rows), 0, lower=False)
        return texts.cast(pa.timestamp("ns", zone)).cast(pa.int64())

    def _texts(self, begins: Rows, ends: Rows, skipped: int, *, lower: bool) -> pa.Array:
        plain, text, offsets = kernel.texts(self.data, begins, ends, skipped, lower)
        if not plain:
            raise UnusualError
        return _strings(text, offsets)

    def numbers(self, name: str, rows: Rows) -> pa.Array:
        """Give whole numbers, in quotes or not."""
        whole, found, missing = kernel.numbers(self.data, *self.where(name, rows))
        if not whole:
            raise UnusualError
        return pa.array(found, mask=missing)

    def distinct(self, begins: Rows, ends: Rows) -> tuple[Rows, list[Any]]:
        """Number values, and decode each different one; None for what is not there."""
        codes, firsts = wire.numbered(self.data, begins, ends - begins)
        return codes, [self._decoded(begins[i], ends[i]) for i in firsts.tolist()]

    def _decoded(self, begin: int, end: int) -> Any:
        return orjson.loads(self.data[begin:end].tobytes()) if begin >= 0 else None

    def words(self, name: str, rows: Rows, read: Callable[[Any], Any] | None = None) -> pa.Array:
        """Give texts of which many are the same, or what ``read`` makes of each different one."""
        codes, values = self.distinct(*self.where(name, rows))
        found = values if read is None else [read(value) for value in values]
        return _array(found).take(pa.array(codes))

    def some(self, name: str, rows: Rows, read: Callable[[Any], str | None]) -> pa.Array:
        """Give what ``read`` makes of a field that few records have."""
        begins, ends = self.where(name, rows)
        found: list[str | None] = [None] * rows.size
        for i in np.flatnonzero(self.has(name, rows)).tolist():
            found[i] = read(self._decoded(begins[i], ends[i]))
        return _array(found)

    def pairs(self, level: str, convert: Callable[[Any], Any]) -> Pairs:
        """Give the attributes of a level's records; ``convert`` makes values of what is nested."""
        rows = self.rows(level)
        row_of = np.full(len(self._records) + 1, -1, np.int64)
        row_of[rows] = np.arange(rows.size)
        owners = row_of[self._pairs[:, kernel.OWNER]]
        if owners.size and owners.min() >= 0:
            return Pairs(self, self._pairs, owners, rows.size, convert)
        own = owners >= 0
        return Pairs(self, self._pairs[own], owners[own], rows.size, convert)


class Pairs:
    """Attributes of one level's records."""

    def __init__(
        self, places: Places, pairs: Rows, rows: Rows, size: int, convert: Callable[[Any], Any]
    ) -> None:
        self._places, self._pairs, self._rows, self._size = places, pairs, rows, size
        self._convert = convert
        begins, ends = (
            np.ascontiguousarray(pairs[:, column]) for column in (kernel.KEY_BEGIN, kernel.KEY_END)
        )
        self._codes, self._keys = places.distinct(begins, ends)
        if None in self._keys or len(set(self._keys)) < len(self._keys):
            raise UnusualError

    def having(self, key: str) -> tuple[Rows, Rows, list[Any]]:
        """Give the records that have an attribute, and their values: which of these."""
        found = self._at(key)
        which, values = self._values(found)
        return self._rows[found], which, values

    def words(self, key: str) -> pa.Array:
        """Give each record's attribute that is a text."""
        place = np.full(self._size, -1, np.int64)
        rows, which, values = self.having(key)
        place[rows] = which
        texts = [value if isinstance(value, str) and value else None for value in values]
        return _array(texts).take(pa.array(place, mask=place < 0))

    def _at(self, key: str) -> Rows:
        codes = [code for code, one in enumerate(self._keys) if one == key]
        return np.flatnonzero(np.isin(self._codes, codes)) if codes else np.zeros(0, np.int64)

    def _values(self, found: Rows) -> tuple[Rows, list[Any]]:
        begins, ends = self._pairs[found, kernel.BEGIN], self._pairs[found, kernel.END]
        forms = self._pairs[found, kernel.FORM]
        which, firsts = wire.numbered(self._places.data, begins, ends - begins)
        return which, [self._value(begins[i], ends[i], forms[i]) for i in firsts.tolist()]

    def _value(self, begin: int, end: int, form: int) -> Any:
        value = self._places._decoded(begin, end)  # noqa: SLF001 - of this module
        if form == kernel.COUNTED:
            return int(value)
        return self._convert(value) if form == kernel.CONVERTED else value

    def columns(
        self, more_key: str, more: tuple[Rows, Rows] | None = None, sources: Sources | None = None
    ) -> dict[str, pa.Array]:
        """Give the columns that attributes have of their own, and the JSON of the rest.

        ``more`` is where one more text of each record is, which is the attribute ``more_key``.
        """
        kept = np.ones(self._rows.size, np.bool_)
        found = {
            column: self._column(SPANS.field(column).type, kept, *source)
            for column, source in (COLUMN_SOURCES if sources is None else sources).items()
        }
        found["attributes"] = self._texts(kept, more_key, more)
        return found

    def _column(
        self,
        kind: pa.DataType,
        kept: NDArray[np.bool_],
        sources: Sequence[str],
        read: Callable[[Any], Any],
        stays: bool,  # noqa: FBT001 - as COLUMN_SOURCES has it
    ) -> pa.Array:
        place = np.full(self._size, -1, np.int64)
        values: list[Any] = []
        for source in sources:  # today's name first
            at = self._at(source)
            at = at[place[self._rows[at]] < 0]
            which, different = self._values(at)
            taken = [read(value) for value in different]
            known = np.array([value is not None for value in taken], np.bool_)[which]
            place[self._rows[at[known]]] = len(values) + which[known]
            values += taken
            if not stays:
                kept[at[known]] = False
        try:
            array = pa.array(values, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise UnusualError from error
        return array.take(pa.array(place, mask=place < 0))

    def _texts(
        self, kept: NDArray[np.bool_], more_key: str, more: tuple[Rows, Rows] | None
    ) -> pa.Array:
        data = self._converted()
        fragments = [orjson.dumps(key) + b":" for key in (*self._keys, more_key)]
        code = self._keys.index(more_key) if more_key in self._keys else len(self._keys)
        places = np.full((self._size, 2), -1, np.int64) if more is None else np.stack(more, axis=1)
        unique, text, ends = kernel.objects(
            data, self._pairs, self._rows, self._codes,
            np.frombuffer(b"".join(fragments), np.uint8), np.cumsum([0, *map(len, fragments)]),
            kept, places, code, self._size,
        )  # fmt: skip
        if not unique:
            raise UnusualError
        return _strings(text, ends)

    def _converted(self) -> NDArray[np.uint8]:
        """Put values that are not copied as they stand behind the text; give all of it."""
        data, pairs = self._places.data, self._pairs
        found = np.flatnonzero(pairs[:, kernel.FORM] == kernel.CONVERTED)
        if not found.size:
            return data
        which, values = self._values(found)
        texts = [orjson.dumps(value, default=str) for value in values]
        begins = data.size + np.cumsum([0, *map(len, texts)])
        self._pairs = pairs = pairs.copy()
        pairs[found, kernel.BEGIN], pairs[found, kernel.END] = begins[which], begins[which + 1]
        return np.concatenate((data, np.frombuffer(b"".join(texts), np.uint8)))


def table(columns: Mapping[str, pa.Array]) -> pa.Table:
    """Give a spans table of these columns and the others empty."""
    rows = len(columns["trace_id"])
    found = {
        "follows_from": pa.repeat(pa.scalar(value=False), rows),
        "links": pa.nulls(rows, _TEXT),
        **columns,
    }
    found["parent_span_id"] = without_zeros(found["parent_span_id"])
    return pa.Table.from_arrays([found[name] for name in SPANS.names], schema=SPANS)


def _array(values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values, _TEXT)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UnusualError from error


def _strings(text: NDArray[np.uint8], offsets: Rows) -> pa.Array:
    there = np.packbits(np.diff(offsets) > 0, bitorder="little")
    return pa.LargeStringArray.from_buffers(
        offsets.size - 1, pa.py_buffer(offsets), pa.py_buffer(text), pa.py_buffer(there)
    )
