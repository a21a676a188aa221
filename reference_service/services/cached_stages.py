"""The stages with a result cache in front, each enabled by its own setting."""

from __future__ import annotations

import hashlib
from dataclasses import asdict

from reference_service.models import Memory, Preferences
from reference_service.services.envelope import CorruptEntryError, JsonValue
from reference_service.services.result_cache import ResultCache
from reference_service.services.stages import MemoryStage, PreferencesStage


class CachedPreferences:
    """Preferences by user."""

    def __init__(
        self, inner: PreferencesStage, fallback: PreferencesStage, cache: ResultCache[Preferences]
    ) -> None:
        self._inner = inner
        self._fallback = fallback
        self._cache = cache

    async def get(self, user_id: str) -> Preferences:
        """Return the preferences; at most as old as the cache's TTL."""
        return await self._cache.get(
            f"preferences:{user_id}",
            lambda: self._inner.get(user_id),
            lambda: self._fallback.get(user_id),
        )


class CachedMemories:
    """Memory results by user and message: they repeat only when a message does."""

    def __init__(
        self, inner: MemoryStage, fallback: MemoryStage, cache: ResultCache[list[Memory]]
    ) -> None:
        self._inner = inner
        self._fallback = fallback
        self._cache = cache

    async def retrieve(self, user_id: str, message: str) -> list[Memory]:
        """Return the memories; the key holds a digest of the message, not the message."""
        digest = hashlib.sha256(message.encode()).hexdigest()
        return await self._cache.get(
            f"memories:{user_id}:{digest}",
            lambda: self._inner.retrieve(user_id, message),
            lambda: self._fallback.retrieve(user_id, message),
        )


def encode_preferences(preferences: Preferences) -> JsonValue:
    """Return the preferences as JSON."""
    return asdict(preferences)


def decode_preferences(value: JsonValue) -> Preferences:
    """Return the preferences in a cached value; raises CorruptEntryError when it holds none."""
    try:
        language, tone, reply_length = value["language"], value["tone"], value["reply_length"]
    except (TypeError, KeyError) as error:
        raise CorruptEntryError("an entry holds no preferences") from error
    if not type(language) is type(tone) is type(reply_length) is str:
        raise CorruptEntryError("an entry holds preferences that are no text")
    return Preferences(language=language, tone=tone, reply_length=reply_length)


def encode_memories(memories: list[Memory]) -> JsonValue:
    """Return memories as JSON."""
    return [asdict(memory) for memory in memories]


def decode_memories(value: JsonValue) -> list[Memory]:
    """Return the memories in a cached value; raises CorruptEntryError when it holds none."""
    if type(value) is not list:
        raise CorruptEntryError("an entry holds no list of memories")
    return [_memory(memory) for memory in value]


def _memory(value: JsonValue) -> Memory:
    try:
        content, distance = value["content"], value["distance"]
    except (TypeError, KeyError) as error:
        raise CorruptEntryError("an entry holds something that is no memory") from error
    if type(content) is not str or type(distance) not in (float, int):
        raise CorruptEntryError("an entry holds a memory of other types than text and number")
    return Memory(content=content, distance=distance)
