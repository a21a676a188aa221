"""Cached values by type: what comes back whole, and what is refused as corrupt."""

from __future__ import annotations

import orjson
import pytest

from reference_service.models import Memory, Preferences
from reference_service.services.cached_stages import (
    decode_memories,
    decode_preferences,
    encode_memories,
    encode_preferences,
)
from reference_service.services.envelope import CorruptEntryError, open_envelope


def test_what_was_cached_comes_back() -> None:
    """Preferences and memories are the same after JSON."""
    preferences = Preferences(language="de", tone="warm", reply_length="short")
    memories = [Memory(content="the sea", distance=0.25), Memory(content="", distance=0)]

    assert preferences == decode_preferences(_through_json(encode_preferences(preferences)))
    assert memories == decode_memories(_through_json(encode_memories(memories)))


@pytest.mark.parametrize(
    "value",
    [
        None,
        "en",
        [],
        {"language": "en"},
        {"language": None, "tone": "warm", "reply_length": "short"},
        {"language": "en", "tone": "warm", "reply_length": 7},
    ],
)
def test_preferences_of_other_types_are_corrupt(value: object) -> None:
    """Anything but three texts is refused."""
    with pytest.raises(CorruptEntryError):
        decode_preferences(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"content": "the sea", "distance": 0.25},
        ["the sea"],
        [{"content": "the sea"}],
        [{"content": None, "distance": 0.25}],
        [{"content": "the sea", "distance": "near"}],
        [{"content": "the sea", "distance": True}],
    ],
)
def test_memories_of_other_types_are_corrupt(value: object) -> None:
    """Anything but a list of text and number is refused."""
    with pytest.raises(CorruptEntryError):
        decode_memories(value)


@pytest.mark.parametrize("version", ["1", None, True, 1.5])
def test_a_version_that_is_no_integer_is_corrupt(version: object) -> None:
    """Versions are compared, so nothing else may stand for one."""
    entry = orjson.dumps({"schema": 1, "key": "k", "row_version": version, "value": "x"})
    with pytest.raises(CorruptEntryError):
        open_envelope("k", entry)


def _through_json(value: object) -> object:
    return orjson.loads(orjson.dumps(value))
