import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from analysis.calltree import identity


def _column(*ids: str | None) -> pd.Series:
    return pd.Series(list(ids), dtype="str")


def test_hex_ids_are_the_numbers_they_spell() -> None:
    """Ten thousand drawn ids are read as Python reads them, missing ones apart from zero."""
    numbers = np.random.default_rng(1).integers(0, 2**64, 10_000, np.uint64)
    numbers[:2] = 0, 2**64 - 1
    ids = [f"{number:016x}" for number in numbers.tolist()]

    own, above, given = identity.span_keys(_column(*ids), _column(None, *ids[:-1]))

    assert numbers.tolist() == own.tolist()
    assert numbers[:-1].tolist() == above[1:].tolist()
    assert [False, *[True] * (len(ids) - 1)] == given.tolist()


@pytest.mark.parametrize(
    "odd", ["00000000000000G0", "000000000000000:", "abc", "ÄÄÄÄÄÄÄÄ", "a" * 32]
)
def test_ids_that_are_no_hex_are_still_told_apart(odd: str) -> None:
    """One other id in the column, and all are compared by their bytes; equal ones stay equal."""
    own, above, given = identity.span_keys(
        _column("0" * 16, odd, "0" * 15), _column(odd, None, "0" * 16)
    )

    assert 3 == len(set(own.tolist()))
    assert (own[1], own[0]) == (above[0], above[2])
    assert [True, False, True] == given.tolist()


def test_a_missing_span_id_is_no_other() -> None:
    """Sixteen zeros are an id like any other; a span without one has no children of theirs."""
    own, above, given = identity.span_keys(_column("0" * 16, None), _column(None, "0" * 16))

    assert own[0] == above[1]
    assert own[0] != own[1]
    assert [False, True] == given.tolist()


def test_missing_ids_that_hide_bytes_are_missing() -> None:
    """Arrow lets a null hide text; it is no id. Slices and chunks change nothing."""
    hidden = pa.LargeStringArray.from_buffers(
        3, pa.py_buffer(np.array([0, 16, 32, 48])), pa.py_buffer(b"a" * 48),
        null_bitmap=pa.py_buffer(b"\x05"),
    )  # fmt: skip
    column = pd.Series(pd.array(pa.chunked_array([hidden, hidden.slice(1)]), dtype="str"))

    _, above, given = identity.span_keys(column, column)

    assert [True, False, True, False, True] == given.tolist()
    assert 1 == len(set(above[given].tolist()))
    codes, count = identity.trace_codes(column)
    assert ([0, 1, 0, 1, 0], 2) == (codes.tolist(), count)


def _chunked(*chunks: list[str]) -> pd.Series:
    arrays = [pa.array(chunk, pa.large_string()) for chunk in chunks]
    return pd.Series(pd.array(pa.chunked_array(arrays, pa.large_string()), dtype="str"))


@pytest.mark.parametrize("width", [16, 32, 24, 5])
def test_ids_in_chunks_are_numbered_and_taken_as_in_one_piece(width: int) -> None:
    """Ids of any width, cut into uneven chunks, are told apart and found as pandas finds them."""
    rng = np.random.default_rng(width)
    ids = [f"{number:0{width}x}"[-width:] for number in rng.integers(0, 2000, 5000).tolist()]
    column = _chunked(ids[:7], [], ids[7:3000], ids[3000:3001], ids[3001:])

    codes, count = identity.trace_codes(column)

    assert (pd.factorize(np.array(ids))[0].tolist(), len(set(ids))) == (codes.tolist(), count)
    for rows in (np.arange(5000), rng.permutation(5000)[:900], np.zeros(0, np.int64)):
        taken = identity.ids_at(column, rows.astype(np.int32))
        assert [ids[row] for row in rows] == taken.tolist()
        assert column.dtype == taken.dtype


@pytest.mark.parametrize("form", ["{:032x}", "{:016x}0000000000000000", "{:032d}", "trace-{:d}"])
def test_ids_that_count_upwards_are_spread_like_drawn_ones(form: str) -> None:
    """4,096 of them fall on 3,624 of 16,384 places when drawn; so do counted ones, within 3 %."""
    ids = pa.chunked_array([pa.array([form.format(i) for i in range(4096)], pa.large_string())])

    places = identity.trace_hashes(ids) & np.uint64(16383)

    assert 3624 == pytest.approx(np.unique(places).size, rel=0.03)
