"""docs/claims.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from analysis.claims import claims
from analysis.claims.quantities import QUANTITIES, SCOPES

PAGE = (Path(__file__).parents[3] / "docs" / "claims.md").read_text(encoding="utf-8")


def test_every_quantity_and_scope_is_on_the_page() -> None:
    """The page's tables name exactly the quantities and scopes that a claim may have."""
    first_cells = re.findall(r"^\| (`[^|]+`) \|", PAGE, flags=re.MULTILINE)
    names = {name for cell in first_cells for name in re.findall(r"`([a-z0-9_]+)`", cell)}

    assert set(QUANTITIES) <= names
    assert set(SCOPES) <= names
    assert names <= set(QUANTITIES) | set(SCOPES) | set(claims.Claim.model_fields)


def test_the_pages_example_is_a_claim(tmp_path: Path) -> None:
    """What the page shows can be read as it stands."""
    file = tmp_path / "example.toml"
    file.write_text(PAGE.split("```toml\n")[1].split("```")[0])

    ledger = claims.read(file)

    assert ["twenty-times-fewer-queries"] == [claim.id for claim in ledger.claims]
