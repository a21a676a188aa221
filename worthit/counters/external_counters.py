"""What did somebody else's database and Redis count while their service was recorded?

The servers are named by `--database-url` and `--redis-url`, or by DATABASE_URL and REDIS_URL. They
are only read: PostgreSQL's counts through its database `postgres`, so that those of the service's
own database stand still, Redis' by INFO, MongoDB's by serverStatus.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urlsplit

import psycopg
from redis.exceptions import RedisError

from worthit.contract.manifest import Part
from worthit.counters.mongo_counters import MongoError, is_mongo, mongo_counters
from worthit.counters.mysql_counters import (
    MysqlError,
    MysqlReadings,
    first_mysql_counters,
    is_mysql,
    last_mysql_counters,
)
from worthit.counters.postgres_counters import postgres_counters, settled, table_counters
from worthit.counters.sample import Sample
from worthit.counters.sampling import Sampler, redis_counters
from worthit.counters.statements import StatementReadings
from worthit.environment.postgres import ExternalPostgres
from worthit.environment.redis import ExternalRedis
from worthit.environment.server import NamedBy
from worthit.errors import PartError, UsageError, WorthitError

LAST_COUNTS_SECONDS = 10.5
"""PostgreSQL's backends hand in what they counted at the latest 10 s after they fell idle."""

PATIENCE_SECONDS = 30.0
"""How long one server's counts may take: a hung one must not hold the recording."""

NAMES = {
    "postgres": "PostgreSQL",
    "mysql": "MySQL or MariaDB",
    "mongodb": "MongoDB",
    "redis": "Redis",
}
"""By source of their rows."""

DRIVER = re.compile(r"^(postgres(?:ql)?)\+\w+://")
"""SQLAlchemy's addresses name a driver too: postgresql+psycopg://."""

VALKEY = re.compile(r"^valkey(s?)://")
"""Valkey speaks Redis' protocol, and its address may say its own name."""

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
class ExternalCounters:
    """The servers that are asked while a service is recorded; any may be missing."""

    postgres: str | None = None
    mysql: str | None = None
    mongodb: str | None = None
    redis: str | None = None
    silent: dict[str, str] = field(default_factory=dict)
    """By source, why one of them could not be asked after all."""

    @property
    def databases(self) -> Sequence[str]:
        """The service's database, the only one whose counts are kept."""
        return [] if self.postgres is None else [database_of(self.postgres)]

    @property
    def _sources(self) -> list[str]:
        return [source for source in NAMES if getattr(self, source) is not None]

    @property
    def names(self) -> list[str]:
        """Give what the servers are called."""
        return [NAMES[source] for source in self._sources]

    def parts(self) -> dict[str, Part]:
        """Give their rows of the manifest's ``parts``."""
        return {source: Part() for source in self._sources}

    def sampler(self, first: Sequence[Sample]) -> Sampler:
        """Samples them every second; `first` tells whether statements are counted."""
        counted = {row.source for row in first if row.name == "statement_calls"}
        others: list[Callable[[float], Awaitable[list[Sample]]]] = []
        if self.mysql is not None:
            others.append(MysqlReadings(url=self.mysql, by_digest="mysql" in counted).read)
        if self.mongodb is not None:
            others.append(functools.partial(_mongo, self.mongodb))
        return Sampler(
            others=others,
            statements=StatementReadings(url=self.postgres, database=database_of(self.postgres))
            if "postgres" in counted and self.postgres is not None
            else None,
            postgres=self.postgres,
            databases=self.databases,
            redis={} if self.redis is None else {"": self.redis},
        )

    async def first_counts(self) -> list[Sample]:
        """The opening bracket; what fails here is not asked again."""
        return [
            *await self._asked("postgres", self.postgres, self._first_of_postgres),
            *await self._asked("mysql", self.mysql, first_mysql_counters),
            *await self._asked("mongodb", self.mongodb, mongo_counters),
            *await self._asked("redis", self.redis, redis_counters),
        ]

    async def last_counts(self, first: Sequence[Sample]) -> list[Sample]:
        """The closing bracket, once everybody has handed in what they counted.

        A command that Redis or MongoDB was first sent after `first` was counted from 0 on.
        """
        rows = [
            *await self._asked("redis", self.redis, redis_counters),
            *await self._asked("mysql", self.mysql, last_mysql_counters),
            *await self._asked("mongodb", self.mongodb, mongo_counters),
            *await self._asked("postgres", self.postgres, self._last_of_postgres),
        ]
        known = {(row.source, row.labels) for row in first}
        return rows + [
            replace(row, t_ns=first[0].t_ns, value=0.0)
            for row in rows
            if row.source in {"redis", "mongodb"}
            and row.name == "command_calls"
            and (row.source, row.labels) not in known
        ]

    def kept(self, rows: Sequence[Sample]) -> list[Sample]:
        """Leave out the rows of a server that fell silent: half a count would pass for a whole."""
        return [row for row in rows if row.source not in self.silent]

    @property
    def notes(self) -> list[str]:
        """Give, as sentences, which servers' counts are missing and why."""
        return [
            f"{NAMES[source]} could not be asked for its counts ({why}); they are left out, so "
            "there is no cross-check with it"
            for source, why in self.silent.items()
        ]

    async def _asked(
        self, source: str, url: str | None, ask: Callable[[str], Awaitable[list[Sample]]]
    ) -> list[Sample]:
        """Ask one server; its silence costs its own rows alone."""
        if url is None or source in self.silent:
            return []
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await ask(url)
        except TimeoutError:
            self.silent[source] = f"no answer within {PATIENCE_SECONDS:g} s"
        except (psycopg.Error, MysqlError, MongoError, RedisError, OSError) as error:
            self.silent[source] = (str(error).strip() or type(error).__name__).splitlines()[0]
        return []

    async def _first_of_postgres(self, url: str) -> list[Sample]:
        """Tables first, since looking at them is a transaction."""
        rows = await table_counters(url, self.databases)
        await settled(url, self.databases, ours_only=True)
        return rows + await postgres_counters(url, databases=self.databases)

    async def _last_of_postgres(self, url: str) -> list[Sample]:
        if not await settled(url, self.databases, patience_s=0.5):
            await asyncio.sleep(LAST_COUNTS_SECONDS)
        rows = await postgres_counters(url, databases=self.databases)
        return rows + await table_counters(url, self.databases)


async def find(database: Named | None, cache: Named | None) -> tuple[ExternalCounters, list[str]]:
    """Ask each for a sign of life; also give, as sentences, which variables are not used.

    Raises
    ------
    UsageError
        An option holds no address.
    PartError
        A server that an option names cannot be reached or may not be read.
    """
    notes: list[str] = []
    kind = "postgres"
    if database is not None:
        kind = "mysql" if is_mysql(database.url) else "mongodb" if is_mongo(database.url) else kind
    asked = {kind: database}
    return ExternalCounters(
        postgres=await _usable(asked.get("postgres"), _check_postgres, notes),
        mysql=await _usable(asked.get("mysql"), _check_mysql, notes),
        mongodb=await _usable(asked.get("mongodb"), _check_mongo, notes),
        redis=await _usable(cache, _check_redis, notes),
    ), notes


async def _usable(
    named: Named | None, check: Callable[[str, str], Awaitable[None]], notes: list[str]
) -> str | None:
    """Give the address if its server may be asked; what an option names must be."""
    if named is None:
        return None
    url = VALKEY.sub(r"redis\1://", DRIVER.sub(r"\1://", named.url))
    try:
        await check(url, named.by)
    except WorthitError as error:
        if named.asked_for:
            raise
        notes.append(f"{str(error).partition(';')[0]}; recording without its counts")
        return None
    return url


async def _check_postgres(url: str, by: str) -> None:
    scheme = urlsplit(url).scheme
    if scheme and scheme not in {"postgres", "postgresql"}:
        raise UsageError(
            f"{by} is an address of {scheme}, and only PostgreSQL, MySQL, MariaDB and MongoDB "
            "are asked for their counts; write it as postgresql://user:password@host:5432/database"
            ", mysql://user:password@host:3306/database or mongodb://user:password@host:27017/, "
            f"or {OTHERWISE}."
        )
    await ExternalPostgres(url, named_by=NamedBy(by, OTHERWISE)).check()
    await _may_be_read(url, by)


async def _check_mysql(url: str, by: str) -> None:
    try:
        await first_mysql_counters(url)
    except MysqlError as error:
        raise PartError(
            f"{by} names a MySQL or MariaDB that could not be asked for its counts ({error}); "
            f"correct it, or {OTHERWISE}."
        ) from error


async def _check_mongo(url: str, by: str) -> None:
    try:
        await mongo_counters(url)
    except MongoError as error:
        raise PartError(
            f"{by} names a MongoDB that could not be asked for its counts"
            f" ({str(error).partition(', Timeout')[0]}); correct it, or {OTHERWISE}."
        ) from error


async def _mongo(url: str, timeout_seconds: float) -> list[Sample]:
    return await mongo_counters(url, timeout_seconds=timeout_seconds)


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
