"""CSV and its like: a header, then a span a line; commas, tabs, semicolons or bars between."""

from __future__ import annotations

import csv
import io
import re

import pyarrow as pa
from pyarrow import csv as arrow_csv

from analysis.errors import InputError
from analysis.formats import named_columns
from analysis.formats.reading import NotTracesError, Reading

_SEPARATORS = (",", "\t", ";", "|")
_FEWEST_COLUMNS = 3
_LONGEST_NAME = 64
"""A header's names are short; a sentence with commas in it is none."""


def table(content: bytes, name: str, reading: Reading) -> pa.Table | None:
    """Read a text with a header; None: it has none.

    Raises ``NotTracesError`` where its columns are no spans'.
    """
    header, separator = _header(content)
    if header is None:
        _refuse_headless(content, name)
        return None
    try:
        layout = named_columns.layout_of(header, reading.columns)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if layout is None:
        lacks = named_columns.lacking(header) or "a trace id"
        raise NotTracesError(
            f"{name} is a CSV without {lacks} (columns {', '.join(header[:12])}); say which "
            "column is what with --columns trace_id=...,span_id=...,start=...:us."
        )
    if layout.name.startswith("columns"):
        told = ", ".join(f"{what}={column}" for what, column in layout.columns.items())
        reading.remark(f"{name}: columns known by their names ({told}).")
    try:
        found = _read(content, header, separator, name, reading)
        found = _without_types(found, layout.columns["trace_id"])
        return named_columns.spans_of(
            {column: found.column(column) for column in found.column_names}, layout, reading
        )
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except (pa.ArrowException, ValueError, TypeError, KeyError, AttributeError) as error:
        told = " ".join(str(error).split())
        raise InputError(
            f"{name} looks like {layout.name} as CSV and holds something else ({told}); "
            "write it again with the tool that made it."
        ) from error


_SEVERAL = 4
"""Separators of a line that may be a row."""
_MOMENT = re.compile(rb'^"?(?:\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d|\d{10,19}\b)')


def _refuse_headless(content: bytes, name: str) -> None:
    """Say of rows without a header line that they lack it: ClickHouse's FORMAT CSV and TSV."""
    first, *rest = content.lstrip().split(b"\n", 2)
    if b'{"' in first:  # a log of JSON, not a ClickHouse's {'key':'value'}
        return
    for separator in (",", "\t"):
        mark = separator.encode()
        if first.count(mark) >= _SEVERAL and _MOMENT.match(first) and mark in b"".join(rest[:1]):
            raise NotTracesError(
                f"{name} is a table without a line of column names; write it with one, in "
                "ClickHouse by FORMAT CSVWithNames, TSVWithNames, JSONEachRow or Parquet."
            )


_TYPE = re.compile(r"^(?:(?:LowCardinality|Nullable)\()*(?:String|FixedString|UUID)\b")
"""The types of ids in ClickHouse."""


def _without_types(found: pa.Table, column: str) -> pa.Table:
    """Leave the second line of ClickHouse's ...WithNamesAndTypes out."""
    first = found.column(column)[0].as_py() if found.num_rows else ""
    return found.slice(1) if _TYPE.match(first) else found


def _header(content: bytes) -> tuple[list[str] | None, str]:
    line = content.lstrip().split(b"\n", 1)[0].decode(errors="replace").strip("\r")
    separator = max(_SEPARATORS, key=line.count)
    names = next(csv.reader([line], delimiter=separator), [])
    names = [one.strip() for one in names]
    likely = (
        len(names) >= _FEWEST_COLUMNS
        and sum(bool(one) for one in names) >= len(names) - 1  # an index has no name
        and all(len(one) <= _LONGEST_NAME and not one[:1].isdigit() for one in names)
        and not names[0].startswith("#")  # Markdown
        and '{"' not in line  # a log of JSON
        and len(set(names)) == len(names)
    )
    return (names if likely else None), separator


def _read(
    content: bytes, header: list[str], separator: str, name: str, reading: Reading
) -> pa.Table:
    """Read every column as text: an id of digits is no number."""
    bad: list[str] = []

    def noted(row: arrow_csv.InvalidRow) -> str:
        bad.append(f"{row.actual_columns} columns in place of {row.expected_columns}")
        return "skip"

    found = arrow_csv.read_csv(
        io.BytesIO(content.lstrip()),
        read_options=arrow_csv.ReadOptions(column_names=header, skip_rows=1),
        parse_options=arrow_csv.ParseOptions(
            delimiter=separator, newlines_in_values=True, invalid_row_handler=noted
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
        ),
    )
    if bad:
        rows = "1 row has" if len(bad) == 1 else f"{len(bad)} rows have"
        reading.damage(f"{name}: {rows} {bad[0]}", "Mend it, or")
    return found
