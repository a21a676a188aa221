"""Lean spans: nothing of what is asked is lost with the columns that are left out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from analysis.errors import ColumnError, InputError
from analysis.formats import attributes
from analysis.rundir import column_projection
from analysis.rundir.run import Run, open_run
from tests.support.runs.synthetic_run import Truth, write_run
from worthit.contract.names import SCOPE_NAME, STATEMENT

TINY = Truth(rates_per_s=(10.0,), pairs=1, block_s=1.0)


def as_texts(spans: pd.DataFrame) -> pd.DataFrame:
    """Lean spans with words spelled out, in the order of the format."""
    spelled = spans.astype(
        dict.fromkeys(
            (*column_projection.IDS, *column_projection.WORDS, STATEMENT, SCOPE_NAME), "str"
        )
    )
    return spelled.reset_index(drop=True)


def parsed(spans: pd.DataFrame, key: str) -> list[object]:
    """What stands under a key, by a JSON parser."""
    return [json.loads(text).get(key) if isinstance(text, str) else None
            for text in spans["attributes"]]  # fmt: skip


def test_lean_spans_are_the_measured_spans(run: Run) -> None:
    """Every column kept has the values that the whole table has, warm-up left out."""
    expected = run.measured_spans[list(column_projection.COLUMNS)].reset_index(drop=True)

    pd.testing.assert_frame_equal(
        expected,
        as_texts(open_run(run.path).projected_measured_spans)[list(column_projection.COLUMNS)],
    )


def test_each_attribute_is_read_as_a_json_parser_reads_it(run: Run) -> None:
    """The attributes that are asked for stand in columns of their own."""
    spans = open_run(run.path).projected_spans
    for key in column_projection.ATTRIBUTES:
        actual = [None if pd.isna(value) else value for value in spans[key]]

        assert parsed(run.spans, key) == actual


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0.0), ("17", 17.0), ("-5", -5.0), ("123456789012345", 123456789012345.0),
        ("9007199254740993123", 9007199254740993123.0), ("1.5", 1.5), ("-2E-2", -0.02),
        ('"12"', 12.0), ('"-7"', -7.0), ("null", None), ("true", None), ('"x"', None),
        ("[1]", None),
    ],
)  # fmt: skip
def test_a_number_is_read_however_it_is_written(
    kind: pa.DataType, value: str, expected: float | None
) -> None:
    """Plain or not, first or last, with blanks or without; names that resemble the key are not."""
    texts = [
        f'{{"a.key":{value}}}', f'{{"b":1,"a.key" : {value} ,"c":2}}',
        f'{{"b": 1, "a.key": {value}, "c": 2}}', None,
        f'{{"xa.key":3,"a.keys":4,"t":"a.key","a.key":{value}}}', '{"b":1}',
    ]  # fmt: skip

    found = attributes.numbers_in(pa.array(texts, kind), "a.key").to_pylist()

    assert [expected, expected, expected, None, expected, None] == found


def test_words_are_in_lexical_order(run: Run) -> None:
    """The numbers of words sort as the words do, so that tables come in the same order."""
    spans = open_run(run.path).projected_spans
    for name in column_projection.WORDS:
        words = list(spans[name].cat.categories)

        assert sorted(words) == words


def test_a_run_read_whole_gives_the_same_lean_spans(run: Run) -> None:
    """Whether the table was in memory already does not matter."""
    whole = open_run(run.path)
    assert not whole.spans.empty

    pd.testing.assert_frame_equal(
        as_texts(open_run(run.path).projected_measured_spans),
        as_texts(whole.projected_measured_spans),
    )


@pytest.mark.parametrize("pattern", ["1111", "0000", "0110", "1011", "10" * 5000])
def test_rows_that_count_are_those_that_a_mask_picks(pattern: str) -> None:
    """Taken as pieces or row by row, together or scattered."""
    counted = np.array([mark == "1" for mark in pattern])
    table = pa.table({"n": np.arange(counted.size)})

    expected = np.flatnonzero(counted).tolist()
    assert expected == column_projection.rows(table, counted).column("n").to_pylist()


def test_a_span_without_a_start_is_refused(tmp_path: Path) -> None:
    """Reading lean refuses what reading whole refuses."""
    folder = write_run(tmp_path / "run", TINY)
    spans = pd.read_parquet(folder / "spans.parquet", dtype_backend="numpy_nullable")
    spans["start_ns"] = spans["start_ns"].astype("Int64").mask(spans.index == 3)
    spans.to_parquet(folder / "spans.parquet")

    with pytest.raises(ColumnError, match="does not hold what"):
        _ = open_run(folder).projected_spans


def test_a_damaged_row_group_is_refused_in_one_sentence(run: Run, tmp_path: Path) -> None:
    """A table whose footer is whole and whose pages are not."""
    folder = write_run(tmp_path / "run", TINY)
    file = folder / "spans.parquet"
    content = bytearray(file.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    file.write_bytes(content)
    opened = dataclasses.replace(run, path=folder)

    with pytest.raises(InputError, match="damaged"):
        _ = opened.projected_spans
