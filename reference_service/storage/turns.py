"""Conversation turns in PostgreSQL, the record of each conversation."""

from __future__ import annotations

from uuid import UUID

from reference_service.errors import IdempotencyConflictError
from reference_service.models import Emotion, StoredTurn, Turn
from reference_service.storage.database import Database, Row


class TurnStore:
    """Writes a turn exactly once and reads the latest."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent = database.statement(
            "SELECT",
            "turns",
            """SELECT id, user_message, reply FROM turns WHERE user_id = %s AND personality_id = %s
            ORDER BY id DESC LIMIT %s""",
        )
        self._by_key = database.statement(
            "SELECT",
            "turns",
            """SELECT id, personality_id, reply, emotion, emotion_score, memories_used,
            fingerprint, false FROM turns WHERE user_id = %s AND idempotency_key = %s""",
        )
        # DO UPDATE of nothing, because DO NOTHING returns no row, and a second look in the same
        # statement would not see a row that another transaction has just committed.
        # A new row has an xmax of 0; one that was there has this transaction's.
        self._append = database.statement(
            "INSERT",
            "turns",
            """INSERT INTO turns AS t
            (user_id, personality_id, idempotency_key, fingerprint, user_message, reply, emotion,
            emotion_score, memories_used)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (user_id, idempotency_key) DO UPDATE SET idempotency_key =
            t.idempotency_key RETURNING id, personality_id, reply, emotion, emotion_score,
            memories_used, fingerprint, xmax = 0""",
        )

    async def recent(self, user_id: str, personality_id: UUID, count: int) -> list[Turn]:
        """Return the latest turns of a user with a personality, the oldest of them first."""
        rows = await self._database.fetch(self._recent, (user_id, personality_id, count))
        return [Turn(id=row[0], user_message=row[1], reply=row[2]) for row in reversed(rows)]

    async def find(self, user_id: str, key: str, fingerprint: bytes) -> StoredTurn | None:
        """Return the turn that this user stored with this key, if any.

        Raises IdempotencyConflictError when the key was used for another message.
        """
        rows = await self._database.fetch(self._by_key, (user_id, key))
        return _stored(rows[0], fingerprint) if rows else None

    async def append(
        self,
        *,
        user_id: str,
        personality_id: UUID,
        key: str,
        fingerprint: bytes,
        user_message: str,
        reply: str,
        emotion: Emotion,
        memories_used: int,
    ) -> StoredTurn:
        """Store a turn and return it as stored: the earlier one when the key is known already.

        Raises IdempotencyConflictError when the key was used for another message.
        """
        rows = await self._database.fetch(
            self._append,
            (
                *(user_id, personality_id, key, fingerprint, user_message, reply),
                *(emotion.label, emotion.score, memories_used),
            ),
        )
        return _stored(rows[0], fingerprint)


def _stored(row: Row, fingerprint: bytes) -> StoredTurn:
    identity, personality_id, reply, label, score, memories_used, stored_fingerprint, created = row
    if stored_fingerprint != fingerprint:
        raise IdempotencyConflictError
    return StoredTurn(
        id=identity,
        personality_id=personality_id,
        reply=reply,
        emotion=Emotion(label=label, score=score),
        memories_used=memories_used,
        created=created,
    )
