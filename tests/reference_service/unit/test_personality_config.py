"""What `PUT /personalities/{name}` takes: nothing that PostgreSQL or JSON would not give back."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from reference_service.models import PersonalityConfig

PLAIN: dict[str, Any] = {"archetype": "wise_mentor", "system_prompt": "Be kind.", "traits": {}}


@pytest.mark.parametrize(
    "wrong",
    [
        {"traits": {"warmth": -3.75e84}},
        {"traits": {"warmth": float("nan")}},
        {"traits": {"war\x00mth": True}},
        {"traits": {"warmth": "\x00"}},
        {"archetype": "\x00"},
        {"system_prompt": "a\x00b"},
    ],
    ids=str,
)
def test_what_cannot_be_stored_is_refused_before_it_is_tried(wrong: dict[str, Any]) -> None:
    """Jsonb writes 1e84 as 85 digits, and no text there holds NUL: both were a 500 once."""
    assert PersonalityConfig(**PLAIN | {"traits": {"warmth": 0.9, "calm": True, "of": "Elara"}})
    with pytest.raises(ValidationError):
        PersonalityConfig(**PLAIN | wrong)
