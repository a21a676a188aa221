"""Personalities in PostgreSQL."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from reference_service.models import Personality, PersonalityConfig
from reference_service.storage.database import Database, Row


class PersonalityStore:
    """Reads and writes personalities by name."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._get = database.statement(
            "SELECT",
            "personalities",
            """SELECT id, name, archetype, system_prompt, traits, row_version
            FROM personalities WHERE name = %s""",
        )
        self._first = database.statement(
            "SELECT",
            "personalities",
            """SELECT id, name, archetype, system_prompt, traits, row_version
            FROM personalities ORDER BY name LIMIT %s""",
        )
        self._put = database.statement(
            "INSERT",
            "personalities",
            """INSERT INTO personalities AS p (name, id, archetype, system_prompt, traits)
            VALUES (%s, gen_random_uuid(), %s, %s, %s)
            ON CONFLICT (name) DO UPDATE SET archetype = excluded.archetype, system_prompt =
            excluded.system_prompt, traits = excluded.traits, row_version = greatest(p.row_version
            + 1, excluded.row_version) RETURNING id, name, archetype, system_prompt, traits,
            row_version""",
        )
        self._delete = database.statement(
            "DELETE",
            "personalities",
            """DELETE FROM personalities WHERE name = %s
            RETURNING greatest(row_version + 1, nextval('personality_versions'))""",
            repeatable=False,  # a second time it finds nothing and would say so
        )

    async def get(self, name: str) -> Personality | None:
        """Return the personality, or None when there is none of this name."""
        rows = await self._database.fetch(self._get, (name,))
        return _personality(rows[0]) if rows else None

    async def first(self, count: int) -> list[Personality]:
        """Return the first `count` personalities in the order of their names."""
        return [_personality(row) for row in await self._database.fetch(self._first, (count,))]

    async def put(self, name: str, config: PersonalityConfig) -> Personality:
        """Create or replace a personality; its id stays."""
        parameters = (name, config.archetype, config.system_prompt, Jsonb(config.traits))
        rows = await self._database.fetch(self._put, parameters)
        return _personality(rows[0])

    async def delete(self, name: str) -> int | None:
        """Delete a personality; return the version of its absence, or None when there was none."""
        rows = await self._database.fetch(self._delete, (name,))
        return int(rows[0][0]) if rows else None


def _personality(row: Row) -> Personality:
    identity: UUID = row[0]
    traits: dict[str, Any] = row[4]
    return Personality(
        id=identity,
        name=row[1],
        archetype=row[2],
        system_prompt=row[3],
        traits=traits,
        row_version=row[5],
    )
