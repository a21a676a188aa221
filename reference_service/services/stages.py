"""The stages of a chat request as interfaces, and memory retrieval without any cache."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from reference_service.models import Memory, Preferences, Turn
from reference_service.storage.memories import MemoryStore
from reference_service.storage.model_client import ModelClient


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
        """Take note of a turn that PostgreSQL has stored; never fails."""


class VectorMemories:
    """Embeds the message and searches pgvector."""

    def __init__(self, models: ModelClient, store: MemoryStore, count: int) -> None:
        self._models = models
        self._store = store
        self._count = count

    async def retrieve(self, user_id: str, message: str) -> list[Memory]:
        """Return the nearest memories of this user."""
        embedding = await self._models.embed(message)
        return await self._store.nearest(user_id, embedding, self._count)
