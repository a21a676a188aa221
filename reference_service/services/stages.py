"""The stages of a chat request as interfaces, and memory retrieval without any cache."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from reference_service.models import Memory, Preferences, Turn
from reference_service.storage.model_client import ModelClient
from reference_service.storage.vectors import FloatArray


class PreferencesStage(Protocol):
    """How a user wants to be answered."""

    async def get(self, user_id: str) -> Preferences:
        """Return the preferences; defaults for a user who set none."""


class MemoryStage(Protocol):
    """What is remembered about a user and near a message."""

    async def retrieve(self, user_id: str, message: str) -> list[Memory]:
        """Return memories of this user only, the nearest first."""


class ConversationStage(Protocol):
    """The latest turns."""

    async def load(self, user_id: str, personality_id: UUID) -> list[Turn]:
        """Return the latest turns, the oldest of them first."""

    async def remember(self, user_id: str, personality_id: UUID, turn: Turn) -> None:
        """Take note of a turn that PostgreSQL has stored, now or before; never fails."""

    async def forget(self, user_id: str, personality_id: UUID) -> None:
        """Take note that a turn may have been stored, nobody knows; never fails."""


class NearestMemories(Protocol):
    """Anything that finds a user's memories near an embedding."""

    async def nearest(self, user_id: str, embedding: FloatArray, count: int) -> list[Memory]:
        """Return the user's nearest memories, the nearest first."""


class VectorMemories:
    """Embeds the message and searches pgvector."""

    def __init__(self, models: ModelClient, store: NearestMemories, count: int) -> None:
        self._models = models
        self._store = store
        self._count = count

    async def retrieve(self, user_id: str, message: str) -> list[Memory]:
        """Return the nearest memories of this user."""
        embedding = await self._models.embed(message)
        return await self._store.nearest(user_id, embedding, self._count)
