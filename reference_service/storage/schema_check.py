"""Checks once at start that the tables exist, by a statement with a span like any other."""

from __future__ import annotations

from reference_service.errors import DatabaseNotPreparedError
from reference_service.storage.database import Database
from reference_service.storage.schema import TABLES


class SchemaCheck:
    """Looks for the service's tables in PostgreSQL's catalogue."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._missing = database.statement(
            "SELECT",
            "pg_class",
            "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL",
        )

    async def verify(self) -> None:
        """Raise DatabaseNotPreparedError when a table is missing; other errors as `fetch`."""
        rows = await self._database.fetch(self._missing, (list(TABLES),))
        if rows:
            missing = ", ".join(row[0] for row in rows)
            raise DatabaseNotPreparedError(
                f"no table {missing}; run `python -m reference_service init-db`"
            )
