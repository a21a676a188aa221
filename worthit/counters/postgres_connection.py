"""A connection for looking at PostgreSQL's counts, by which it can be told from others."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from psycopg import AsyncConnection, errors
from psycopg.rows import TupleRow

UNREADABLE = (
    errors.ObjectNotInPrerequisiteState,
    errors.UndefinedTable,
    errors.UndefinedFunction,
    errors.InsufficientPrivilege,
)
"""pg_stat_statements was created without being preloaded, in another schema, or not for us."""

OUR_NAME = "worthit sampling"
"""By which our connections can be told from others in pg_stat_activity."""


async def connect(url: str, database: str) -> AsyncConnection[TupleRow]:
    """Connect to this database of the server that an address names."""
    address = urlunsplit(urlsplit(url)._replace(path=f"/{database}"))
    return await AsyncConnection.connect(
        address, autocommit=True, connect_timeout=5, application_name=OUR_NAME
    )
