"""Preferences in PostgreSQL."""

from __future__ import annotations

from reference_service.models import Preferences
from reference_service.storage.database import Database


class PreferencesStore:
    """Reads a user's preferences."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._get = database.statement(
            "SELECT",
            "preferences",
            "SELECT language, tone, reply_length FROM preferences WHERE user_id = %s",
        )

    async def get(self, user_id: str) -> Preferences:
        """Return the user's preferences; the defaults for a user who set none."""
        rows = await self._database.fetch(self._get, (user_id,))
        if not rows:
            return Preferences()
        language, tone, reply_length = rows[0]
        return Preferences(language=language, tone=tone, reply_length=reply_length)
