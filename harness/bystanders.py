"""What did somebody else's PostgreSQL and Redis count while their service was recorded?

The servers are named by `--database-url` and `--redis-url`, or by DATABASE_URL and REDIS_URL. They
are only read: PostgreSQL's counts through its database `postgres`, so that those of the service's
own database stand still, Redis' by INFO.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg

from harness.errors import HarnessError, PartError, UsageError
from harness.parts.postgres import ExternalPostgres
from harness.parts.redis import ExternalRedis
from harness.parts.server import NamedBy
from harness.sampling import (
    Sample,
    Sampler,
    postgres_counters,
    redis_counters,
    settled,
    table_counters,
)

LAST_COUNTS_SECONDS = 10.5
"""PostgreSQL's backends hand in what they counted at the latest 10 s after they fell idle."""

DRIVER = re.compile(r"^(postgres(?:ql)?)\+\w+://")
"""SQLAlchemy's addresses name a driver too: postgresql+psycopg://."""

OTHERWISE = "leave it out to record without its counts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A server's address, and where it was found."""

    url: str
    by: str
    """Such as --database-url or DATABASE_URL."""
    asked_for: bool
    """An option must be right; a variable may be meant for the service alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bystanders:
    """The servers that are asked while a service is recorded; either may be missing."""

    postgres: str | None = None
    redis: str | None = None

    @property
    def databases(self) -> Sequence[str]:
        """The service's database, the only one whose counts are kept."""
        return [] if self.postgres is None else [database_of(self.postgres)]

    def facts(self) -> dict[str, Any]:
        """Give their rows of the manifest's ``parts``."""
        servers = (("postgres", self.postgres), ("redis", self.redis))
        return {name: {"embedded": False} for name, url in servers if url is not None}

    def sampler(self) -> Sampler:
        """Samples them every second."""
        return Sampler(
            postgres=self.postgres,
            databases=self.databases,
            redis={} if self.redis is None else {"": self.redis},
        )

    async def first_counts(self) -> list[Sample]:
        """The opening bracket: tables first, since looking at them is a transaction."""
        rows: list[Sample] = []
        if self.postgres is not None:
            rows += await table_counters(self.postgres, self.databases)
            await settled(self.postgres, self.databases, ours_only=True)
            rows += await postgres_counters(self.postgres, databases=self.databases)
        if self.redis is not None:
            rows += await redis_counters(self.redis)
        return rows

    async def last_counts(self, first: Sequence[Sample]) -> list[Sample]:
        """The closing bracket, once everybody has handed in what they counted.

        A command that Redis was first sent after `first` was counted from 0 on.
        """
        rows: list[Sample] = []
        if self.redis is not None:
            rows += await redis_counters(self.redis)
        if self.postgres is not None:
            if not await settled(self.postgres, self.databases, patience_s=0.5):
                await asyncio.sleep(LAST_COUNTS_SECONDS)
            rows += await postgres_counters(self.postgres, databases=self.databases)
            rows += await table_counters(self.postgres, self.databases)
        known = {(row.name, row.labels) for row in first}
        return rows + [
            replace(row, t_ns=first[0].t_ns, value=0.0)
            for row in rows
            if row.name == "command_calls" and (row.name, row.labels) not in known
        ]


async def find(database: Named | None, cache: Named | None) -> tuple[Bystanders, list[str]]:
    """Ask each for a sign of life; also give, as sentences, which variables are not used.

    Raises
    ------
    UsageError
        An option holds no address.
    PartError
        A server that an option names cannot be reached or may not be read.
    """
    notes: list[str] = []
    return Bystanders(
        postgres=await _usable(database, _check_postgres, notes),
        redis=await _usable(cache, _check_redis, notes),
    ), notes


async def _usable(
    named: Named | None, check: Callable[[str, str], Awaitable[None]], notes: list[str]
) -> str | None:
    """Give the address if its server may be asked; what an option names must be."""
    if named is None:
        return None
    url = DRIVER.sub(r"\1://", named.url)
    try:
        await check(url, named.by)
    except HarnessError as error:
        if named.asked_for:
            raise
        notes.append(f"{str(error).partition(';')[0]}; recording without its counts")
        return None
    return url


async def _check_postgres(url: str, by: str) -> None:
    scheme = urlsplit(url).scheme
    if scheme and scheme not in {"postgres", "postgresql"}:
        raise UsageError(
            f"{by} is an address of {scheme}, and only PostgreSQL is asked for its counts; "
            f"write it as postgresql://user:password@host:5432/database, or {OTHERWISE}."
        )
    await ExternalPostgres(url, named_by=NamedBy(by, OTHERWISE)).check()
    await _may_be_read(url, by)


async def _check_redis(url: str, by: str) -> None:
    await ExternalRedis(url, named_by=NamedBy(by, OTHERWISE)).check()


async def _may_be_read(url: str, by: str) -> None:
    try:
        await postgres_counters(url)
    except psycopg.Error as error:
        raise PartError(
            f"The account of {by} may not connect to that server's database `postgres`, through "
            f"which counts are read without changing them ({str(error).strip().splitlines()[0]}); "
            f"allow it, or {OTHERWISE}."
        ) from error


def database_of(url: str) -> str:
    """The database that an address names; without one it is called as the user is."""
    parts = urlsplit(url)
    return unquote(parts.path.strip("/")) or unquote(parts.username or "postgres")
