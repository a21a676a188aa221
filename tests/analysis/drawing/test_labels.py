"""Long names stay within the room that a figure has for them."""

from __future__ import annotations

import pytest

from analysis.drawing.labels import fitted

STATEMENT = "SELECT product_id, quantity FROM stock WHERE product_id = ANY(?) ORDER BY product_id"


@pytest.mark.parametrize(("letters", "lines"), [(29, 2), (44, 1), (20, 3), (5, 1)])
def test_no_line_is_longer_than_the_room(letters: int, lines: int) -> None:
    """What is too long loses its middle: how it begins and how it ends are kept."""
    made = fitted(STATEMENT, letters, lines).split("\n")

    assert len(made) <= lines
    assert max(map(len, made)) <= letters
    assert made[0].startswith(STATEMENT[:2])
    assert made[-1].endswith(STATEMENT[-2:])


def test_a_name_that_fits_stays() -> None:
    """A short name is untouched."""
    assert "GET /cart" == fitted("GET /cart", 29, 2)
