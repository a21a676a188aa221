"""A user's memories in pgvector."""

from __future__ import annotations

from reference_service.models import Memory
from reference_service.storage.database import Database
from reference_service.storage.vectors import FloatArray


class MemoryStore:
    """Finds the memories nearest to a message, of one user only."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._nearest = database.statement(
            "SELECT",
            "memories",
            """SELECT content, embedding <=> %s::real[]::vector AS distance FROM memories
            WHERE user_id = %s ORDER BY distance LIMIT %s""",
        )

    async def nearest(self, user_id: str, embedding: FloatArray, count: int) -> list[Memory]:
        """Return the user's `count` nearest memories by cosine distance, the nearest first."""
        rows = await self._database.fetch(self._nearest, (embedding, user_id, count))
        return [Memory(content=content, distance=distance) for content, distance in rows]
